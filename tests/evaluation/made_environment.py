"""The made environment as a registered task, and an agent with random parameters that was trained on it."""

import dataclasses

import pytest

from gato_jax.environments import registry
from gato_jax.environments.suite import Suite
from gato_jax.policy import Agent
from tests.policy.made_agent import made_agent
from tests.rollouts.made_drift import TASK, Drift
from tests.tokenization.made_tasks import CONTROL

__all__ = ["TASK", "Drift", "drifting_agent", "register_drift"]


def drifting_agent(**changes) -> Agent:
    return dataclasses.replace(made_agent(layers=1, context=60), **changes)


def register_drift(patch: pytest.MonkeyPatch):
    """Make the registry load Drift under its own name."""
    suite = Suite(
        name="made", tasks=("control",), packages={}, licence="MIT", spec=lambda _: CONTROL, load=lambda _: Drift()
    )
    patch.setitem(registry._SUITES, "made", suite)
