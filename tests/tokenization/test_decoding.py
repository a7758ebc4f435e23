"""Tests of decoding: encoded values come back, exactly or within a bin, and only from whole timesteps."""

import dataclasses

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec, Text
from gato_jax.tokenization import (
    CodeCodec,
    ContinuousCodec,
    ImageCodec,
    Layout,
    TextCodec,
    Tokenization,
    TokenizationError,
    decode,
    describe,
)
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN
from gato_jax.tokenization.sequence import concatenate
from tests.tokenization.formulas import error_bound, from_unit, number_of
from tests.tokenization.made_tasks import CAPTION, CONTROL, DIALOGUE, GAME, GRID, ROBOT, episode_of, random_episode
from tests.tokenization.random_tasks import random_task

PAPER = Tokenization()
SEEDS = [range(a, a + 50) for a in range(0, 200, 50)]
in_batches = pytest.mark.parametrize("seeds", SEEDS, ids=lambda seeds: str(seeds[0]))


def assert_same_tokens(one, two, said=""):
    assert len(one.patches) == len(two.patches), said
    for name in (*PER_TOKEN, *(PER_PATCH if len(one.patches) else ())):  # without patches, their shape is not defined
        np.testing.assert_array_equal(getattr(one, name), getattr(two, name), err_msg=f"{said} {name}")


def assert_comes_back(layout, episode, decoded, said):
    """Check every value of every key; a clipped value comes back as the centre of the outermost bin."""
    steps = episode.acting_steps
    for side, columns in (("observation", layout.observation_columns), ("action", layout.action_columns)):
        given, back = getattr(episode, side), getattr(decoded, side)
        assert back.keys() == given.keys(), said
        for _, key, codec in columns:
            values, found = given[key][:steps], back[key]
            assert len(found) == steps, said
            if isinstance(codec, ContinuousCodec):
                assert found.shape == values.shape and found.dtype == np.float32, said
                ids = codec.encode(values)
                flat = found.reshape(steps, codec.token_count), values.reshape(steps, codec.token_count)
                for (step, element), token in np.ndenumerate(ids):
                    low, high = (from_unit(codec, y, element) for y in (-1.0, 1.0))
                    value = min(max(float(flat[1][step, element]), low), high)
                    bound = error_bound(codec, number_of(codec, int(token)), element)
                    assert abs(float(flat[0][step, element]) - value) <= bound, (said, key, value)
            elif isinstance(codec, ImageCodec):
                np.testing.assert_array_equal(found, codec.decode(codec.encode(values)), err_msg=said)
                if codec.modality.height % 16 == codec.modality.width % 16 == 0:
                    np.testing.assert_array_equal(found, values, err_msg=said)
            else:
                assert found.shape == values.shape, said
                np.testing.assert_array_equal(found, values, err_msg=said)


@in_batches
def test_an_episode_comes_back(seeds):
    for seed in seeds:
        task = random_task(seed)
        layout = Layout(task.spec, PAPER)
        assert_comes_back(layout, task.episode, decode(layout, layout.encode(task.episode)), f"random_task({seed})")


@in_batches
def test_what_was_read_has_the_same_tokens_again(seeds):
    for seed in seeds:
        spec, episode = random_task(seed).spec, random_task(seed).episode
        layout, steps = Layout(spec, PAPER), episode.acting_steps
        if not steps:
            continue
        first = decode(layout, layout.encode(episode))
        fitted = {  # an image that was padded or cropped comes back as the whole patches that it became
            key: dataclasses.replace(
                modality, height=first.observation[key].shape[1], width=first.observation[key].shape[2]
            )
            if isinstance(modality, Image)
            else modality
            for key, modality in spec.observation.items()
        }
        again = Layout(dataclasses.replace(spec, observation=fitted), PAPER)
        assert_same_tokens(
            again.encode(episode_of(spec, first.observation, first.action)),
            layout.encode(episode),
            f"random_task({seed})",
        )


@in_batches
def test_timesteps_one_by_one_are_the_episode(seeds):
    for seed in seeds:
        task = random_task(seed)
        layout, episode = Layout(task.spec, PAPER), task.episode
        whole, parts = layout.encode(episode), layout.encode_timesteps(episode)
        assert len(parts) == episode.acting_steps
        if parts:
            assert_same_tokens(concatenate(parts), whole, f"random_task({seed})")


@in_batches
def test_acting_sees_the_tokens_of_training(seeds):
    for seed in seeds:
        task = random_task(seed)
        layout, episode = Layout(task.spec, PAPER), task.episode
        for step, trained in enumerate(layout.encode_timesteps(episode)):
            observation = {key: values[step] for key, values in episode.observation.items()}
            action = {key: values[step] for key, values in episode.action.items()}
            seen, done = layout.encode_observation(observation), layout.encode_action(action)
            assert_same_tokens(seen, trained.slice(0, len(seen)), f"random_task({seed})")
            assert_same_tokens(done, trained.slice(len(seen), len(trained)), f"random_task({seed})")


