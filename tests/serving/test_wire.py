import pickle
import tracemalloc

import msgpack
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as nps

from gato_jax.serving import WireError, pack, unpack
from gato_jax.serving.images import decode_image

DTYPES = st.sampled_from(["?", "|b1", "u1", "<i2", ">i4", "<i8", "<f2", ">f4", "<f8"])
ARRAYS = DTYPES.flatmap(lambda name: nps.arrays(name, nps.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4)))


@given(array=ARRAYS, byte_keys=st.booleans())
@settings(max_examples=40, deadline=None)
def test_an_array_comes_back_with_its_shape_type_and_bits(array, byte_keys):
    back = unpack(pack({"a": array, "nested": {"b": [array]}}, byte_keys=byte_keys))
    for found in (back["a"], back["nested"]["b"][0]):
        assert found.shape == array.shape and found.dtype == array.dtype.newbyteorder("=")
        assert found.astype(array.dtype).tobytes() == array.tobytes()


@given(number=st.sampled_from([np.float32(0.1), np.int64(-3), np.uint8(255), np.True_, np.float64("nan")]))
def test_numpy_numbers_come_back(number):
    back = unpack(pack({"a": number}, byte_keys=True))["a"]
    assert np.asarray(back).dtype == number.dtype and np.asarray(back).tobytes() == number.tobytes()
    assert unpack(pack({"a": number}, byte_keys=False))["a"] == number or np.isnan(number)


def array(**changes) -> bytes:
    fields = {"__ndarray__": True, "data": bytes(8), "dtype": "<f4", "shape": [2]}
    return msgpack.packb({"a": fields | changes})


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (array(dtype="|O"), "dtype"),
        (array(dtype="O", data=pickle.dumps([1])), "dtype"),
        (array(dtype="<U2"), "dtype"),
        (array(dtype="f4,f4"), "dtype"),
        (array(dtype=["f4"]), "dtype"),
        (array(shape=[2**31 - 1, 2**31 - 1, 2**31 - 1]), "expected .* bytes"),
        (array(shape=[-1]), "shape"),
        (array(shape=[True, 2]), "shape"),
        (array(shape="2"), "shape"),
        (array(shape=[1] * 9), "shape"),
        (array(shape=[3]), "8 bytes, expected 12 bytes"),
        (array(data="12345678"), "expected 8 bytes"),
        (msgpack.packb({"a": {"__npgeneric__": True, "data": "1", "dtype": "<f4"}}), "a number"),
        (msgpack.packb({"a": {"__npgeneric__": True, "data": 300, "dtype": "|u1"}}), "expected one of dtype"),
        (msgpack.packb({"a": {"__ndarray__": True, b"__ndarray__": True}}), "same key"),
        (msgpack.packb({"a": {"__image__": True, "data": b"", "format": "png", "shape": [1, 1, 3]}}), "image"),
        (msgpack.packb([1, 2]), "expected a map"),
        (msgpack.packb({1: 2}), "not one msgpack value"),
        (msgpack.packb({"a": msgpack.ExtType(5, b"x")}), "not one msgpack value"),
        (msgpack.packb({"a": list(range(5000))}), "not one msgpack value"),
        (msgpack.packb({"a": 1}) + b"\x01", "not one msgpack value"),
        (b"\x91" * 5000, "not one msgpack value"),
        (b"", "not one msgpack value"),
        (b"\xc1", "not one msgpack value"),
        (b"\xdf\xff\xff\xff\xff", "not one msgpack value"),
    ],
)
def test_a_message_that_is_not_as_it_says_is_refused(data, word):
    with pytest.raises(WireError, match=word):
        unpack(data)


def test_objects_are_not_written():
    with pytest.raises(WireError, match="dtype object"):
        pack({"a": np.array([None])}, byte_keys=True)
    with pytest.raises(WireError, match="of set"):
        pack({"a": {1}}, byte_keys=True)


def test_lists_within_lists_take_no_more_memory_than_a_small_multiple_of_their_message():
    bomb = b"\xdc\x0f\xff" * 900  # each list claims 4,095 items, the first of which is the next list
    tracemalloc.start()
    with pytest.raises(WireError):
        unpack(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 48e6


@given(data=st.binary(max_size=200))
@settings(max_examples=100, deadline=None)
def test_any_bytes_are_read_or_refused(data):
    try:
        unpack(data, images=decode_image)
    except WireError:
        pass


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_damaged_message_is_read_or_refused(data):
    message = bytearray(pack({"a": np.arange(6.0).reshape(2, 3), "b": "text", "c": {"d": np.int32(4)}}, byte_keys=True))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    try:
        unpack(bytes(message), images=decode_image)
    except WireError:
        pass
