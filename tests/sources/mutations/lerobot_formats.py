"""LeRobot v2.1 and v3.0: written by LeRobot, and read by pandas and PyAV as its documentation describes them."""

from __future__ import annotations

import contextlib
import functools
import io
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import av
import numpy as np
import pandas as pd
import PIL.Image
import pyarrow as pa

from gato_jax.episodes import Continuous, Image, Provenance, Text
from gato_jax.sources.fields import Fields
from tests.sources.made_lerobot import unpack
from tests.sources.mutations.damage import NotPossible, list_files, pick_file
from tests.sources.mutations.harness import Format, Row, cached_by_content
from tests.sources.mutations.parquet_formats import OF_TABLES, read_groups
from tests.sources.mutations.text_formats import change_json_value

_CAMERAS = {"front": "observation.images.front", "wrist": "observation.images.wrist"}
_FIELDS = Fields(
    suite="lerobot",
    task="push",
    observation={
        "state": ("observation.state", Continuous(shape=(6,))),
        "instruction": ("task", Text()),
        **{key: (name, Image(height=32, width=48)) for key, name in _CAMERAS.items()},
    },
    action={"action": ("action", Continuous(shape=(3,), low=-9.0, high=9.0))},
    provenance=Provenance(source="a laboratory", licence="MIT", kind="real"),
    reward="next.reward",
    success="next.success",
)


def _write(folder: Path, name: str):
    """Unpack a dataset that LeRobot wrote."""
    unpack(name, folder.parent / "unpacked").rename(folder.parent / "moved")
    folder.rmdir()
    (folder.parent / "moved").rename(folder)


def _json_lines(file: Path) -> list[Any]:
    return [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line.strip()]


def _read_tasks(file: Path) -> dict[int, str]:
    """Return the tasks of a file of lines, without damaged lines."""
    tasks = {}
    for line in file.read_text(encoding="utf-8").split("\n"):
        with contextlib.suppress(ValueError, TypeError, KeyError):
            one = json.loads(line)
            tasks[one["task_index"]] = one["task"]
    return tasks


@cached_by_content
def _read_parquet(file: Path) -> Any:
    """Read a table by PyArrow and pandas, without damaged row groups and without the metadata of pandas if damaged."""
    table = pa.concat_tables([group for group in read_groups(file) if group is not None])
    try:
        return table.to_pandas()
    except ValueError:
        return table.replace_schema_metadata(None).to_pandas()


def _read(folder: Path) -> Iterator[Row | None]:
    info = json.loads((folder / "meta/info.json").read_text())
    start, _, stop = info["splits"]["train"].partition(":")
    numbers = range(int(start), int(stop))
    if info["codebase_version"] == "v3.0":
        episodes = pd.concat([_read_parquet(file) for file in sorted((folder / "meta/episodes").glob("*/*.parquet"))])
        table = _read_parquet(folder / "meta/tasks.parquet")
        table = table.reset_index() if len(table.columns) == 1 else table  # the texts are the index of pandas
        [text] = [name for name in table.columns if name != "task_index"]
        tasks = dict(zip(table["task_index"], table[text], strict=True))
        records = episodes.to_dict("records")
    else:
        records = _json_lines(folder / "meta/episodes.jsonl")
        tasks = _read_tasks(folder / "meta/tasks.jsonl")
    for record in records:
        if int(record["episode_index"]) not in numbers:
            continue
        try:
            yield _read_episode(folder, info, record, tasks)
        except Exception:  # noqa: BLE001
            yield None


