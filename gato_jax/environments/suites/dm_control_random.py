"""DM Control Suite Random Small and Large: the suite's 28 tasks for benchmarks, with another body in each episode.

The seed of an episode draws a factor on the gear of each actuator, on the range, stiffness and damping of each joint,
on the size of each geom and on the density of each body, and then the task's own start. `variation` lists the factors.
Observations, rewards and ends are those of `dm_control`.
"""

from __future__ import annotations

import dataclasses
import functools

from gato_jax.environments.base import Environment
from gato_jax.environments.randomisation import Randomisation, RandomisedEnvironment
from gato_jax.environments.spec_table import read_spec
from gato_jax.environments.suite import Suite
from gato_jax.environments.suites import dm_control
from gato_jax.episodes import TaskSpec

SMALL = (0.9, 0.95, 1.05, 1.1)
LARGE = (0.6, 0.8, 1.2, 1.4)
_RANDOMISED = ("gear", "ranges", "stiffness", "damping", "sizes", "masses")


def spec(task: str, suite: str) -> TaskSpec:
    """Return the TaskSpec of a task `domain/task` of one of the two suites: that of dm_control, under another name."""
    return dataclasses.replace(read_spec(f"dm_control/{task}"), suite=suite)


def load(task: str, suite: str, factors: tuple[float, ...]) -> Environment:
    """Return an environment of a task `domain/task`, with factors from these intervals."""
    randomisation = Randomisation(**dict.fromkeys(_RANDOMISED, factors))
    return RandomisedEnvironment(
        dm_control.DMControl(task), randomisation, task_spec=spec(task, suite), skip_missing=True
    )


def _suite(name: str, factors: tuple[float, ...]) -> Suite:
    return Suite(
        name=name,
        tasks=dm_control.BENCHMARKING,
        packages=dm_control.SUITE.packages,
        licence=dm_control.SUITE.licence,
        spec=functools.partial(spec, suite=name),
        load=functools.partial(load, suite=name, factors=factors),
    )


SMALL_SUITE = _suite("dm_control_random_small", SMALL)
LARGE_SUITE = _suite("dm_control_random_large", LARGE)
