"""Writer of MCAP recordings of an arm: joints at 50 Hz, cameras and commands at 10 Hz, one instruction."""

import io
from pathlib import Path
from types import SimpleNamespace as Message

import numpy as np
import PIL.Image
from mcap.writer import CompressionType
from mcap_ros2.writer import Writer

from gato_jax.episodes import Continuous, Image, Provenance, Text
from gato_jax.sources.fields import Fields

START = 1_767_225_600 * 10**9  # 2026-01-01
FIELDS = Fields(
    suite="lab",
    task="stack",
    observation={
        "joints": ("/joint_states:position", Continuous(shape=(3,))),
        "tool": ("/tool:pose", Continuous(shape=(7,))),
        "front": ("/front/image_raw", Image(height=6, width=8)),
        "wrist": ("/wrist/compressed", Image(height=6, width=8)),
        "instruction": ("/instruction", Text()),
    },
    action={"arm": ("/command[0:2]", Continuous(shape=(2,), low=-9.0, high=99.0))},
    success="/success",
    control_rate_hz=10.0,
    recorded_sizes={"front": (6, 8)},
    provenance=Provenance(source="our laboratory", licence="CC-BY-4.0", kind="real", equipment="an arm"),
)

_STRING, _HEADER, _POINT = (
    "string data",
    "builtin_interfaces/Time stamp\nstring frame_id",
    "float64 x\nfloat64 y\nfloat64 z",
)
_DEFINITIONS = {
    "sensor_msgs/msg/JointState": "std_msgs/Header header\nstring[] name\nfloat64[] position\nfloat64[] velocity",
    "geometry_msgs/msg/PoseStamped": "std_msgs/Header header\ngeometry_msgs/Pose pose",
    "sensor_msgs/msg/Image": "std_msgs/Header header\nuint32 height\nuint32 width\nstring encoding\n"
    "uint8 is_bigendian\nuint32 step\nuint8[] data",
    "sensor_msgs/msg/CompressedImage": "std_msgs/Header header\nstring format\nuint8[] data",
    "std_msgs/msg/Float64MultiArray": "std_msgs/MultiArrayLayout layout\nfloat64[] data",
    "std_msgs/msg/String": _STRING,
    "std_msgs/msg/Bool": "bool data",
}
_NESTED = {
    "std_msgs/Header": _HEADER,
    "geometry_msgs/Pose": "geometry_msgs/Point position\ngeometry_msgs/Quaternion orientation",
    "geometry_msgs/Point": _POINT,
    "geometry_msgs/Quaternion": f"{_POINT}\nfloat64 w",
    "std_msgs/MultiArrayLayout": "std_msgs/MultiArrayDimension[] dim\nuint32 data_offset",
    "std_msgs/MultiArrayDimension": "string label\nuint32 size\nuint32 stride",
}
NO_HEADER = Message(stamp=Message(sec=0, nanosec=0), frame_id="")


def full_definition(kind: str) -> str:
    """Return the definition of a message with those of its nested messages, as rosbag2 writes it."""
    rest = [f"{'=' * 80}\nMSG: {name}\n{text}" for name, text in _NESTED.items()]
    return "\n".join([_DEFINITIONS[kind], *rest])


def joints(position, name=("a", "b", "c")) -> tuple:
    return "sensor_msgs/msg/JointState", Message(
        header=NO_HEADER, name=list(name), position=list(position), velocity=[0.0] * len(position)
    )


def pose(*numbers) -> tuple:
    point = Message(**dict(zip("xyz", numbers[:3], strict=True)))
    turn = Message(**dict(zip("xyzw", numbers[3:], strict=True)))
    return "geometry_msgs/msg/PoseStamped", Message(header=NO_HEADER, pose=Message(position=point, orientation=turn))


def image(pixels: np.ndarray, encoding: str = "rgb8", padding: int = 5) -> tuple:
    """Return type and message of an image with `padding` bytes after each row."""
    height, width = pixels.shape[:2]
    order = pixels[..., ::-1] if encoding == "bgr8" else pixels
    rows = np.pad(order.reshape(height, -1), ((0, 0), (0, padding)), constant_values=255)
    return "sensor_msgs/msg/Image", Message(
        header=NO_HEADER, height=height, width=width, encoding=encoding, is_bigendian=0, step=rows.shape[1],
        data=rows.tobytes(),
    )  # fmt: skip


def compressed(pixels: np.ndarray) -> tuple:
    file = io.BytesIO()
    PIL.Image.fromarray(pixels).save(file, "PNG")
    return "sensor_msgs/msg/CompressedImage", Message(header=NO_HEADER, format="png", data=file.getvalue())


def command(*numbers) -> tuple:
    layout = Message(dim=[], data_offset=0)
    return "std_msgs/msg/Float64MultiArray", Message(layout=layout, data=list(numbers))


def frame(number: int) -> np.ndarray:
    return np.full((6, 8, 3), (number, 2 * number, 200), np.uint8)


def arm_messages(steps: int = 12) -> list[tuple[str, int, tuple]]:
    """Return (topic, milliseconds, (type, message)) of a recording.

    Joints hold their time in seconds; frames and commands hold their number.
    """
    said = [("/instruction", 5, ("std_msgs/msg/String", Message(data="stack the blocks")))]
    said += [("/joint_states", t, joints([t / 1000, 1.0, 2.0])) for t in range(0, steps * 100, 20)]
    for number in range(steps):
        at = 100 * number
        said += [
            ("/tool", at + 3, pose(number, 0, 0, 0, 0, 0, 1)),
            ("/front/image_raw", at + 10, image(frame(number))),
            ("/wrist/compressed", at + 10, compressed(frame(number)[:, ::-1])),
            ("/command", at + 30, command(number, -1.0, 7.0)),
        ]
    said.append(("/success", steps * 100, ("std_msgs/msg/Bool", Message(data=True))))
    return sorted(said, key=lambda one: one[1])


def write_mcap(
    file: Path,
    messages: list,
    *,
    compression=CompressionType.ZSTD,
    metadata=None,
    start: int = START,
    chunk_size: int = 4096,
) -> Path:
    """Write messages to a file in the given order."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with file.open("wb") as stream, Writer(stream, chunk_size=chunk_size, compression=compression) as writer:
        schemas = {kind: writer.register_msgdef(kind, full_definition(kind)) for kind in _DEFINITIONS}
        for topic, milliseconds, (kind, message) in messages:
            writer.write_message(topic, schemas[kind], message, log_time=start + round(milliseconds * 10**6))
        for name, record in (metadata or {}).items():
            writer.add_metadata(name, record)
    return file
