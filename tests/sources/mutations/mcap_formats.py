"""MCAP with ROS 2 messages: written and read by the packages mcap and mcap-ros2-support."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace as Message
from typing import Any

import numpy as np
import PIL.Image
from mcap.reader import make_reader
from mcap.writer import CompressionType
from mcap_ros2.decoder import DecoderFactory

from tests.sources.made_mcap import FIELDS, arm_messages, write_mcap
from tests.sources.mutations.damage import pick_file
from tests.sources.mutations.harness import Format, Row, cached_by_content

_PERIOD = 1e8  # nanoseconds
_TOPICS = (
    "/joint_states",
    "/tool",
    "/front/image_raw",
    "/wrist/compressed",
    "/instruction",
    "/command",
    "/success",
)
_KINDS = (CompressionType.ZSTD, CompressionType.NONE, CompressionType.LZ4)


def _write(folder: Path):
    (folder / "more").mkdir()
    for number, name in enumerate(("a.mcap", "more/b.mcap")):
        said = arm_messages(4 + number)
        write_mcap(folder / name, said, compression=_KINDS[number], chunk_size=(900, 4096)[number])


def _read(folder: Path) -> Iterator[Row | None]:
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    for file in sorted(file for file in found if file.suffix == ".mcap" and file.name[0] != "."):
        try:
            yield _read_file(file)
        except Exception:  # noqa: BLE001  the packages raise errors of many types
            yield None


@cached_by_content
def _read_file(file: Path) -> Row:
    topics: dict[str, list[tuple[int, Any]]] = {}
    with file.open("rb") as stream:
        reader = make_reader(stream, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for _, channel, message, decoded in reader.iter_decoded_messages():
            topics.setdefault(channel.topic, []).append((message.log_time, decoded))
    return select_steps(topics, lambda decoded: decoded)


def select_steps(topics: Mapping[str, Sequence[tuple[int, Any]]], decode: Callable[[Any], Any]) -> Row:
    """Return an episode, by the rule that docs and docstrings state: steps of a tenth of a second.

    Args:
      topics: {topic: (log time in nanoseconds, message)}, in the order of the times.
      decode: returns the decoded form of a message; it is called for those that a step takes.
    """
    steps = _step_times({topic: [time for time, _ in topics[topic]] for topic in _TOPICS})
    latest = {}
    for topic in _TOPICS[:-2]:
        said = [[one for time, one in topics[topic] if time <= step + _PERIOD / 1000][-1] for step in steps]
        latest[topic] = list(map(decode, said))
    said = [next(one for time, one in topics["/command"] if time >= step - _PERIOD / 1000) for step in steps]
    return {
        "observation/joints": [list(one.position) for one in latest["/joint_states"]],
        "observation/tool": [_pose(one.pose) for one in latest["/tool"]],
        "observation/front": [_image(one) for one in latest["/front/image_raw"]],
        "observation/wrist": [np.asarray(PIL.Image.open(io.BytesIO(one.data))) for one in latest["/wrist/compressed"]],
        "observation/instruction": [one.data for one in latest["/instruction"]],
        "action/arm": [list(decode(one).data[:2]) for one in said],
        "success": bool(decode(topics["/success"][-1][1]).data),
    }


def _step_times(times: dict[str, list[int]]) -> list[int]:
    ended = [times[topic][-1] for topic in times if topic not in ("/instruction", "/success")]
    start, end = max(said[0] for topic, said in times.items() if topic != "/success"), min(ended)
    count = int((end - start) / _PERIOD + 1e-3) + 1
    return [min(start + round(number * _PERIOD), end) for number in range(count)]


def _pose(one: Any) -> list[float]:
    return [*(getattr(one.position, axis) for axis in "xyz"), *(getattr(one.orientation, axis) for axis in "xyzw")]


def _image(one: Any) -> np.ndarray:
    rows = np.frombuffer(one.data, np.uint8).reshape(one.height, one.step)
    pixels = rows[:, : 3 * one.width].reshape(one.height, one.width, 3)
    if one.encoding not in ("rgb8", "bgr8"):
        raise ValueError(f"unknown encoding {one.encoding}")
    return pixels if one.encoding == "rgb8" else pixels[..., ::-1]


def change_messages(chance: random.Random) -> tuple[list[tuple[str, int, Any]], str]:
    """Return messages with a topic renamed, missing, of another type, late or out of order, or another value.

    The second value says in words what was changed.
    """
    said = arm_messages(chance.randint(2, 5))
    topic = chance.choice(sorted({topic for topic, _, _ in said}))
    numbers = [number for number, one in enumerate(said) if one[0] == topic]
    number = chance.choice(numbers)
    _, at, (kind, message) = said[number]
    way = chance.choice(("renamed", "missing", "late", "once more", "out of order", "one lacks", "value", "other type"))
    match way:
        case "renamed":
            said = [(f"{one[0]}_2" if one[0] == topic else one[0], *one[1:]) for one in said]
        case "missing":
            said = [one for one in said if one[0] != topic]
        case "late":
            delay = chance.choice((1, 50, 3000, -3000))
            said = [(name, time + delay * (name == topic), one) for name, time, one in said]
            said.sort(key=lambda one: one[1])
        case "once more":
            said.insert(chance.randrange(len(said)), said[number])
        case "out of order":
            chance.shuffle(said)
        case "one lacks":
            said.pop(number)
        case "value":
            said[number] = (topic, at, (kind, _other(message, chance)))
        case "other type":
            said = [(name, time, ("std_msgs/msg/String", Message(data="3")) if name == topic else one)
                    for name, time, one in said]  # fmt: skip
    return said, f"{topic} {way}"


def _write_again(folder: Path, chance: random.Random) -> str:
    """Write a file again with other messages."""
    file = pick_file(folder, chance, ".mcap")
    said, done = change_messages(chance)
    write_mcap(file, said, compression=chance.choice(_KINDS), chunk_size=chance.choice((300, 4096, 1 << 20)))
    return f"{file.relative_to(folder)}: {done}"


def _other(message: Any, chance: random.Random) -> Any:
    """Return a copy of a message in which one field has another value."""
    name = chance.choice([name for name in vars(message) if name not in ("header", "layout")])
    value = getattr(message, name)
    if isinstance(value, Message):
        changed = _other(value, chance)
    elif isinstance(value, (bytes, str)):
        changed = chance.choice((value[:-1], value * 2, value[:0]))
    elif isinstance(value, list):
        changed = chance.choice((value[:-1], value[::-1], [*value, *value[-1:]], []))
    else:
        changed = chance.choice((0, 1, value + 1, 7.5, float("nan"), 2**31))
    return Message(**{**vars(message), name: changed})


FORMATS = {"mcap": Format(write=_write, source="mcap:{}", read=_read, damages=(_write_again,), fields=FIELDS)}
