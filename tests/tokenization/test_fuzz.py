"""Fuzz tests: every input becomes exactly its tokens, or a TokenizationError that names value and step."""

import re
import unicodedata
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec, Text
from gato_jax.tokenization import Layout, TextCodec, Tokenization, TokenizationError, decode
from tests.tokenization.formulas import possible_bins
from tests.tokenization.made_tasks import episode_of

pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module")

MODALITIES = {
    "continuous": Continuous(shape=(2,)),
    "limited": Continuous(shape=(2,), low=(-1.0, 0.0), high=(1.0, 1e-3)),
    "discrete": Discrete(n=5, shape=(2,)),
    "switch": Discrete(n=1024),
    "image": Image(height=16, width=16),
    "odd image": Image(height=20, width=9, fit="pad"),
    "text": Text(),
}


def layout_of(key: str) -> Layout:
    """Return a layout whose action is under test if the modality has limits, and its observation otherwise."""
    fixed = {"go": Discrete(n=2)}
    sides = ({"see": Discrete(n=2)}, {key: MODALITIES[key]}) if key == "limited" else ({key: MODALITIES[key]}, fixed)
    return Layout(TaskSpec(suite="fuzz", task=key, observation=sides[0], action=sides[1]), Tokenization())


LAYOUTS = {key: layout_of(key) for key in MODALITIES}
SIDES = {key: "action" if key == "limited" else "observation" for key in MODALITIES}


def episode(key: str, values: np.ndarray):
    """Return an episode with the values under test, and zeros for the other side."""
    zeros = np.zeros(len(values), np.int64)
    given, other = {key: values}, {"see" if key == "limited" else "go": zeros}
    sides = (other, given) if key == "limited" else (given, other)
    return episode_of(LAYOUTS[key].spec, *sides)


