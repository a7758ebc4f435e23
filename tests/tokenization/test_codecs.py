"""Each codec and its inverse: exact, or within the width of a bin."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gato_jax.episodes import Continuous, Discrete, Image
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec, ImageCodec, TextCodec, TokenizationError, Vocabulary

OBSERVATION = ContinuousCodec(modality=Continuous(shape=()), companded=True)
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=40)


def bin_of(value: float) -> int:
    return int(OBSERVATION.encode(np.float64(value))[0]) - 32_000


@pytest.mark.parametrize(
    "value, expected",
    [
        (0, 512),
        (1, 744),
        (-1, 279),
        (0.1, 632),
        (-0.1, 391),
        (10, 860),
        (100, 976),
        (256, 1023),
        (1e30, 1023),
        (-1e30, 0),
    ],
)
def test_companded_bins_are_those_of_the_paper(value, expected):
    assert bin_of(value) == expected


@given(hnp.arrays(np.float64, (4, 2, 3), elements=st.floats(-256, 256)))
def test_companded_values_come_back_within_their_bin(values):
    codec = ContinuousCodec(modality=Continuous(shape=(2, 3)), companded=True)
    back = codec.decode(codec.encode(values))
    assert back.shape == values.shape and back.dtype == np.float32
    # Half a bin in the companded domain is 1/1024; its derivative, 1/F', is ln(M mu + 1) (|x| mu + 1) / mu.
    slope = np.log(256 * 100 + 1) * (np.maximum(np.abs(values), np.abs(back)) * 100 + 1) / 100
    assert (np.abs(back - values) <= slope / 1024 * (1 + 1e-5) + 1e-6).all()


@given(hnp.arrays(np.float64, (3, 2), elements=st.floats(0, 1)), st.floats(-50, 50), st.floats(0.125, 50))
def test_actions_come_back_within_half_a_bin_of_their_own_range(share, low, size):
    limits = {"low": (low, low - 1), "high": (low + size, low + 2 * size)}
    codec = ContinuousCodec(modality=Continuous(shape=(2,), **limits), companded=False)
    low, high = np.array(limits["low"]), np.array(limits["high"])
    values = low + share * (high - low)
    assert (np.abs(codec.decode(codec.encode(values)) - values) <= (high - low) / 2048 + 1e-4).all()


def test_actions_are_not_companded():
    codec = ContinuousCodec(modality=Continuous(shape=(5,), low=-1.0, high=1.0), companded=False)
    np.testing.assert_array_equal(codec.encode(np.array([-1, -0.5, 0, 0.5, 1])) - 32_000, [0, 256, 512, 768, 1023])


def test_values_outside_the_limits_are_clipped_to_the_outermost_bins():
    codec = ContinuousCodec(modality=Continuous(shape=(2,), low=0.0, high=2.0), companded=False)
    np.testing.assert_array_equal(codec.encode(np.array([-7.0, 7.0])) - 32_000, [0, 1023])


@given(st.integers(0, 1023))
def test_a_decoded_bin_is_encoded_as_itself(number):
    action = ContinuousCodec(modality=Continuous(shape=(1,), low=-3.0, high=5.0), companded=False)
    for codec in (ContinuousCodec(modality=Continuous(shape=(1,)), companded=True), action):
        ids = np.array([32_000 + number], np.int32)
        np.testing.assert_array_equal(codec.encode(codec.decode(ids)), ids)


@given(st.data())
def test_discrete_values_come_back_exactly(data):
    modality = Discrete(n=data.draw(st.integers(1, 1024)), shape=data.draw(hnp.array_shapes(min_dims=0, max_dims=3)))
    codec = DiscreteCodec(modality=modality)
    values = data.draw(hnp.arrays(np.int64, (2, *modality.shape), elements=st.integers(0, modality.n - 1)))
    ids = codec.encode(values)
    assert ids.shape == (2, codec.token_count)
    np.testing.assert_array_equal(ids.reshape(-1), values.reshape(-1))  # row-major, and its own number is the id
    np.testing.assert_array_equal(codec.decode(ids), values)


@given(TEXT)
def test_text_comes_back_exactly(text):
    codec = TextCodec()
    ids = codec.encode(text)
    assert ids[-1] == codec.end_of_text and (ids >= 0).all() and (ids < Vocabulary().text).all()
    assert codec.decode(np.append(ids, [17, 18])) == text  # what follows the end of a text is not read


@settings(max_examples=30)
@given(st.integers(1, 4), st.integers(1, 4), st.sampled_from(["resize", "pad", "crop"]), st.integers(0, 99))
def test_images_of_whole_patches_come_back_exactly(rows, columns, fit, seed):
    modality = Image(height=16 * rows, width=16 * columns, fit=fit)
    images = np.random.default_rng(seed).integers(256, size=(2, *modality.shape), dtype=np.uint8)
    codec = ImageCodec(modality=modality)
    patches = codec.encode(images)
    assert patches.shape == (2, rows * columns, 16, 16, 3)
    np.testing.assert_array_equal(patches[0, columns - 1], images[0, :16, -16:])  # raster order
    np.testing.assert_array_equal(codec.decode(patches), images)


@pytest.mark.parametrize("fit, grid", [("resize", (2, 3)), ("pad", (2, 3)), ("crop", (1, 2))])
def test_other_sides_are_fitted(fit, grid):
    modality = Image(height=20, width=40, fit=fit)
    image = np.random.default_rng(0).integers(256, size=modality.shape, dtype=np.uint8)
    codec = ImageCodec(modality=modality)
    fitted = codec.decode(codec.encode(image))
    assert codec.grid == grid and fitted.shape == (grid[0] * 16, grid[1] * 16, 3)
    if fit == "pad":
        np.testing.assert_array_equal(fitted[:20, :40], image)
        assert not fitted[20:].any() and not fitted[:, 40:].any()
    if fit == "crop":
        np.testing.assert_array_equal(fitted, image[2:18, 4:36])
    if fit == "resize":
        assert abs(fitted.mean() - image.mean()) < 1


def test_patch_intervals_are_those_of_the_papers_figure():
    """80 wide and 64 high: the patch in row 1 and column 2 covers rows [0.25, 0.5] and columns [0.4, 0.6]."""
    codec = ImageCodec(modality=Image(height=64, width=80))
    assert codec.grid == (4, 5)
    np.testing.assert_array_equal(codec.intervals[1 * 5 + 2], [32, 64, 51, 77])


def test_each_modality_has_its_ids():
    vocabulary = Vocabulary()
    assert vocabulary.continuous == 32_000 and vocabulary.separator == 33_024 and vocabulary.size == 33_025
    assert DiscreteCodec(modality=Discrete(n=18)).token_range == (0, 18)
    assert OBSERVATION.token_range == (32_000, 33_024)
    assert vocabulary.padded_size % 128 == 0 and vocabulary.padded_size - vocabulary.size < 128


@pytest.mark.parametrize(
    "codec, value, said",
    [
        (OBSERVATION, np.float32("nan"), "value nan is not finite"),
        (OBSERVATION, np.float32("-inf"), "value -inf is not finite"),
        (OBSERVATION, np.str_("3"), "real numbers, got dtype"),
        (OBSERVATION, np.complex64(1j), "real numbers, got dtype complex64"),
        (ContinuousCodec(modality=Continuous(shape=(3,)), companded=True), np.zeros(4), r"shape \(3,\), got \(4,\)"),
        (DiscreteCodec(modality=Discrete(n=4)), np.int32(4), r"value 4 is outside \[0, 4\)"),
        (DiscreteCodec(modality=Discrete(n=4)), np.int32(-1), r"value -1 is outside \[0, 4\)"),
        (DiscreteCodec(modality=Discrete(n=4)), np.float32(1), "integers, got dtype float32"),
        (DiscreteCodec(modality=Discrete(n=4, shape=(2,))), np.int32(1), r"shape \(2,\), got \(\)"),
        (ImageCodec(modality=Image(height=16, width=16)), np.zeros((16, 16, 3)), "uint8 .* got float64"),
        (
            ImageCodec(modality=Image(height=16, width=16)),
            np.zeros((16, 32, 3), np.uint8),
            r"got uint8 of \(16, 32, 3\)",
        ),
        (TextCodec(), b"bytes", "text must be str, got bytes b'bytes'"),
    ],
)
def test_what_has_no_token_is_an_error_that_names_the_value(codec, value, said):
    with pytest.raises(TokenizationError, match=said):
        codec.encode(value)


def test_actions_without_limits_are_refused():
    with pytest.raises(TokenizationError, match="finite limits"):
        ContinuousCodec(modality=Continuous(shape=(2,)), companded=False)


def test_only_continuous_ids_decode_to_floats():
    with pytest.raises(TokenizationError, match="not all continuous ids"):
        OBSERVATION.decode(np.array([33_024]))