@in_batches
def test_a_sequence_cut_inside_a_timestep_is_refused(seeds):
    for seed in seeds:
        task = random_task(seed)
        layout, rng = Layout(task.spec, PAPER), np.random.default_rng(seed)
        sequence = layout.encode(task.episode)
        borders = np.cumsum([0, *map(len, layout.encode_timesteps(task.episode))])
        for start in [0, *rng.integers(0, len(sequence), 3).tolist()] if task.observation and len(sequence) else [0]:
            for stop in [len(sequence), *rng.integers(start, len(sequence) + 1, 3).tolist()]:
                if stop == start or (start in borders and stop in borders):
                    continue
                with pytest.raises(TokenizationError, match=rf"are not whole timesteps of random/{seed}; cut them"):
                    decode(layout, sequence.slice(start, stop))
                with pytest.raises(TokenizationError, match=rf"are not whole timesteps of random/{seed}; cut them"):
                    describe(layout, sequence.slice(start, stop))


@in_batches
def test_a_prompt_and_its_episode_both_come_back(seeds):
    for seed in seeds:
        task = random_task(seed)
        layout, episode = Layout(task.spec, PAPER), task.episode
        one = layout.encode(episode)
        tokens = layout.encode(episode, prompt=episode)
        np.testing.assert_array_equal(tokens.prompt_mask, np.arange(2 * len(one)) < len(one))
        assert not tokens.loss_mask[: len(one)].any()  # a prompt is no target
        np.testing.assert_array_equal(tokens.loss_mask[len(one) :], one.loss_mask)
        both = decode(layout, tokens)
        for side in ("observation", "action"):
            for key, values in getattr(decode(layout, one), side).items():
                twice = np.concatenate([values, values])
                np.testing.assert_array_equal(getattr(both, side)[key], twice, err_msg=f"random_task({seed})")
        predicted = layout.encode(episode, prompt=episode, predict_prompt=True)
        np.testing.assert_array_equal(predicted.loss_mask, np.tile(one.loss_mask, 2))


@in_batches
def test_each_token_says_what_the_whole_says(seeds):
    for seed in seeds:
        task = random_task(seed)
        layout = Layout(task.spec, PAPER)
        sequence = layout.encode(task.episode)
        tokens, whole = describe(layout, sequence), decode(layout, sequence)
        assert len(tokens) == len(sequence)
        assert [i for i, token in enumerate(tokens) if token.kind == "separator"] == np.flatnonzero(
            sequence.token_ids == 33_024
        ).tolist()
        assert [i for i, token in enumerate(tokens) if token.kind == "image patch"] == sequence.patch_slots.tolist()
        for side, columns in (("observation", layout.observation_columns), ("action", layout.action_columns)):
            for _, key, codec in columns:
                said = [(token.element, token.value) for token in tokens if (token.side, token.key) == (side, key)]
                values = getattr(whole, side)[key]
                if isinstance(codec, TextCodec):
                    ends = [i for i, (_, piece) in enumerate(said) if piece == "</s>"]
                    assert len(ends) == len(values)
                elif isinstance(codec, (ImageCodec, CodeCodec)):
                    assert [value for _, value in said] == [None] * (codec.token_count * len(values))
                else:
                    assert [value for _, value in said] == values.reshape(-1).tolist()
                    assert [element for element, _ in said] == list(range(codec.token_count)) * len(values)


def test_text_is_described_by_its_pieces():
    layout = Layout(DIALOGUE, PAPER)
    sequence = layout.encode_action({"text": "Hello!\nYes"})
    assert [token.value for token in describe(layout, sequence)] == ["▁Hello", "!", "<0x0A>", "Yes", "</s>"]


@pytest.mark.parametrize("spec", [CONTROL, GRID, GAME, ROBOT, CAPTION], ids=lambda spec: spec.task)
@pytest.mark.parametrize("other", [CONTROL, GRID, GAME, ROBOT, CAPTION, DIALOGUE], ids=lambda spec: f"as {spec.task}")
def test_a_sequence_of_another_task_is_refused(spec, other):
    sequence = Layout(spec, PAPER).encode(random_episode(spec, seed=0, steps=3))
    if other is spec:
        decode(Layout(spec, PAPER), sequence)
        return
    with pytest.raises(TokenizationError):
        decode(Layout(other, PAPER), sequence)


def test_patches_are_not_read_as_values_of_another_task():
    """Timesteps of both tasks have one observation token, the separator and one action token."""
    pixels = TaskSpec(suite="m", task="a", observation={"x": Image(height=16, width=16)}, action={"a": Discrete(n=2)})
    number = dataclasses.replace(pixels, observation={"x": Discrete(n=4)})
    for spec, other in ((pixels, number), (number, pixels)):
        sequence = Layout(spec, PAPER).encode(random_episode(spec, seed=0, steps=2))
        with pytest.raises(TokenizationError, match="are not whole timesteps of m/a"):
            decode(Layout(other, PAPER), sequence)
    small = Layout(dataclasses.replace(pixels, observation={"x": Image(height=8, width=8)}), Tokenization(patch=8))
    with pytest.raises(TokenizationError, match="are not whole timesteps of m/a"):
        decode(small, Layout(pixels, PAPER).encode(random_episode(pixels, seed=0, steps=2)))


def test_text_that_begins_in_its_middle_is_refused_behind_an_observation():
    spec = TaskSpec(
        suite="m", task="a", observation={"say": Text()}, action={"a": Continuous(shape=(), low=0.0, high=1.0)}
    )
    layout = Layout(spec, PAPER)
    sequence = layout.encode(episode_of(spec, {"say": np.array(["go to the ball"], object)}, {"a": np.array([0.5])}))
    with pytest.raises(TokenizationError, match="are not whole timesteps"):
        decode(layout, sequence.slice(1, len(sequence)))
