"""One dm_env.Environment for every task of every suite, behind one registry. May import episodes."""

from gato_jax.environments.base import MAX_SEED, ActionError, Environment, MissingPackageError, SeedError
from gato_jax.environments.gymnasium_api.adapter import as_gymnasium
from gato_jax.environments.randomisation import Randomisation, RandomisationError, randomise
from gato_jax.environments.registry import (
    SpecMismatchError,
    UnknownTaskError,
    is_rendered,
    is_task,
    load,
    package_versions,
    require_runnable,
    scores_of,
    status,
    suites,
    task_names,
    task_spec,
)
from gato_jax.environments.seeds import EVALUATION_SEEDS, EXPERT_TRAINING_SEEDS, RECORDING_SEEDS, REFERENCE_SEEDS
from gato_jax.environments.spellings import spelled_task

__all__ = [
    "EVALUATION_SEEDS",
    "EXPERT_TRAINING_SEEDS",
    "MAX_SEED",
    "RECORDING_SEEDS",
    "REFERENCE_SEEDS",
    "ActionError",
    "Environment",
    "MissingPackageError",
    "Randomisation",
    "RandomisationError",
    "SeedError",
    "SpecMismatchError",
    "UnknownTaskError",
    "as_gymnasium",
    "is_rendered",
    "is_task",
    "load",
    "package_versions",
    "randomise",
    "require_runnable",
    "scores_of",
    "spelled_task",
    "status",
    "suites",
    "task_names",
    "task_spec",
]
