"""The order of a timestep's tokens, what is a target, where a token is, and what is refused."""

import dataclasses

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec, Text
from gato_jax.tokenization import Layout, Tokenization, TokenizationError
from gato_jax.tokenization.sequence import PER_PATCH, PER_TOKEN, concatenate
from tests.tokenization.made_tasks import ALL, CAPTION, CONTROL, DIALOGUE, GAME, GRID, ROBOT, episode_of, random_episode

PAPER = Tokenization()
SEPARATOR = 33_024
SHARED = 511  # the local position of action tokens


def first_step(spec, tokenization=PAPER):
    return Layout(spec, tokenization).encode(random_episode(spec, seed=0, steps=2))[0]


def test_observation_then_separator_then_action():
    step = first_step(CONTROL)
    assert len(step) == 5 + 1 + 2 and step.token_ids[5] == SEPARATOR
    np.testing.assert_array_equal(step.local_position, [0, 1, 2, 3, 4, 5, SHARED, SHARED])
    np.testing.assert_array_equal(step.loss_mask, [False] * 6 + [True] * 2)
    np.testing.assert_array_equal(step.action_range, [[0, 0]] * 6 + [[32_000, 33_024]] * 2)


def test_keys_are_in_lexicographic_order_however_they_are_given():
    spec = dataclasses.replace(
        CONTROL, observation={"b": Discrete(n=9), "B": Discrete(n=9), "a/z": Discrete(n=9), "a": Discrete(n=9)}
    )
    layout = Layout(spec, PAPER)
    step = layout.encode_observation({"b": np.int32(4), "a/z": np.int32(3), "B": np.int32(1), "a": np.int32(2)})
    np.testing.assert_array_equal(step.token_ids, [1, 2, 3, 4, SEPARATOR])


def test_patches_take_places_but_have_no_id_and_are_no_targets():
    step = first_step(ROBOT)
    front, wrist = np.arange(4), np.arange(4, 6)
    np.testing.assert_array_equal(step.patch_slots, [*front, *wrist])
    assert not step.token_ids[:6].any() and not step.loss_mask[:6].any()
    np.testing.assert_array_equal(step.local_position[:6], np.arange(6))


@pytest.mark.parametrize("spec", [GRID, ROBOT], ids=lambda spec: spec.task)
def test_text_in_an_observation_is_a_target_only_where_the_option_says_so(spec):
    with_text, without = (first_step(spec, Tokenization(predict_text_observations=on)) for on in (True, False))
    actions = with_text.local_position == SHARED
    np.testing.assert_array_equal(without.loss_mask, actions)
    text = with_text.loss_mask & ~actions
    assert text.any() and (with_text.token_ids[text][-1] == 2)  # the end-of-text piece is one of them
    assert not with_text.action_range[text].any()  # and no action


@pytest.mark.parametrize("spec", ALL, ids=lambda spec: spec.task)
def test_all_action_tokens_share_one_local_position(spec):
    step = first_step(spec, Tokenization(predict_text_observations=False))
    assert set(step.local_position[step.loss_mask]) == {0 if spec is DIALOGUE else SHARED}


def test_pure_text_has_no_separator_and_no_local_positions():
    step = first_step(DIALOGUE)
    assert SEPARATOR not in step.token_ids and not step.local_position.any() and step.loss_mask.all()


def test_a_text_action_may_be_any_piece():
    step = first_step(CAPTION)
    np.testing.assert_array_equal(np.unique(step.action_range[step.loss_mask], axis=0), [[0, 32_000]])


def test_the_action_comes_back():
    episode = random_episode(ROBOT, seed=3, steps=4)
    layout = Layout(ROBOT, PAPER)
    ids = np.stack([step.token_ids[-4:] for step in layout.encode(episode)])
    action = layout.decode_action(ids)
    np.testing.assert_array_equal(action["gripper"], episode.action["gripper"])
    np.testing.assert_allclose(action["arm"], episode.action["arm"], atol=1 / 2048)
    np.testing.assert_array_equal(layout.action_ranges, [[32_000, 33_024]] * 3 + [[0, 2]])