def _read_episode(folder: Path, info: dict[str, Any], record: dict[str, Any], tasks: dict[int, str]) -> Row:
    """Return one episode: the rows of its number in its data file, and the frames of their times in its videos."""
    number = int(record["episode_index"])
    if info["codebase_version"] == "v3.0":
        place = {"chunk_index": int(record["data/chunk_index"]), "file_index": int(record["data/file_index"])}
    else:
        place = {"episode_index": number, "episode_chunk": number // info["chunks_size"]}
    rows: Any = _read_parquet(folder / info["data_path"].format(**place))
    table: Any = rows[rows["episode_index"] == number]
    if len(table) != int(record["length"]):
        raise ValueError("the metadata promise another length")
    row = {
        "observation/state": np.stack(list(table["observation.state"])),
        "observation/instruction": [tasks[int(index)] for index in table["task_index"]],
        "action/action": np.stack(list(table["action"])),
        "reward": table["next.reward"].to_numpy(),
        "success": bool(table["next.success"].iloc[-1]),
    }
    for key, name in _CAMERAS.items():
        if info["features"][name]["dtype"] != "video":
            files = [PIL.Image.open(io.BytesIO(one["bytes"])) for one in table[name]]
            row[f"observation/{key}"] = [np.asarray(one) for one in files]
            continue
        if info["codebase_version"] == "v3.0":
            place = {end: int(record[f"videos/{name}/{end}"]) for end in ("chunk_index", "file_index")}
        begin = float(record.get(f"videos/{name}/from_timestamp", 0.0))
        file = folder / info["video_path"].format(video_key=name, **place)
        row[f"observation/{key}"] = _frames(file, begin + table["timestamp"].to_numpy(np.float64), 0.5 / info["fps"])
    return row


@cached_by_content
def _decode_video(file: Path) -> list[tuple[float, np.ndarray]]:
    """Return the time in seconds and the pixels of all frames, without those from a damaged one to a key frame."""
    frames, is_damaged = [], False
    with av.open(str(file), metadata_errors="replace") as container:
        for packet in container.demux(video=0):
            try:
                shown = packet.decode()
            except av.FFmpegError:
                is_damaged = True
                container.streams.video[0].codec_context.flush_buffers()
                continue
            is_damaged = is_damaged and not packet.is_keyframe
            frames += [] if is_damaged else [(frame.time, frame.to_ndarray(format="rgb24")) for frame in shown]
    return frames


def _frames(file: Path, times: np.ndarray, tolerance: float) -> list[np.ndarray]:
    """Return the frames of a video that are nearest to some times."""
    frames = _decode_video(file)
    shown = np.array([time for time, _ in frames])
    nearest = [int(np.abs(shown - time).argmin()) for time in times]
    if np.abs(shown[nearest] - times).max() > tolerance:
        raise ValueError("a time has no frame")
    return [frames[number][1] for number in nearest]


def _change_info(folder: Path, chance: random.Random) -> str:
    file = folder / "meta/info.json"
    try:
        changed = change_json_value(json.loads(file.read_text()), chance)
    except (OSError, ValueError):
        raise NotPossible from None
    file.write_text(json.dumps(changed))
    return f"info.json: {changed!r:.40}"


def _change_lines(folder: Path, chance: random.Random) -> str:
    file = pick_file(folder, chance, ".jsonl")
    lines = file.read_text().split("\n")
    number = chance.randrange(len(lines))
    way = chance.choice(("value", "value", "removed", "twice", "last"))
    match way:
        case "value":
            try:
                lines[number] = json.dumps(change_json_value(json.loads(lines[number]), chance))
            except ValueError:
                raise NotPossible from None
        case "removed":
            lines.pop(number)
        case "twice":
            lines.insert(number, lines[number])
        case "last":
            lines.append(lines.pop(number))
    file.write_text("\n".join(lines))
    return f"{file.relative_to(folder)}: line {number}: {way}: {lines[min(number, len(lines) - 1)]:.60}"


def _change_video(folder: Path, chance: random.Random) -> str:
    """Encode a video again: with fewer or more frames, another rate, another size or rotated."""
    videos = list_files(folder, ".mp4")
    if not videos:
        raise NotPossible
    file = chance.choice(videos)
    with av.open(str(file)) as container:
        rate = container.streams.video[0].average_rate or 10
        frames: list[Any] = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    way = chance.choice(("one frame less", "one frame more", "twice as fast", "turned", "as MPEG-4", "in another box"))
    if way == "one frame less":
        frames.pop(chance.randrange(len(frames)))
    elif way == "one frame more":
        frames.insert(chance.randrange(len(frames)), frames[0])
    elif way == "turned":
        frames = [np.ascontiguousarray(frame.swapaxes(0, 1)) for frame in frames]
    content = io.BytesIO()
    with av.open(content, "w", format="matroska" if way == "in another box" else "mp4") as container:
        stream = container.add_stream(
            "mpeg4" if way == "as MPEG-4" else "h264", rate=rate * (1 + (way == "twice as fast"))
        )
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    file.write_bytes(content.getvalue())
    return f"{file.relative_to(folder)}: {way}"


def _format(name: str) -> Format:
    damages: tuple[Callable[[Path, random.Random], str], ...] = (*OF_TABLES, _change_info, _change_info)
    if "v2" in name:
        damages = (*damages, _change_lines, _change_lines)
    if "video" in name:
        damages = (*damages, _change_video)
    return Format(
        write=functools.partial(_write, name=name), source="lerobot:{}", read=_read, damages=damages, fields=_FIELDS
    )


FORMATS = {
    "lerobot_v2_image": _format("v2_1_image"),
    "lerobot_v2_video": _format("v2_1_video"),
    "lerobot_v3_image": _format("v3_0_image"),
    "lerobot_v3_video": _format("v3_0_video"),
}
