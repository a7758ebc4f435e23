"""One dm_env.Environment for every task of every suite, behind one registry. May import episodes."""

from gato_jax.environments.base import ActionError, Environment, MissingPackageError
from gato_jax.environments.registry import (
    UnknownTaskError,
    load,
    package_versions,
    require_runnable,
    status,
    task_names,
    task_spec,
)
from gato_jax.environments.seeds import EVALUATION_SEEDS, RECORDING_SEEDS, REFERENCE_SEEDS
from gato_jax.environments.spellings import spelled_task

__all__ = [
    "EVALUATION_SEEDS",
    "RECORDING_SEEDS",
    "REFERENCE_SEEDS",
    "ActionError",
    "Environment",
    "MissingPackageError",
    "UnknownTaskError",
    "load",
    "package_versions",
    "require_runnable",
    "spelled_task",
    "status",
    "task_names",
    "task_spec",
]
