"""Tests of codes of an image tokenizer in place of patches, and of later codes as targets."""

import dataclasses

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec
from gato_jax.tokenization import Contract, Layout, Tokenization, TokenizationError, Vocabulary, decode, describe
from gato_jax.tokenization.codecs import CodeCodec
from gato_jax.tokenization.codecs.image import ImageTokenizer
from tests.tokenization.made_tasks import random_episode

FIRST = 33_025  # after the separator, 33024


@dataclasses.dataclass(frozen=True)
class Config:
    codes: int = 64
    token_count: int = 4


@dataclasses.dataclass(frozen=True)
class Corners:
    """Image tokenizer whose codes are the red values of the four corners of an image, in 64 shades."""

    config: Config = Config()
    fingerprint: str = "made"

    def encode(self, images: np.ndarray) -> np.ndarray:
        reds = images[..., ::15, ::15, 0][..., :2, :2]
        return (reds // 4).reshape(*images.shape[:-3], 4).astype(np.int32)

    def decode(self, codes: np.ndarray) -> np.ndarray:
        shades = (codes * 4).astype(np.uint8).reshape(*codes.shape[:-1], 2, 2, 1)
        return np.broadcast_to(shades, (*shades.shape[:-1], 3))


TOKENIZER = Corners()
SPEC = TaskSpec(
    suite="made", task="camera",
    observation={
        "camera": Image(height=16, width=16),
        "height": Continuous(shape=(1,)),
        "wrist": Image(height=16, width=16),
    },
    action={"go": Discrete(n=4)},
)  # fmt: skip
STEPS, WIDTH = 6, 4 + 1 + 4 + 1 + 1
CODES = [0, 1, 2, 3, 5, 6, 7, 8]  # their places in a timestep


def settings(ahead: int | None) -> Tokenization:
    return Tokenization(vocabulary=Vocabulary(image_codes=64), image_tokenizer="made", image_ahead=ahead)


def rows(ahead: int | None):
    """Return an episode, and its tokens, targets and loss mask as (steps, tokens of a step)."""
    episode = random_episode(SPEC, seed=0, steps=STEPS)
    tokens = Layout(SPEC, settings(ahead), image_tokenizer=TOKENIZER).encode(episode)
    return episode, *(getattr(tokens, n).reshape(STEPS, WIDTH) for n in ("token_ids", "target_ids", "loss_mask"))


def test_the_made_one_is_a_tokenizer():
    assert isinstance(TOKENIZER, ImageTokenizer)


def test_codes_have_ids_of_their_own_behind_the_separator():
    episode, ids, _, _ = rows(None)
    for key, places in (("camera", slice(0, 4)), ("wrist", slice(5, 9))):
        np.testing.assert_array_equal(ids[:, places], TOKENIZER.encode(episode.observation[key]) + FIRST)
    assert (ids[:, CODES] >= FIRST).all() and (ids[:, CODES] < FIRST + 64).all()
    others = np.delete(ids, CODES, axis=1)
    assert (others < FIRST).all() and (ids[:, 9] == 33_024).all()
    assert CodeCodec(modality=Image(height=16, width=16), tokenizer=TOKENIZER, first_id=FIRST).token_range == (
        33_025,
        33_089,
    )


def test_without_a_look_ahead_no_code_is_a_target():
    _, ids, targets, mask = rows(None)
    np.testing.assert_array_equal(targets, ids)
    np.testing.assert_array_equal(mask, np.broadcast_to(np.arange(WIDTH) == WIDTH - 1, mask.shape))  # the action only


@pytest.mark.parametrize("ahead", [0, 1, 5, 6, 100])
def test_targets_are_the_codes_some_steps_later_and_none_at_the_last_steps(ahead):
    _, ids, targets, mask = rows(ahead)
    for step in range(STEPS):
        later = step + ahead
        assert mask[step, CODES].tolist() == [later < STEPS] * 8
        if later < STEPS:
            np.testing.assert_array_equal(targets[step, CODES], ids[later, CODES])
    others = np.setdiff1d(np.arange(WIDTH), CODES)
    np.testing.assert_array_equal(targets[:, others], ids[:, others])
    np.testing.assert_array_equal(mask[:, others], np.broadcast_to(others == WIDTH - 1, (STEPS, len(others))))


def test_what_comes_after_the_final_observation_is_not_needed():
    episode = random_episode(SPEC, seed=0, steps=STEPS, final_observation=True)
    tokens = Layout(SPEC, settings(1), image_tokenizer=TOKENIZER).encode(episode)
    mask = tokens.loss_mask.reshape(STEPS - 1, WIDTH)
    assert mask[:-1, CODES].all() and not mask[-1, CODES].any()
    only_final = random_episode(SPEC, seed=0, steps=1, final_observation=True)
    assert len(Layout(SPEC, settings(1), image_tokenizer=TOKENIZER).encode(only_final)) == 0


def test_acting_sees_the_same_codes():
    layout, episode = Layout(SPEC, settings(5), image_tokenizer=TOKENIZER), random_episode(SPEC, seed=1, steps=3)
    for step, trained in enumerate(layout.encode_timesteps(episode)):
        seen = layout.encode_observation({key: values[step] for key, values in episode.observation.items()})
        np.testing.assert_array_equal(seen.token_ids, trained.token_ids[: len(seen)])
        np.testing.assert_array_equal(seen.local_position, trained.local_position[: len(seen)])
        assert not seen.loss_mask.any() and len(seen.patches) == 0


def test_codes_come_back_as_the_tokenizer_reconstructs_them():
    layout, episode = Layout(SPEC, settings(None), image_tokenizer=TOKENIZER), random_episode(SPEC, seed=2, steps=3)
    sequence = layout.encode(episode)
    decoded = decode(layout, sequence)
    for key in ("camera", "wrist"):
        expected = TOKENIZER.decode(TOKENIZER.encode(episode.observation[key]))
        np.testing.assert_array_equal(decoded.observation[key], expected)
    kinds = [token.kind for token in describe(layout, sequence)[:WIDTH]]
    assert kinds == ["image code"] * 4 + ["continuous"] + ["image code"] * 4 + ["separator", "discrete"]
    codec = layout.observation_columns[0].codec
    with pytest.raises(TokenizationError, match="not all image codes"):
        codec.decode(np.array([33_024, 33_025, 33_025, 33_025]))


@pytest.mark.parametrize(
    "tokenizer, said",
    [
        (None, "the image tokenizer made, given is none"),
        (Corners(fingerprint="another"), "the image tokenizer made, given is another"),
        (Corners(config=Config(codes=65)), "has 65 codes, vocabulary.image_codes is 64"),
    ],
)
def test_a_wrong_tokenizer_is_refused(tokenizer, said):
    with pytest.raises(TokenizationError, match=f"made/camera: .*{said}"):
        Layout(SPEC, settings(5), image_tokenizer=tokenizer)
    with pytest.raises(TokenizationError, match=f"made/camera: .*{said}"):
        Contract.of(settings(5), [SPEC]).layout("made/camera", tokenizer)


def test_a_tokenizer_that_the_settings_do_not_name_is_refused():
    with pytest.raises(TokenizationError, match="the image tokenizer None, given is made"):
        Layout(SPEC, Tokenization(), image_tokenizer=TOKENIZER)


def test_pixels_are_checked_before_they_are_given_to_it():
    layout = Layout(SPEC, settings(None), image_tokenizer=TOKENIZER)
    episode = random_episode(SPEC, seed=0, steps=2)
    for wrong in (np.zeros((2, 16, 16, 3), np.float32), np.zeros((2, 16, 17, 3), np.uint8)):
        with pytest.raises(
            TokenizationError, match="^made/camera, observation 'wrist': an image must be uint8 of shape"
        ):
            layout.encode(dataclasses.replace(episode, observation={**episode.observation, "wrist": wrong}))


@pytest.mark.parametrize("fit", ["resize", "pad", "crop"])
def test_an_image_is_made_square_as_its_modality_says_before_the_tokenizer_sees_it(fit):
    seen = []

    @dataclasses.dataclass(frozen=True)
    class Seeing(Corners):
        def encode(self, images: np.ndarray) -> np.ndarray:
            seen.append(images)
            return np.zeros((len(images), 4), np.int32)

    images = np.random.default_rng(0).integers(256, size=(3, 4, 8, 3), dtype=np.uint8)
    wanted = {
        "resize": images,  # which the tokenizer itself does
        "pad": np.concatenate([images, np.zeros_like(images)], axis=1),  # below
        "crop": images[:, :, 2:6],
    }
    codec = CodeCodec(modality=Image(height=4, width=8, fit=fit), tokenizer=Seeing(), first_id=FIRST)
    assert codec.encode(images).shape == (3, 4)
    np.testing.assert_array_equal(seen[0], wanted[fit])


def test_a_tokenizer_says_itself_how_many_codes_an_image_has():
    tokenizer = Corners(config=Config(token_count=5))
    assert CodeCodec(modality=Image(height=16, width=16), tokenizer=tokenizer, first_id=FIRST).token_count == 5
