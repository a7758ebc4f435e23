"""Tests of the layout: order of tokens, targets, local positions and errors."""

import dataclasses

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec, Text
from gato_jax.tokenization import Layout, Tokenization, TokenizationError, Vocabulary
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN
from gato_jax.tokenization.sequence import concatenate
from tests.tokenization.made_tasks import ALL, CAPTION, CONTROL, DIALOGUE, GAME, GRID, ROBOT, episode_of, random_episode

PAPER = Tokenization()
SEPARATOR = 33_024
SHARED = 511  # the local position of action tokens


def first_step(spec, tokenization=PAPER):
    return Layout(spec, tokenization).encode_timesteps(random_episode(spec, seed=0, steps=2))[0]


def test_observation_then_separator_then_action():
    step = first_step(CONTROL)
    assert len(step) == 5 + 1 + 2 and step.token_ids[5] == SEPARATOR
    np.testing.assert_array_equal(step.local_position, [0, 1, 2, 3, 4, 5, SHARED, SHARED])
    np.testing.assert_array_equal(step.loss_mask, [False] * 6 + [True] * 2)
    np.testing.assert_array_equal(step.action_range, [[0, 0]] * 6 + [[32_000, 33_024]] * 2)


def test_keys_are_in_lexicographic_order_however_they_are_given():
    spec = dataclasses.replace(
        CONTROL, observation={"b": Discrete(n=9), "B": Discrete(n=9), "a/z": Discrete(n=9), "a/b": Discrete(n=9)}
    )
    layout = Layout(spec, PAPER)
    step = layout.encode_observation({"b": np.int32(4), "a/z": np.int32(3), "B": np.int32(1), "a/b": np.int32(2)})
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
    assert not with_text.action_range[text].any()  # text is no action of fixed length


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
    ids = np.stack([step.token_ids[-4:] for step in layout.encode_timesteps(episode)])
    action = layout.decode_action(ids)
    np.testing.assert_array_equal(action["gripper"], episode.action["gripper"])
    np.testing.assert_allclose(action["arm"], episode.action["arm"], atol=1 / 2048)
    np.testing.assert_array_equal(layout.action_ranges, [[32_000, 33_024]] * 3 + [[0, 2]])


def test_the_placeholder_action_of_a_final_observation_has_no_tokens():
    episode = random_episode(GAME, seed=0, steps=3, final_observation=True)
    assert len(Layout(GAME, PAPER).encode_timesteps(episode)) == 2
    assert len(Layout(GAME, PAPER).encode(episode)) == 2 * (20 + 1 + 1)


def test_a_slice_of_a_concatenation_is_the_part():
    layout = Layout(GAME, PAPER)
    one, two = layout.encode_timesteps(random_episode(GAME, seed=2, steps=2))
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
        (CONTROL, "observation", "velocity", np.nan, r"nan at element \(0,\) is not finite"),
        (CONTROL, "action", "action", -np.inf, r"-inf at element \(0,\) is not finite"),
        (GRID, "observation", "direction", 4, r"4 is outside \[0, 4\)"),
        (GRID, "action", "action", -1, r"-1 is outside \[0, 7\)"),
        (GRID, "observation", "mission", 7, "text must be str, got int 7"),
    ],
)
def test_a_bad_value_is_named_with_task_step_and_key(spec, side, key, value, said):
    with pytest.raises(TokenizationError, match=rf"^{spec.name}, step 1, {side} '{key}': .*{said}"):
        Layout(spec, PAPER).encode(spoilt(spec, side, key, 1, value))


def test_an_episode_with_a_number_is_named_by_it():
    layout, bad = Layout(CONTROL, PAPER), spoilt(CONTROL, "action", "action", 1, np.nan)
    with pytest.raises(
        TokenizationError, match="^made/control, episode 7, step 1, action 'action': value nan"
    ) as error:
        layout.encode_timesteps(bad, 7)
    assert error.value.step == 1
    with pytest.raises(TokenizationError, match="^episode 7 of made/game does not fit the layout of made/control"):
        layout.encode_timesteps(random_episode(GAME, seed=0, steps=1), 7)


@pytest.mark.parametrize("shape", [(5,), (2, 2), (1, 2), ()])
def test_a_wrong_shape_is_named_with_task_and_key(shape):
    episode = random_episode(CONTROL, seed=0, steps=2)
    wrong = {**episode.observation, "velocity": np.zeros((2, *shape), np.float32)}
    with pytest.raises(TokenizationError, match=r"^made/control, observation 'velocity': .* shape \(2,\), got"):
        Layout(CONTROL, PAPER).encode(dataclasses.replace(episode, observation=wrong))


def test_a_bad_value_of_one_observation_is_named_without_a_step():
    velocity, position = np.array([0, np.nan]), np.zeros(3)
    with pytest.raises(TokenizationError, match=r"^made/control, observation 'velocity': value nan at element \(1,\)"):
        Layout(CONTROL, PAPER).encode_observation({"velocity": velocity, "position": position})
    with pytest.raises(TokenizationError, match=r"^made/control, action 'action': value inf at element \(0,\)"):
        Layout(CONTROL, PAPER).encode_action({"action": np.array([np.inf, 0])})


