"""Bodies of DM Control Suite Random are drawn from the intervals, and their tasks are those of dm_control."""

import dataclasses

import numpy as np
import pytest
from dm_control import suite

from gato_jax.environments import load, suites, task_spec
from gato_jax.environments.suites import dm_control_random
from tests.environments.conformance import play


def test_the_tasks_are_those_for_benchmarks_under_another_name():
    for name in ("dm_control_random_small", "dm_control_random_large"):
        assert set(suites()[name].tasks) == {f"{domain}/{task}" for domain, task in suite.BENCHMARKING}
        for task in suites()[name].tasks:
            expected = dataclasses.replace(task_spec(f"dm_control/{task}"), suite=name)
            assert task_spec(f"{name}/{task}") == expected


@pytest.mark.parametrize(
    ("name", "intervals"),
    [
        ("dm_control_random_small", dm_control_random.SMALL),
        ("dm_control_random_large", dm_control_random.LARGE),
    ],
)
def test_every_part_of_the_body_is_drawn_from_the_intervals(name, intervals):
    environment, plain = load(f"{name}/walker/walk"), load("dm_control/walker/walk")
    seen = []
    for seed in range(8):
        timesteps = play(environment, seed, 5)
        assert all(np.isfinite(timestep.observation["velocity"]).all() for timestep in timesteps)
        factors = environment.variation
        assert set(factors) == {"gear", "ranges", "damping", "sizes", "masses"}  # the walker has no springs
        assert len(factors["gear"]) == 6 and len(factors["sizes"]) == len(factors["masses"]) == 7
        seen += [value for part in factors.values() for value in part.values()]
        hip = environment.mujoco_model.actuator("right_hip").gear[0] / plain.mujoco_model.actuator("right_hip").gear[0]
        assert hip == pytest.approx(factors["gear"]["right_hip"])
    low, middle_low, middle_high, high = intervals
    assert all(low <= value <= middle_low or middle_high <= value <= high for value in seen)
    assert 0.3 < np.mean(np.array(seen) > 1) < 0.7
