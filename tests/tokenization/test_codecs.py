"""Tests of each codec and its inverse: exact, or within the width of a bin."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from gato_jax.episodes import Continuous, Discrete, Image
from gato_jax.tokenization import ContinuousCodec, DiscreteCodec, ImageCodec, TextCodec, TokenizationError, Vocabulary
from gato_jax.tokenization.codecs import text as text_codec
from tests.tokenization.formulas import ROUNDING, bin_edges, error_bound, from_unit, number_of, possible_bins

OBSERVATION = ContinuousCodec(modality=Continuous(shape=()), companded=True)
# The checker of signatures draws at random what it checks, also inside strategies.
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), max_size=40)


def bin_of(value: float, codec: ContinuousCodec = OBSERVATION) -> int:
    return int(codec.encode(np.float64(value))[0]) - 32_000


@pytest.mark.parametrize(
    "value, with_m, without_m",
    [
        (0, 512, 512),
        (1, 744, 1023),
        (-1, 279, 0),
        (0.1, 632, 778),
        (-0.1, 391, 245),
        (10, 860, 1023),
        (100, 976, 1023),
        (256, 1023, 1023),
        (1e30, 1023, 1023),
        (-1e30, 0, 0),
    ],
)
def test_companded_bins_are_those_of_the_paper(value, with_m, without_m):
    assert bin_of(value) == with_m
    assert bin_of(value, ContinuousCodec(modality=Continuous(shape=()), companded=True, m=1.0)) == without_m


def positive(low: float, high: float) -> st.SearchStrategy[float]:
    """Return numbers whose orders of magnitude are uniformly distributed."""
    return st.floats(np.log10(low), np.log10(high)).map(lambda exponent: float(10**exponent))


@st.composite
def continuous_codecs(draw) -> ContinuousCodec:
    bins = draw(st.one_of(st.integers(2, 65_536), st.sampled_from([2, 3, 255, 256, 1000, 1024, 65_535, 65_536])))
    shared = {"bins": bins, "first_id": draw(st.sampled_from([0, 31_744, 32_000])), "descending": draw(st.booleans())}
    if draw(st.booleans()):
        mu, m = draw(positive(1e-6, 1e6)), draw(st.one_of(st.just(1.0), st.just(256.0), positive(1e-3, 1e6)))
        return ContinuousCodec(modality=Continuous(shape=(3,)), companded=True, mu=mu, m=m, **shared)
    low = draw(st.lists(st.floats(-1e4, 1e4), min_size=3, max_size=3))
    size = draw(st.lists(positive(1e-4, 1e4), min_size=3, max_size=3))
    limits = {"low": tuple(low), "high": tuple(a + b for a, b in zip(low, size, strict=True))}
    return ContinuousCodec(modality=Continuous(shape=(3,), **limits), companded=False, **shared)


@settings(max_examples=200, deadline=None)
@given(continuous_codecs(), st.lists(st.floats(-1, 1), min_size=12, max_size=12))
def test_a_value_comes_back_within_half_a_bin_whatever_the_settings(codec, units):
    values = np.array([from_unit(codec, unit, i % 3) for i, unit in enumerate(units)]).reshape(4, 3)
    ids = codec.encode(values)
    low, high = codec.token_range
    assert ids.dtype == np.int32 and ids.shape == (4, 3) and (ids >= low).all() and (ids < high).all()
    back = codec.decode(ids)
    assert back.shape == values.shape and back.dtype == np.float32
    for (step, element), value in np.ndenumerate(values):
        number = number_of(codec, int(ids[step, element]))
        assert number in possible_bins(codec, float(value), element)
        assert abs(float(back[step, element]) - value) <= error_bound(codec, number, element)


@settings(max_examples=200, deadline=None)
@given(continuous_codecs(), st.lists(st.floats(0, 1, exclude_max=True), min_size=6, max_size=6))
def test_a_decoded_bin_is_encoded_as_itself_where_float32_can_tell(codec, shares):
    numbers = np.array([int(share * codec.bins) for share in shares]).reshape(2, 3)
    ids = (codec.first_id + (codec.bins - 1 - numbers if codec.descending else numbers)).astype(np.int32)
    back = codec.encode(codec.decode(ids))
    for (step, element), number in np.ndenumerate(numbers):
        low, centre, high = bin_edges(codec, int(number), element)
        margin = (high - low) * 1e-6 + max(abs(low), abs(high)) * ROUNDING
        if low + margin < float(np.float32(centre)) < high - margin:
            assert back[step, element] == ids[step, element]


@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("bins", [2, 3, 256, 1000, 1024])
def test_every_bin_of_the_usual_settings_is_encoded_as_itself(bins, descending):
    shared = {"bins": bins, "descending": descending}
    ids = np.arange(32_000, 32_000 + bins, dtype=np.int32)[:, None]
    for m in (1.0, 256.0):
        observation = ContinuousCodec(modality=Continuous(shape=(1,)), companded=True, m=m, **shared)
        np.testing.assert_array_equal(observation.encode(observation.decode(ids)), ids)
    action = ContinuousCodec(modality=Continuous(shape=(1,), low=-3.0, high=5.0), companded=False, **shared)
    np.testing.assert_array_equal(action.encode(action.decode(ids)), ids)


@settings(max_examples=100, deadline=None)
@given(continuous_codecs(), st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=3, max_size=3))
def test_ids_rise_with_values_or_fall_where_they_descend(codec, values):
    values = np.sort(values)
    for element in range(3):
        rows = np.zeros((3, 3))
        rows[:, element] = values
        steps = np.diff(codec.encode(rows)[:, element])
        assert (steps <= 0).all() if codec.descending else (steps >= 0).all()


@settings(max_examples=100, deadline=None)
@given(continuous_codecs(), st.floats(allow_nan=False, allow_infinity=False))
def test_what_lies_outside_the_bins_is_clipped_and_counted(codec, value):
    values = np.full(3, value)
    inside = [from_unit(codec, -1.0, i) <= value <= from_unit(codec, 1.0, i) for i in range(3)]
    near = [abs(value - from_unit(codec, y, i)) <= 1e-9 * max(1, abs(value)) for i in range(3) for y in (-1.0, 1.0)]
    if not any(near):
        np.testing.assert_array_equal(codec.clips(values), ~np.array(inside))


def test_the_ends_of_the_bins_are_not_counted_as_clipped():
    for mu in (1e-3, 1.0, 50.0, 100.0, 255.0, 1e4):
        for m in (1.0, 2.0, 10.0, 256.0):
            codec = ContinuousCodec(modality=Continuous(shape=(2,)), companded=True, mu=mu, m=m)
            assert not codec.clips(np.array([m, -m])).any(), (mu, m)
    action = ContinuousCodec(modality=Continuous(shape=(2,), low=-0.3, high=0.7), companded=False)
    assert not action.clips(np.array([-0.3, 0.7])).any()


def test_actions_are_not_companded():
    codec = ContinuousCodec(modality=Continuous(shape=(5,), low=-1.0, high=1.0), companded=False)
    np.testing.assert_array_equal(codec.encode(np.array([-1, -0.5, 0, 0.5, 1])) - 32_000, [0, 256, 512, 768, 1023])


def test_values_outside_the_limits_are_clipped_to_the_outermost_bins():
    codec = ContinuousCodec(modality=Continuous(shape=(2,), low=0.0, high=2.0), companded=False)
    np.testing.assert_array_equal(codec.encode(np.array([-7.0, 7.0])) - 32_000, [0, 1023])


PER_ELEMENT = Continuous(shape=(3,), low=(-1.0, 0.0, -30.0), high=(1.0, 1e-3, 7.0))


@pytest.mark.parametrize(
    "codec",
    [
        ContinuousCodec(modality=Continuous(shape=(3,)), companded=True),
        ContinuousCodec(modality=Continuous(shape=(3,)), companded=True, bins=65_536, mu=1e-6, m=1e6),
        ContinuousCodec(modality=PER_ELEMENT, companded=False),
        ContinuousCodec(modality=Continuous(shape=(), low=-0.4, high=0.3), companded=False),
        ContinuousCodec(modality=PER_ELEMENT, companded=False, first_id=31_744, bins=256, descending=True),
        DiscreteCodec(modality=Discrete(n=1024, shape=(3,))),
        ContinuousCodec(modality=Continuous(shape=(2, 0), low=(), high=()), companded=False),
        DiscreteCodec(modality=Discrete(n=1)),
    ],
)
def test_on_a_device_every_id_decodes_to_the_same_bits(codec):
    ids = np.repeat(np.arange(*codec.token_range, dtype=np.int32)[:, None], codec.token_count, axis=1)
    host, device = codec.decode(ids), jax.jit(codec.decode)(jnp.asarray(ids))
    assert device.dtype == host.dtype and device.shape == host.shape
    assert np.asarray(device).tobytes() == host.tobytes()


@given(st.data())
def test_discrete_values_come_back_exactly(data):
    modality = Discrete(n=data.draw(st.integers(1, 1024)), shape=data.draw(hnp.array_shapes(min_dims=0, max_dims=3)))
    codec = DiscreteCodec(modality=modality)
    values = data.draw(hnp.arrays(np.int64, (2, *modality.shape), elements=st.integers(0, modality.n - 1)))
    ids = codec.encode(values)
    assert ids.shape == (2, codec.token_count)
    np.testing.assert_array_equal(ids.reshape(-1), values.reshape(-1))  # row-major; the value itself is the id
    np.testing.assert_array_equal(codec.decode(ids), values)


@given(TEXT)
def test_text_comes_back_exactly(text):
    codec = TextCodec()
    ids = codec.encode(text)
    assert ids[-1] == 2 and 2 not in ids[:-1] and (ids >= 0).all() and (ids < Vocabulary().text).all()
    assert codec.decode(np.append(ids, [17, 18])) == text  # what follows the end of a text is not read


@pytest.mark.parametrize("text", ["</s>", "<s>", "<unk>", "<0x0A>", "a </s> b", "\n\n", " ", "", "  a  ", "\x00"])
def test_text_that_looks_like_a_control_piece_is_text(text):
    ids = TextCodec().encode(text)
    assert list(ids).count(2) == 1 and TextCodec().decode(ids) == text


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 70), st.integers(1, 70), st.sampled_from(["resize", "pad", "crop"]), st.sampled_from([8, 16]),
    st.integers(0, 99),
)  # fmt: skip
def test_images_of_any_size_become_whole_patches(height, width, fit, patch, seed):
    modality = Image(height=height, width=width, fit=fit)
    if fit == "crop" and min(height, width) < patch:
        with pytest.raises(TokenizationError, match="is empty; use fit='resize'"):
            ImageCodec(modality=modality, patch=patch)
        return
    codec = ImageCodec(modality=modality, patch=patch)
    rows, columns = (side // patch if fit == "crop" else -(-side // patch) for side in (height, width))
    images = np.random.default_rng(seed).integers(256, size=(2, *modality.shape), dtype=np.uint8)
    patches = codec.encode(images)
    assert codec.grid == (rows, columns) and patches.shape == (2, rows * columns, patch, patch, 3)
    fitted = codec.decode(patches)
    for number in range(rows * columns):  # raster order
        top, left = number // columns * patch, number % columns * patch
        np.testing.assert_array_equal(patches[:, number], fitted[:, top : top + patch, left : left + patch])
    if (rows * patch, columns * patch) == (height, width):
        np.testing.assert_array_equal(fitted, images)
    elif fit == "pad":
        np.testing.assert_array_equal(fitted[:, :height, :width], images)
        assert not fitted[:, height:].any() and not fitted[:, :, width:].any()
    elif fit == "crop":
        top, left = (height - rows * patch) // 2, (width - columns * patch) // 2
        np.testing.assert_array_equal(fitted, images[:, top : top + rows * patch, left : left + columns * patch])
    else:
        assert fitted.min() >= images.min() and fitted.max() <= images.max()
    again = ImageCodec(modality=Image(height=rows * patch, width=columns * patch, fit=fit), patch=patch)
    np.testing.assert_array_equal(again.encode(fitted), patches)


def test_a_resized_image_of_one_colour_keeps_it():
    codec = ImageCodec(modality=Image(height=21, width=37))
    image = np.full((21, 37, 3), (9, 100, 255), np.uint8)
    assert (codec.encode(image) == np.array([9, 100, 255], np.uint8)).all()


def test_patch_intervals_are_those_of_the_papers_figure():
    """In an image 80 by 64, the patch in row 1 and column 2 covers rows [0.25, 0.5] and columns [0.4, 0.6]."""
    codec = ImageCodec(modality=Image(height=64, width=80))
    assert codec.grid == (4, 5)
    np.testing.assert_array_equal(codec.intervals[1 * 5 + 2], [32, 64, 51, 77])


def test_each_modality_has_its_ids():
    vocabulary = Vocabulary()
    assert vocabulary.continuous == 32_000 and vocabulary.separator == 33_024 and vocabulary.size == 33_025
    assert DiscreteCodec(modality=Discrete(n=18)).token_range == (0, 18)
    assert OBSERVATION.token_range == (32_000, 33_024)
    assert vocabulary.padded_size % 128 == 0 and 0 <= vocabulary.padded_size - vocabulary.size < 128


def test_image_codes_lie_behind_the_separator():
    vocabulary = Vocabulary(image_codes=64)
    assert vocabulary.first_image_code == 33_025 and vocabulary.size == 33_089
    spans = {row.tokens: (row.first, row.stop) for row in vocabulary.table}
    assert spans["image codes"] == (33_025, 33_089) and "image codes" not in {row.tokens for row in Vocabulary().table}


PIXELS = ImageCodec(modality=Image(height=16, width=16))


@pytest.mark.parametrize(
    "codec, value, said",
    [
        (OBSERVATION, np.float32("nan"), "value nan is not finite"),
        (OBSERVATION, np.float32("-inf"), "value -inf is not finite"),
        (OBSERVATION, np.str_("3"), "real numbers, got dtype"),
        (OBSERVATION, np.complex64(1j), "real numbers, got dtype complex64"),
        (
            ContinuousCodec(modality=Continuous(shape=(2, 2)), companded=True),
            np.array([[0, 1], [np.inf, 0]]),
            r"value inf at element \(1, 0\) is not finite",
        ),
        (ContinuousCodec(modality=Continuous(shape=(3,)), companded=True), np.zeros(4), r"shape \(3,\), .* \(4,\)"),
        (ContinuousCodec(modality=Continuous(shape=(3,)), companded=True), [[1.0], [1.0, 2.0]], "not an array"),
        (DiscreteCodec(modality=Discrete(n=4)), np.int32(4), r"value 4 is outside \[0, 4\)"),
        (DiscreteCodec(modality=Discrete(n=4)), np.int32(-1), r"value -1 is outside \[0, 4\)"),
        (DiscreteCodec(modality=Discrete(n=4)), np.uint64(2**64 - 1), "value 18446744073709551615 is outside"),
        (DiscreteCodec(modality=Discrete(n=4)), np.float32(1), "integers, got dtype float32"),
        (DiscreteCodec(modality=Discrete(n=4, shape=(2,))), np.int32(1), r"shape \(2,\), .* \(\)"),
        (PIXELS, np.zeros((16, 16, 3)), "uint8 .* got float64"),
        (PIXELS, np.zeros((16, 32, 3), np.uint8), r"got uint8 of \(16, 32, 3\)"),
        (TextCodec(), b"bytes", "text must be str, got bytes b'bytes'"),
        (TextCodec(), "a\u2581b", r"has no exact pieces: '▁' at 1"),
        (TextCodec(), "a\ud800", r"is not Unicode \(surrogates not allowed at 1\)"),
    ],
)
def test_what_has_no_token_is_an_error_that_names_the_value(codec, value, said):
    with pytest.raises(TokenizationError, match=said):
        codec.encode(value)


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"modality": Continuous(shape=(2,)), "companded": False}, "finite limits"),
        ({"modality": Continuous(shape=(), low=1.0, high=1.0), "companded": False}, "low < high"),
        ({"modality": Continuous(shape=(), low=0.0, high=1e39), "companded": False}, "as float32"),
        ({"modality": Continuous(shape=()), "companded": True, "bins": 1}, r"bins must be in \[2, 65536\], got 1"),
        ({"modality": Continuous(shape=()), "companded": True, "mu": 0.0}, "must be positive"),
        ({"modality": Continuous(shape=()), "companded": True, "m": 1e39}, "as float32"),
        ({"modality": Continuous(shape=()), "companded": True, "mu": float("nan")}, "must be positive"),
    ],
)
def test_settings_that_give_no_inverse_are_refused(fields, said):
    with pytest.raises(TokenizationError, match=said):
        ContinuousCodec(**fields)


def test_ids_of_another_kind_do_not_decode():
    with pytest.raises(TokenizationError, match="not all continuous ids"):
        OBSERVATION.decode(np.array([33_024]))
    with pytest.raises(TokenizationError, match=r"not all of a discrete value, \[0, 4\)"):
        DiscreteCodec(modality=Discrete(n=4)).decode(np.array([4]))
    with pytest.raises(TokenizationError, match="id 32000 is not that of a text piece"):
        TextCodec().decode(np.array([32_000, 2]))


def test_a_missing_text_model_is_named_whoever_needs_it(monkeypatch, tmp_path):
    monkeypatch.setattr(text_codec, "TOKENIZER_MODEL", tmp_path / "none")
    for needs in (text_codec.text_model_fingerprint, text_codec._sentencepiece):
        uncached = needs.__wrapped__
        with pytest.raises(
            TokenizationError, match=f"no SentencePiece model at {tmp_path}/none .*; restore third_party"
        ):
            uncached()
