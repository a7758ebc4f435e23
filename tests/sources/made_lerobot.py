"""Datasets written by LeRobot, and functions that damage them."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

GOLDENS = Path(__file__).parent / "lerobot_goldens"
NAMES = ("v2_1_image", "v2_1_video", "v3_0_image", "v3_0_video")


def unpack(name: str, folder: Path, goldens: Path = GOLDENS) -> Path:
    """Unpack the dataset `name` into a folder of its own and return the folder."""
    shutil.unpack_archive(goldens / f"{name}.zip", folder / name)
    return folder / name


def data_file(root: Path, episode: int) -> Path:
    """Return the Parquet file of an episode."""
    own = root / f"data/chunk-000/episode_{episode:06d}.parquet"
    return own if own.exists() else root / "data/chunk-000/file-000.parquet"


def video_file(root: Path, camera: str, episode: int) -> Path:
    """Return the video file of an episode."""
    own = root / f"videos/chunk-000/{camera}/episode_{episode:06d}.mp4"
    return own if own.exists() else root / f"videos/{camera}/chunk-000/file-000.mp4"


def rewrite(file: Path, change: Callable[[pa.Table], pa.Table]):
    """Change a Parquet file and write it in one row group."""
    pq.write_table(change(pq.read_table(file)), file)


def with_column(name: str, change: Callable[[list], list], kind: pa.DataType | None = None):
    """Return a function that replaces the values of one column of a table."""

    def changed(table: pa.Table) -> pa.Table:
        values = pa.array(change(table[name].to_pylist()), kind or table.schema.field(name).type)
        return table.set_column(table.column_names.index(name), name, values)

    return changed


def change_info(root: Path, change: Callable[[dict], object]):
    """Change `meta/info.json`."""
    file = root / "meta/info.json"
    info = json.loads(file.read_text())
    change(info)
    file.write_text(json.dumps(info))