def test_the_placeholder_action_of_a_final_observation_has_no_tokens():
    episode = random_episode(GAME, seed=0, steps=3, final_observation=True)
    assert len(Layout(GAME, PAPER).encode(episode)) == 2


def test_acting_sees_the_same_tokens_as_training():
    layout, episode = Layout(ROBOT, PAPER), random_episode(ROBOT, seed=1, steps=1)
    acting = layout.encode_observation({key: values[0] for key, values in episode.observation.items()})
    (step,) = layout.encode(episode)
    trained = step.slice(0, len(acting))
    for name in (*PER_TOKEN, *PER_PATCH):
        np.testing.assert_array_equal(getattr(acting, name), getattr(trained, name))


def test_a_slice_of_a_concatenation_is_the_part():
    layout = Layout(GAME, PAPER)
    one, two = layout.encode(random_episode(GAME, seed=2, steps=2))
    part = concatenate([one, two]).slice(len(one), len(one) + len(two))
    for name in (*PER_TOKEN, *PER_PATCH):
        np.testing.assert_array_equal(getattr(part, name), getattr(two, name))


def spoilt(spec, side, key, step, value):
    episode = random_episode(spec, seed=0, steps=3)
    values = {name: array.copy() for name, array in getattr(episode, side).items()}
    values[key][step] = value
    return dataclasses.replace(episode, **{side: values})


@pytest.mark.parametrize(
    "spec, side, key, value, said",
    [
        (CONTROL, "observation", "velocity", np.nan, "nan is not finite"),
        (CONTROL, "action", "action", -np.inf, "-inf is not finite"),
        (GRID, "observation", "direction", 4, r"4 is outside \[0, 4\)"),
        (GRID, "action", "action", -1, r"-1 is outside \[0, 7\)"),
        (GRID, "observation", "mission", 7, "text must be str, got int 7"),
    ],
)
def test_a_bad_value_is_named_with_task_step_and_key(spec, side, key, value, said):
    with pytest.raises(TokenizationError, match=rf"^{spec.name}, step 1: {side} '{key}': .*{said}"):
        Layout(spec, PAPER).encode(spoilt(spec, side, key, 1, value))


def test_a_wrong_shape_is_named_with_task_step_and_key():
    episode = random_episode(CONTROL, seed=0, steps=2)
    episode = dataclasses.replace(
        episode, observation={**episode.observation, "velocity": np.zeros((2, 5), np.float32)}
    )
    with pytest.raises(TokenizationError, match=r"made/control, step 0: observation 'velocity': .*\(2,\), got \(5,\)"):
        Layout(CONTROL, PAPER).encode(episode)


@pytest.mark.parametrize("side", ["observation", "action"])
def test_wrong_keys_are_named(side):
    episode = random_episode(CONTROL, seed=0, steps=1)
    values = {"observation": episode.observation, "action": episode.action}
    values[side] = {**values[side], "speed": np.zeros((1, 2), np.float32)}
    with pytest.raises(TokenizationError, match=rf"step 0: {side} has keys .*'speed'.*, made/control has"):
        Layout(CONTROL, PAPER).encode(episode_of(CONTROL, **values))


def test_more_discrete_values_than_bins_are_refused():
    spec = TaskSpec(suite="made", task="wide", observation={"x": Discrete(n=1025)}, action={"a": Discrete(n=2)})
    with pytest.raises(TokenizationError, match="'x' has 1025 values, at most 1024"):
        _ = Layout(spec, PAPER).observation_codecs


def test_an_observation_longer_than_the_position_table_is_refused():
    spec = TaskSpec(
        suite="made", task="long", observation={"x": Continuous(shape=(600,)), "image": Image(height=16, width=16)},
        action={"a": Text()},
    )  # fmt: skip
    with pytest.raises(TokenizationError, match="602 tokens exceeds local_positions - 1 = 511"):
        first_step(spec)


def test_text_actions_have_no_fixed_ranges():
    with pytest.raises(TokenizationError, match="made/caption: action 'caption' is text"):
        _ = Layout(CAPTION, PAPER).action_ranges
