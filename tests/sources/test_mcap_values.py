"""MCAP images and numbers: encodings, decoders, values and times that are refused."""

import dataclasses
import io
from types import SimpleNamespace as Message

import numpy as np
import PIL.Image
import pytest

from gato_jax.episodes import Continuous, Image
from gato_jax.sources.mcap.reader import open_mcap
from gato_jax.sources.mcap.ros_messages import get_field_value
from gato_jax.sources.reader import EpisodeRejected
from tests.sources.made_mcap import (
    FIELDS,
    NO_HEADER,
    arm_messages,
    command,
    frame,
    image,
    joints,
    pose,
    write_mcap,
)
from tests.sources.test_mcap import reason_at_reading


def replaced(topic: str, number: int, one) -> list:
    """Return the messages of `arm_messages` with message `number` of a topic replaced."""
    said = arm_messages()
    place = [place for place, (name, *_) in enumerate(said) if name == topic][number]
    said[place] = (topic, said[place][1], one)
    return said


@pytest.mark.parametrize("encoding", ["rgb8", "bgr8", "mono8"])
def test_encodings_of_images(tmp_path, encoding):
    pixels = np.random.default_rng(0).integers(0, 255, (6, 8, 1 if encoding == "mono8" else 3), dtype=np.uint8)
    said = [("/c", 100 * k, command(k, 0)) for k in range(3)] + [("/i", 1, image(pixels, encoding))]
    write_mcap(tmp_path / "a.mcap", said)
    modality = Image(height=6, width=8, channels=pixels.shape[2])
    fields = dataclasses.replace(
        FIELDS, observation={"i": ("/i", modality)}, action={"c": ("/c", Continuous(shape=(2,), low=-1.0, high=9.0))},
        success=None, recorded_sizes={},
    )  # fmt: skip
    np.testing.assert_array_equal(open_mcap(tmp_path, fields=fields)[0].observation["i"][0], pixels)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (replaced("/command", 4, command(float("nan"), 0.0, 0.0)), r"action 'arm' .* is nan at step 4"),
        (
            replaced("/command", 4, command(1.0)),
            r"field '/command' has 1 elements in message 4 of topic '/command', expected 3",
        ),
        (replaced("/joint_states", 11, joints([0, 1, 2], "bac")), r"has joints \['b', 'a', 'c'\], expected"),
        (replaced("/joint_states", 11, joints([0, 1], "ab")), r"has joints \['a', 'b'\], expected"),
        (replaced("/front/image_raw", 2, image(np.zeros((8, 6, 3), np.uint8))), "8 high and 6 wide, expected 6 and 8"),
        (
            replaced("/front/image_raw", 2, image(np.zeros((6, 8, 3), np.uint8), "rgb16")),
            "encoding 'rgb16', expected one",
        ),
        (replaced("/tool", 3, pose(0, 0, float("inf"), 0, 0, 0, 1)), "observation 'tool' .* is inf at step 3"),
    ],
)
def test_values_that_are_refused(tmp_path, said, reason):
    write_mcap(tmp_path / "a.mcap", said)
    with pytest.raises(EpisodeRejected, match=reason):
        open_mcap(tmp_path, fields=FIELDS)[0]


def test_an_image_that_contradicts_itself(tmp_path):
    kind, message = image(frame(2))
    message.data = message.data[:-1]
    write_mcap(tmp_path / "a.mcap", replaced("/front/image_raw", 2, (kind, message)))
    assert "message 2 of topic '/front/image_raw' holds an image of 173 bytes" in reason_at_reading(tmp_path)


def test_an_image_whose_definition_lacks_fields():
    kind = type("Image", (Message,), {"__slots__": ["data"], "_type": "sensor_msgs/Image"})
    with pytest.raises(KeyError, match="sensor_msgs/Image is defined without encoding, height, is_bigendian, step"):
        get_field_value(kind(data=b""), "")


def test_a_compressed_image_that_is_damaged(tmp_path):
    broken = Message(header=NO_HEADER, format="png", data=b"\x89PNG no more")
    write_mcap(tmp_path / "a.mcap", replaced("/wrist/compressed", 5, ("sensor_msgs/msg/CompressedImage", broken)))
    assert "'wrist' (field '/wrist/compressed') at step 5 cannot be decoded" in reason_at_reading(tmp_path)


def read_camera(tmp_path, path: str, channels: int, message) -> np.ndarray:
    """Return the images of a recording of three commands and one image, read by a path."""
    said = [("/c", 100 * k, command(k, 0)) for k in range(3)] + [("/i", 1, message)]
    write_mcap(tmp_path / "a.mcap", said)
    fields = dataclasses.replace(
        FIELDS, observation={"i": (path, Image(height=6, width=8, channels=channels))}, success=None, recorded_sizes={},
        action={"c": ("/c", Continuous(shape=(2,), low=-1.0, high=9.0))},
    )  # fmt: skip
    return open_mcap(tmp_path, fields=fields)[0].observation["i"][0]


RGBA = np.random.default_rng(1).integers(0, 255, (6, 8, 4), np.uint8)


