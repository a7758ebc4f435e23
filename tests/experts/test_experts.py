import functools
import itertools
import re

import numpy as np
import pytest

from gato_jax.environments import (
    EVALUATION_SEEDS,
    EXPERT_TRAINING_SEEDS,
    RECORDING_SEEDS,
    REFERENCE_SEEDS,
    UnknownTaskError,
    load,
    task_names,
)
from gato_jax.experts import ExpertActor, NoExpertError, description, expert, expert_names
from gato_jax.rollouts import RandomActor, play


def record(task, seeds, *, noise, **options):
    return play(functools.partial(ExpertActor, noise=noise), itertools.product([task], seeds), **options)


FAST = ["babyai/GoToLocal-v0", "meta_world/reach-v3", "fetch/pick_and_place"]


@pytest.mark.parametrize("task", [*FAST, "dm_control/point_mass/easy", "atari_short/gopher"])
def test_the_expert_beats_random(task):
    seeds = REFERENCE_SEEDS[: 3 if task in FAST[:2] else 1]
    expert, random = (
        np.mean([episode.score for episode in play(actor, [(task, seed) for seed in seeds])])
        for actor in (ExpertActor, RandomActor)
    )
    assert expert > 1.5 * random


@pytest.mark.parametrize("task", [*FAST, "meta_world/button-press-v3"])
def test_a_recording_replays(task):
    (episode,) = record(task, [5], noise=0.0)
    environment = load(task)
    environment.seed(episode.seed)
    timestep = environment.reset()
    for step in range(episode.acting_steps):
        for key, value in timestep.observation.items():
            np.testing.assert_array_equal(value, episode.observation[key][step], err_msg=f"{key} at {step}")
        timestep = environment.step({key: value[step] for key, value in episode.action.items()})
        assert np.float32(timestep.reward) == episode.reward[step] and timestep.discount == episode.discount[step]
    assert timestep.last() and environment.success == episode.success
    for key, value in timestep.observation.items():
        np.testing.assert_array_equal(value, episode.observation[key][-1], err_msg=key)


def test_the_fields_of_rlds():
    (episode,) = record("meta_world/reach-v3", [0], noise=0.0)
    assert episode.final_observation and episode.acting_steps == len(episode) - 1
    assert episode.is_first.tolist() == [True] + [False] * episode.acting_steps
    assert episode.is_last.tolist() == episode.is_terminal.tolist() == [False] * episode.acting_steps + [True]
    assert episode.success and episode.seed == 0
    assert not episode.action["action"][-1].any() and episode.reward[-1] == 0
    assert "metaworld" in episode.provenance.source and "noise" not in episode.provenance.agent


def test_noise_is_repeatable_and_on_record():
    first, second = (next(record("meta_world/reach-v3", [3], noise=0.4)) for _ in range(2))
    np.testing.assert_array_equal(first.observation["state"], second.observation["state"])
    (calm,) = record("meta_world/reach-v3", [3], noise=0.0)
    assert not np.array_equal(first.observation["state"][2], calm.observation["state"][2])
    assert first.provenance.agent.endswith("noise 0.4 on executed actions")


def test_the_bot_recovers_from_noise():
    episodes = list(record("babyai/GoToLocal-v0", range(10), noise=0.3, skip_failures=True))
    assert sum(bool(episode.success) for episode in episodes) >= 9
    assert all(isinstance(text, str) for text in episodes[0].observation["mission"])


def test_names():
    assert {"atari/gopher", "atari_short/gopher", "dm_control/point_mass/easy", "fetch/pick_and_place"} < set(
        expert_names()
    )
    assert description("atari/gopher").startswith("script")
    without = next(name for name in task_names() if name not in set(expert_names()))
    with pytest.raises(NoExpertError, match=f"no expert for '{re.escape(without)}'; tasks with one: [a-z]"):
        expert(without)
    with pytest.raises(UnknownTaskError, match="nearest: atari/pong"):
        expert("atari/pongg")


def test_seeds_are_disjoint():
    ranges = (RECORDING_SEEDS, EVALUATION_SEEDS, REFERENCE_SEEDS, EXPERT_TRAINING_SEEDS)
    assert sorted(ranges, key=lambda seeds: seeds.start) == list(ranges)
    assert all(first.stop <= second.start for first, second in zip(ranges, ranges[1:], strict=False))