@pytest.mark.parametrize("side", ["observation", "action"])
def test_wrong_keys_are_named(side):
    episode = random_episode(CONTROL, seed=0, steps=1)
    values = {"observation": episode.observation, "action": episode.action}
    values[side] = {**values[side], "speed": np.zeros((1, 2), np.float32)}
    with pytest.raises(TokenizationError, match=rf"^made/control, the {side} has keys .*'speed'.*, the task has"):
        Layout(CONTROL, PAPER).encode(episode_of(CONTROL, **values))


def test_a_missing_key_is_named():
    with pytest.raises(TokenizationError, match=r"the observation has keys \['position'\], the task has .*'velocity'"):
        Layout(CONTROL, PAPER).encode_observation({"position": np.zeros(3)})
    with pytest.raises(TokenizationError, match=r"the observation has keys \[1, 'velocity'\]"):
        Layout(CONTROL, PAPER).encode_observation({"velocity": np.zeros(2), 1: 0})


def test_an_episode_of_another_task_is_refused():
    with pytest.raises(TokenizationError, match="an episode of made/game does not fit the layout of made/control"):
        Layout(CONTROL, PAPER).encode(random_episode(GAME, seed=0, steps=1))
    with pytest.raises(TokenizationError, match="an episode of made/game does not fit the layout of made/control"):
        Layout(CONTROL, PAPER).encode(
            random_episode(CONTROL, seed=0, steps=1), prompt=random_episode(GAME, seed=0, steps=1)
        )


def test_a_nested_key_is_in_the_order_of_its_tree():
    """The paper: nested structures are ordered lexicographically by key; `a` comes before `a-b`, and with it `a/z`."""
    spec = dataclasses.replace(
        CONTROL, observation={"a-b": Discrete(n=9), "a": {"z": Discrete(n=9), "B": Discrete(n=9)}}
    )
    tokens = Layout(spec, PAPER).encode_observation({"a-b": np.int32(3), "a/z": np.int32(2), "a/B": np.int32(1)})
    np.testing.assert_array_equal(tokens.token_ids, [1, 2, 3, SEPARATOR])


def test_discrete_values_without_ids_are_refused():
    """Discrete values have the ids of the first text pieces, so there must be at least as many pieces."""
    spec = TaskSpec(suite="made", task="wide", observation={"x": Discrete(n=1025)}, action={"a": Discrete(n=2)})
    with pytest.raises(
        TokenizationError,
        match=r"made/wide, observation 'x': has 1025 values, .*bins = 1024; raise config",
    ):
        Layout(spec, PAPER)
    few = Tokenization(vocabulary=Vocabulary(text=1000, bins=2048))
    with pytest.raises(
        TokenizationError,
        match=r"has 1025 values, at most vocabulary.text = 1000; raise config",
    ):
        Layout(spec, few)


def test_text_needs_all_its_pieces():
    with pytest.raises(TokenizationError, match=r"made/dialogue, action 'text': its 32000 pieces exceed .* 31999"):
        Layout(DIALOGUE, Tokenization(vocabulary=Vocabulary(text=31_999)))


def test_what_has_no_codec_is_refused_before_the_first_episode():
    grey = TaskSpec(suite="m", task="t", observation={"x": Image(height=16, width=16, channels=1)}, action={})
    with pytest.raises(TokenizationError, match="m/t, observation 'x': an image needs 3 channels, got 1"):
        Layout(grey, PAPER)
    free = TaskSpec(suite="m", task="t", observation={}, action={"a": Continuous(shape=(2,))})
    with pytest.raises(TokenizationError, match="m/t, action 'a': needs finite limits"):
        Layout(free, PAPER)


def test_an_observation_longer_than_the_position_table_is_refused():
    spec = TaskSpec(
        suite="made", task="long", observation={"x": Continuous(shape=(600,)), "image": Image(height=16, width=16)},
        action={"a": Text()},
    )  # fmt: skip
    with pytest.raises(
        TokenizationError, match=r"^made/long, step 0, the observation's 602 tokens exceed .* = 511; raise"
    ):
        first_step(spec)
    first_step(spec, Tokenization(local_positions=603))


def test_a_text_that_is_too_long_is_named_with_its_step():
    spec = TaskSpec(suite="made", task="long", observation={"say": Text()}, action={"a": Discrete(n=2)})
    episode = episode_of(spec, {"say": np.array(["a", "a " * 600], object)}, {"a": np.zeros(2, np.int32)})
    with pytest.raises(TokenizationError, match="^made/long, step 1, the observation's"):
        Layout(spec, PAPER).encode(episode)


def test_text_actions_have_no_fixed_ranges():
    with pytest.raises(TokenizationError, match="made/caption: action 'caption' is text"):
        _ = Layout(CAPTION, PAPER).action_ranges


def test_a_task_may_have_no_action():
    spec = dataclasses.replace(GAME, action={})
    layout, episode = Layout(spec, PAPER), random_episode(spec, seed=0, steps=2)
    tokens = layout.encode(episode)
    assert len(tokens) == 2 * 21 and not tokens.loss_mask.any() and layout.action_ranges.shape == (0, 2)
    assert len(layout.encode_action({})) == 0