MILLIMETRES = np.random.default_rng(2).integers(300, 5000, (6, 8, 1), np.uint16)


def expected_depth(values, near, far):
    return np.rint(255 * np.clip((values.astype(float) - near) / (far - near), 0, 1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("encoding", "recorded", "path", "expected"),
    [
        ("rgba8", RGBA, "drop_alpha(/i)", RGBA[..., :3]),
        ("bgra8", RGBA[..., [2, 1, 0, 3]], "drop_alpha(/i)", RGBA[..., :3]),
        ("bgra8", RGBA[..., [2, 1, 0, 3]], "drop_alpha(bgr_to_rgb(/i))", RGBA[..., :3]),
        ("rgba8", RGBA, "/i", RGBA),
        ("8UC3", RGBA[..., [2, 1, 0]], "bgr_to_rgb(/i)", RGBA[..., :3]),
        ("8UC3", RGBA[..., :3], "rgb(/i)", RGBA[..., :3]),
        ("8UC1", RGBA[..., :1], "grey_to_rgb(/i)", np.repeat(RGBA[..., :1], 3, 2)),
        ("mono16", MILLIMETRES, "depth(/i, 300, 4000)", expected_depth(MILLIMETRES, 300, 4000)),
        ("16UC1", MILLIMETRES, "scale(/i, 0.05)", np.rint(MILLIMETRES * 0.05).astype(np.uint8)),
        ("32FC1", MILLIMETRES / np.float32(1000), "depth(/i, 0.3, 4)", expected_depth(MILLIMETRES, 300, 4000)),
    ],
)
def test_encodings_by_decoder(tmp_path, encoding, recorded, path, expected):
    kind, message = image(RGBA[..., :3])
    recorded = np.ascontiguousarray(recorded)
    message.encoding, message.step = encoding, recorded[0].nbytes
    message.data = recorded.tobytes()
    read = read_camera(tmp_path, path, expected.shape[2], (kind, message))
    assert np.abs(read.astype(int) - expected).max() <= (encoding == "32FC1")
    if recorded.itemsize == 2:
        message.is_bigendian, message.data = 1, recorded.byteswap().tobytes()
        np.testing.assert_array_equal(read_camera(tmp_path, path, expected.shape[2], (kind, message)), expected)


@pytest.mark.parametrize(
    ("encoding", "recorded", "reason"),
    [
        (
            "8UC3",
            RGBA[..., :3],
            r"does not tell the order of its colours. Name the field as bgr_to_rgb\(TOPIC\) or rgb",
        ),
        ("bgra8", RGBA, r"expected uint8 of shape \(height, width, 3\). Name the field as drop_alpha\(PATH\)"),
        ("mono16", MILLIMETRES, r"is uint16 of shape \(6, 8, 1\), .*grey_to_rgb\(depth\(PATH, NEAR, FAR\)\)"),
    ],
)
def test_encodings_that_need_a_decoder_are_refused(tmp_path, encoding, recorded, reason):
    kind, message = image(RGBA[..., :3])
    recorded = np.ascontiguousarray(recorded)
    message.encoding, message.step, message.data = encoding, recorded[0].nbytes, recorded.tobytes()
    with pytest.raises(EpisodeRejected, match=reason):
        read_camera(tmp_path, "/i", 3, (kind, message))


def test_a_compressed_depth_image(tmp_path):
    file = io.BytesIO()
    PIL.Image.fromarray(MILLIMETRES[..., 0]).save(file, "PNG")
    message = Message(header=NO_HEADER, format="16UC1; compressedDepth png", data=bytes(12) + file.getvalue())
    said = ("sensor_msgs/msg/CompressedImage", message)
    read = read_camera(tmp_path, "depth(/i, 300, 4000)", 1, said)
    np.testing.assert_array_equal(read, expected_depth(MILLIMETRES, 300, 4000))
    with pytest.raises(EpisodeRejected, match=r"is uint16 of shape .*depth\(PATH, NEAR, FAR\)"):
        read_camera(tmp_path, "/i", 1, said)
    message.format = "32FC1; compressedDepth png"
    with pytest.raises(EpisodeRejected, match="format '32FC1; compressedDepth png', expected '16UC1"):
        read_camera(tmp_path, "depth(/i, 300, 4000)", 1, said)


def test_times_that_float32_cannot_tell_apart(tmp_path):
    said = [
        (topic, t, joints([1.7672256e9 + t / 1000, 1, 2]) if topic == "/joint_states" else one)
        for topic, t, one in arm_messages()
    ]
    write_mcap(tmp_path / "a.mcap", said)

    def opened(path):
        observation = {"sent": (path, Continuous(shape=(3,)))}
        return open_mcap(tmp_path, fields=dataclasses.replace(FIELDS, observation=observation, recorded_sizes={}))[0]

    with pytest.raises(
        EpisodeRejected, match=r"different numbers near 1767225600.* only 1 as float32.*relative\(PATH\)"
    ):
        opened("/joint_states:position")
    sent = opened("scale(relative(/joint_states:position), 1000)").observation["sent"]
    np.testing.assert_allclose(sent[:, 0], 100 * np.arange(len(sent)), atol=0.01)