FLOATS = ("f2", "f4", "f8", "g")
WHOLE = ("?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
OTHER = ("c8", "c16", "M8[s]", "m8[s]", "S3", "U3", "O", "V4")
SPECIAL = (
    0.0, -0.0, 1.0, -1.0, 256.0, -256.0, 1e-45, -1e-45, 5e-324, 1.1754944e-38, 3.4028235e38, -3.4028235e38,
    1.7976931348623157e308, float("inf"), float("-inf"), float("nan"), 4.0, 5.0, 1023.0, 1024.0,
)  # fmt: skip
SHAPES = ((), (1,), (2,), (3,), (0,), (2, 2), (1, 2), (2, 1))


@st.composite
def arrays(draw, key: str) -> np.ndarray:
    """Draw an array (T, ...) of any dtype with random bits, three times out of four of the right shape."""
    steps = draw(st.integers(1, 3))
    right = MODALITIES[key].shape
    shape = (steps, *(draw(st.sampled_from(SHAPES)) if draw(st.integers(0, 3)) == 0 else right))
    dtype = np.dtype(draw(st.sampled_from((*FLOATS, *FLOATS, *WHOLE, *WHOLE, *OTHER))))
    count = int(np.prod(shape))
    if dtype.kind == "O":
        values = np.empty(shape, object)
        values.fill(draw(st.sampled_from([None, 1, 1.5, "x", (1, 2), 2**70])))
        return values
    if dtype.char == "g":  # not any 16 bytes are a long double
        exponent = draw(st.sampled_from([0, -4900, 4000]))
        values = np.frombuffer(draw(st.binary(min_size=4 * count, max_size=4 * count)), "f4")
        with np.errstate(all="ignore"):
            return (values.astype("g") * np.longdouble(10) ** exponent).reshape(shape)
    if dtype.kind in "?b":
        return np.array(draw(st.lists(st.booleans(), min_size=count, max_size=count)), bool).reshape(shape)
    size = count * dtype.itemsize
    if dtype.kind == "U":
        return np.full(shape, draw(st.sampled_from(["", "1", "nan"])), dtype)
    values = np.frombuffer(draw(st.binary(min_size=size, max_size=size)), dtype).reshape(shape).copy()
    if count and dtype.kind in "fiu" and draw(st.booleans()):
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a special value that the dtype does not have becomes any other
            small = np.array(draw(st.sampled_from(SPECIAL))).astype(dtype)
        if dtype.kind in "iu":
            values = np.abs(values % 5).astype(dtype)
        elif draw(st.booleans()):
            values[...] = 0.5
        values.reshape(-1)[draw(st.integers(0, count - 1))] = small
    return values


def encode(key: str, values: np.ndarray):
    """Return the tokens or the message of the TokenizationError; any other error and any warning fails the test."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            return LAYOUTS[key].encode(episode(key, values))
        except TokenizationError as error:
            return str(error)


def check_refusal(found, key: str, *, step: int | None = None, said: str = ""):
    """Check the context of a message; without `step`, the message may name any step or none."""
    at = r"(, step \d)?" if step is None else f", step {step}"
    where = f"^fuzz/{key}{at}, {SIDES[key]} {key!r}: "
    assert isinstance(found, str) and re.match(where, found) and said in found, (found, where, said)


def first(bad: np.ndarray) -> tuple[int, str]:
    """Return the step of the first bad value, and the place of its element as in the message."""
    step, *element = (int(i) for i in np.argwhere(bad)[0])
    return step, f" at element {tuple(element)}" if element else ""


def ids_of(found, key: str, values: np.ndarray) -> np.ndarray:
    """Return the ids of the key under test, one row for each step."""
    rows = found.token_ids.reshape(len(values), -1)
    width = int(np.prod(values.shape[1:]))
    return rows[:, -width:] if key == "limited" else rows[:, :width]


def check_numbers(key: str, values: np.ndarray):
    modality, found = MODALITIES[key], encode(key, values)
    kinds = "biuf" if isinstance(modality, Continuous) else "biu"
    if values.dtype.kind not in kinds or values.shape[1:] != modality.shape:
        check_refusal(found, key)
        return
    numbers = np.array([float(x) if kinds == "biuf" else int(x) for x in values.reshape(-1)], object)
    if isinstance(modality, Continuous):
        bad = np.array([not np.isfinite(x) for x in numbers], bool).reshape(values.shape)
    else:
        bad = np.array([not 0 <= x < modality.n for x in numbers], bool).reshape(values.shape)
    if bad.any():
        step, element = first(bad)
        check_refusal(found, key, step=step, said=f"value {values[bad][0]}{element} is ")
        return
    assert not isinstance(found, str), found
    ids = ids_of(found, key, values).reshape(-1).tolist()
    if isinstance(modality, Discrete):
        assert ids == numbers.tolist()
        assert decode(LAYOUTS[key], found).observation[key].tolist() == values.astype(object).tolist()
        return
    columns = LAYOUTS[key].action_columns if key == "limited" else LAYOUTS[key].observation_columns
    for position, (token, x) in enumerate(zip(ids, numbers, strict=True)):
        assert token - 32_000 in possible_bins(columns[0].codec, x, position % 2), (x, token)


@st.composite
def pictures(draw, key: str) -> np.ndarray:
    height, width, channels = MODALITIES[key].shape
    shape = (height + draw(st.sampled_from([0, 0, 0, 1])), width, draw(st.sampled_from([3, 3, 3, 1, 4])))
    shape = shape[: draw(st.sampled_from([3, 3, 3, 2]))]
    dtype = draw(st.sampled_from(["u1", "u1", "u1", "i8", "f4", "?"]))
    steps, value = draw(st.integers(1, 3)), draw(st.integers(0, 2**32 - 1))
    return np.random.default_rng(value).integers(2 if dtype == "?" else 256, size=(steps, *shape)).astype(dtype)


def check_pictures(key: str, images: np.ndarray):
    found = encode(key, images)
    if images.dtype != np.uint8 or images.shape[1:] != MODALITIES[key].shape:
        check_refusal(found, key)
        return
    back = decode(LAYOUTS[key], found).observation[key]
    height, width = images.shape[1:3]
    np.testing.assert_array_equal(back[:, :height, :width], images)
    assert not back[:, height:].any() and not back[:, :, width:].any()


SIGNS = "\u2581\x00\ud800\udfff\u0301\u200d🍁👩‍🚀\ufe0f\u202e\uffff\U0010ffff\r\n\t ａﷺ\u00ad"
texts = st.one_of(
    st.text(max_size=8),  # any character but lone surrogates
    st.text(st.one_of(st.sampled_from(SIGNS), st.characters()), max_size=6),
    st.text(st.characters(min_codepoint=0x10000), max_size=4),
    st.text(st.integers(0, 0x10FFFF).map(chr), max_size=4),
    st.text(st.one_of(st.characters(categories=["Cs", "Mn"]), st.sampled_from("ab ")), max_size=4),
)
no_texts = st.one_of(
    st.none(), st.integers(), st.floats(), st.binary(max_size=4), st.just(("a",)), st.just(np.array("a"))
)


def check_texts(said: list):
    values = np.empty(len(said), object)
    values[:] = said
    found = encode("text", values)
    for step, text in enumerate(said):
        if not isinstance(text, str):
            check_refusal(found, "text", step=step, said=f"text must be str, got {type(text).__name__} {text!r:.60}")
            return
        bad = [at for at, sign in enumerate(text) if sign == "\u2581" or unicodedata.category(sign) == "Cs"]
        if bad:
            check_refusal(found, "text", step=step, said=f"text {text!r:.60} ")
            assert any(f" at {at}" in found for at in bad)
            return
    assert not isinstance(found, str), found
    assert decode(LAYOUTS["text"], found).observation["text"].tolist() == said


class Unwilling:
    """Object that refuses to become an array, like one on another device."""

    def __array__(self, *args, **kwargs):
        raise TypeError("copy me to the host first")


numbers = st.one_of(st.floats(width=32), st.integers(-(2**70), 2**70), st.booleans())
things = st.one_of(
    st.sampled_from([None, {}, {"a": 1}, {1, 2}, b"ab", "ab", 1j, object, range(2), Unwilling(), slice(1), ...]),
    st.lists(st.one_of(numbers, st.none(), st.text(max_size=1), st.lists(numbers, max_size=2)), max_size=3),
)


def check_thing(key: str, thing):
    """Check a single observation that need not be an array."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = LAYOUTS[key].encode_observation({key: thing})
        except TokenizationError as error:
            check_refusal(str(error), key)
            assert key != "text" or not isinstance(thing, str) or "\u2581" in thing
            if key == "continuous" and isinstance(thing, list) and len(thing) == 2:
                assert not all(isinstance(x, float) and np.isfinite(x) for x in thing)
            return
    if key == "text":
        assert TextCodec().decode(found.token_ids[:-1]) == thing
        return
    assert all(isinstance(x, (bool, int, float)) for x in thing) and len(thing) == 2
    for element, (token, x) in enumerate(zip(found.token_ids.tolist(), thing, strict=False)):
        expected = {x} if key == "discrete" else {32_000 + b for b in possible_bins(codec_of(key), float(x), element)}
        assert token in expected


def codec_of(key: str):
    return LAYOUTS[key].observation_columns[0].codec


cases = st.one_of(
    *(st.tuples(st.just(check_numbers), st.just(key), arrays(key)) for key in ("continuous", "limited")),
    *(st.tuples(st.just(check_numbers), st.just(key), arrays(key)) for key in ("discrete", "switch")),
    *(st.tuples(st.just(check_pictures), st.just(key), pictures(key)) for key in ("image", "odd image")),
    st.tuples(st.just(check_texts), st.lists(texts, min_size=1, max_size=3)),
    st.tuples(st.just(check_texts), st.lists(st.one_of(texts, no_texts), min_size=1, max_size=3)),
    *(st.tuples(st.just(check_thing), st.just(key), things) for key in ("continuous", "discrete", "image", "text")),
)  # fmt: skip


@settings(max_examples=300, deadline=None, suppress_health_check=list(HealthCheck))
@given(cases)
def test_anything_is_exact_or_refused(case):
    check, *arguments = case
    check(*arguments)


@pytest.mark.slow
@pytest.mark.timeout(1800)
@settings(max_examples=100_000, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(cases)
def test_anything_is_exact_or_refused_a_hundred_thousand_times(case):
    check, *arguments = case
    check(*arguments)


@pytest.mark.parametrize("key", ["continuous", "limited"])
def test_every_exponent_and_sign_of_float32_is_exact_or_refused(key):
    """Values have all exponents and signs, with mantissas at both ends and between."""
    exponents, mantissas = np.arange(512, dtype=np.uint32) << 23, np.array([0, 1, 0x2AAAAA, 0x7FFFFF], np.uint32)
    values = (exponents[:, None] | mantissas).reshape(-1).view(np.float32)
    finite = np.isfinite(values)
    check_numbers(key, np.stack([np.full(finite.sum(), 0.5, np.float32), values[finite]], axis=1))
    for value in values[~finite]:
        check_numbers(key, np.array([[0.5, value]], np.float32))


def test_text_of_every_plane_of_unicode_comes_back_or_is_refused():
    """A text has the first, the last and some other characters of each plane, with joiners and combining marks."""
    for plane in range(17):
        points = [plane * 0x10000 + at for at in (1, 0x41, 0x300, 0xD7FF, 0xE000, 0xFEFF, 0xFFFD, 0xFFFF)]
        check_texts([f"a{''.join(map(chr, points))}\u0301\u200db"])


@pytest.mark.parametrize("key", MODALITIES)
def test_an_episode_without_actions_has_no_tokens(key):
    """The episode has one step, with the final observation only."""
    modality = MODALITIES[key]
    value = np.array(["a"], object) if isinstance(modality, Text) else np.zeros((1, *modality.shape), np.uint8)
    other = {"see" if key == "limited" else "go": np.zeros(1, np.int64)}
    sides = (other, {key: value}) if key == "limited" else ({key: value}, other)
    only_final = episode_of(LAYOUTS[key].spec, *sides, final_observation=True)
    tokens = LAYOUTS[key].encode(only_final)
    assert len(tokens) == 0 and LAYOUTS[key].encode_timesteps(only_final) == []
    back = decode(LAYOUTS[key], tokens)
    assert all(len(values) == 0 for values in (*back.observation.values(), *back.action.values()))
