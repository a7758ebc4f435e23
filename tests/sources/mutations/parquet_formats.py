"""Parquet of the Hugging Face Hub, with a row for each step or for each episode: written and read by PyArrow."""

from __future__ import annotations

import io
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq

from gato_jax.episodes import Continuous, Discrete, Image, Provenance, Text
from gato_jax.sources.fields import Fields
from tests.sources.made_hdf5 import pictures
from tests.sources.made_images import encode
from tests.sources.mutations.damage import NotPossible, pick_file
from tests.sources.mutations.harness import Format, Row, cached_by_content

PROVENANCE = Provenance(source="a laboratory", licence="MIT", kind="real")
_STEPS = Fields(
    suite="real",
    task="reach",
    observation={
        "image": ("image", Image(height=6, width=8)),
        "said": ("said", Text()),
        "state": ("arm/state", Continuous(shape=(2,))),
    },
    action={"arm": ("action", Continuous(shape=(2,), low=-9.0, high=9.0)), "open": ("open", Discrete(n=3))},
    provenance=PROVENANCE,
    reward="reward",
    success="success",
    timestamps="time",
)
_ROWS = Fields(
    suite="real",
    task="rows",
    observation={"state": ("state", Continuous(shape=(2,))), "said": ("said", Text())},
    action={"arm": ("action", Continuous(shape=(), low=-9.0, high=9.0))},
    provenance=PROVENANCE,
    reward="reward",
)


def _steps(number: int, steps: int) -> dict[str, list]:
    random = np.random.default_rng(number)
    return {
        "episode_index": [number] * steps,
        "frame_index": [*range(steps)],
        "image": [{"bytes": encode(one, "PNG"), "path": None} for one in pictures(steps, 6, 8, number)],
        "said": ["take it"] * steps,
        "arm": [{"state": one.tolist()} for one in random.normal(size=(steps, 2))],
        "action": random.normal(size=(steps, 2)).tolist(),
        "open": random.integers(0, 3, steps).tolist(),
        "reward": random.uniform(size=steps).tolist(),
        "success": [number == 0] * steps,
        "time": [0.1 * step for step in range(steps)],
    }


def _write_steps(folder: Path):
    """Write three files of four episodes; the third episode continues in the second file."""
    parts = [_steps(number, steps) for number, steps in enumerate((4, 3, 5, 4))]
    kinds = {"action": pa.list_(pa.float32(), 2), "open": pa.int64()}
    table = pa.table({key: [one for part in parts for one in part[key]] for key in parts[0]})
    for name, kind in kinds.items():
        table = table.set_column(table.column_names.index(name), name, table[name].cast(kind))
    (folder / "more").mkdir()
    for name, start, stop in (("a.parquet", 0, 9), ("b.parquet", 9, 12), ("more/c.parquet", 12, 16)):
        pq.write_table(table.slice(start, stop - start), folder / name, row_group_size=4, write_page_checksum=True)


def _write_rows(folder: Path):
    random = np.random.default_rng(0)
    for number in range(2):
        lengths = (3, 4, 2)
        table = pa.table(
            {
                "state": pa.array(
                    [random.normal(size=(n, 2)).tolist() for n in lengths], pa.list_(pa.list_(pa.float64()))
                ),
                "action": [random.normal(size=n).tolist() for n in lengths],
                "said": ["go", "stop", "go on"],
                "reward": [random.uniform(size=n).tolist() for n in lengths],
            }
        )
        file = folder / f"train-{number:05d}-of-00002.parquet"
        pq.write_table(table, file, row_group_size=2, compression=("NONE", "SNAPPY")[number])


@cached_by_content
def read_table(file: Path) -> pa.Table:
    """Read all columns of a Parquet file."""
    with pq.ParquetFile(file) as parquet:
        return parquet.read()


@cached_by_content
def read_groups(file: Path) -> list[pa.Table | None]:
    """Read the row groups of a Parquet file one by one; None for a damaged one."""
    groups = []
    with pq.ParquetFile(file) as parquet:
        for number in range(parquet.num_row_groups):
            try:
                groups.append(parquet.read_row_group(number))
            except (OSError, ValueError):
                groups.append(None)
    return groups


def _files(folder: Path) -> list[Path]:
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(file for file in found if file.suffix == ".parquet" and file.name[0] != ".")


def _columns(table: Any) -> dict[str, Any]:
    """Return the columns of some rows by PyArrow's own conversion to Python; times are integers in their unit."""
    kinds = {name: table[name].type for name in table.column_names}
    values = {name: kind.value_type if pa.types.is_dictionary(kind) else kind for name, kind in kinds.items()}
    times = [name for name, kind in values.items() if pa.types.is_temporal(kind)]
    columns = table.to_pydict()
    columns |= {name: table[name].cast(values[name]).cast("int64").to_pylist() for name in times}
    columns["arm"] = [one["state"] for one in columns["arm"]]
    columns["image"] = [np.asarray(PIL.Image.open(io.BytesIO(one["bytes"])).convert("RGB")) for one in columns["image"]]
    return columns


def _read_steps(folder: Path) -> Iterator[Row | None]:
    """Yield an episode for each run of rows with one number; frames that begin again begin an episode."""
    tables = []
    for file in _files(folder):
        try:
            tables.append(read_table(file))
        except Exception:  # noqa: BLE001  PyArrow raises errors of many types
            tables.append(None)
    runs: list[list[Any]] = []
    last = None
    for table in tables:
        if table is None:
            runs.append([])
            last = None
            continue
        numbers, frames = table["episode_index"].to_pylist(), table["frame_index"].to_pylist()
        for row, (number, frame) in enumerate(zip(numbers, frames, strict=True)):
            if last is None or number != last[0] or (row == 0 and frame <= last[1]):
                runs.append([])
            runs[-1].append(table.slice(row, 1))
            last = (number, frame)
    for run in runs:
        try:
            columns = {}
            for part in map(_columns, run):
                for key, values in part.items():
                    columns[key] = [*columns.get(key, ()), *values]
            yield {
                "observation/image": columns["image"],
                "observation/said": columns["said"],
                "observation/state": columns["arm"],
                "action/arm": columns["action"],
                "action/open": columns["open"],
                "reward": columns["reward"],
                "success": bool(columns["success"][-1]),
            }
        except Exception:  # noqa: BLE001
            yield None


def _read_rows(folder: Path) -> Iterator[Row | None]:
    rows: list[Any]
    for file in _files(folder):
        if "-of-" in file.stem and not file.stem.startswith("train-"):
            continue  # a shard of another split
        try:
            rows = [row for group in read_groups(file) for row in ([None] if group is None else group.to_pylist())]
        except Exception:  # noqa: BLE001
            rows = [None]
        for row in rows:
            try:
                yield {
                    "observation/state": row["state"],
                    "observation/said": [row["said"]] * len(row["action"]),
                    "action/arm": row["action"],
                    "reward": row["reward"],
                }
            except Exception:  # noqa: BLE001
                yield None


def of_table(change: Callable[[pa.Table, random.Random], tuple[pa.Table, str]]) -> Callable[[Path, random.Random], str]:
    """Return a mutation that applies a function to the table of one Parquet file."""

    def damage(folder: Path, chance: random.Random) -> str:
        file = pick_file(folder, chance, ".parquet")
        content = io.BytesIO()
        try:
            table, done = change(read_table(file), chance)
            pq.write_table(
                table, content, row_group_size=chance.choice((2, 100)), compression=chance.choice(("NONE", "ZSTD")),
                write_page_checksum=chance.random() < 0.5, use_dictionary=chance.random() < 0.5,
            )  # fmt: skip
        except (pa.ArrowException, ValueError):  # the change does not suit the column
            raise NotPossible from None
        file.write_bytes(content.getvalue())
        return f"{file.relative_to(folder)}: {done}"

    return damage


def _rename(table: pa.Table, chance: random.Random) -> tuple[pa.Table, str]:
    names = list(table.column_names)
    number = chance.randrange(len(names))
    old, names[number] = names[number], chance.choice((names[number].upper(), f"{names[number]}_2", "", "a/b"))
    return table.rename_columns(names), f"{old} renamed to {names[number]!r}"


def _drop(table: pa.Table, chance: random.Random) -> tuple[pa.Table, str]:
    name = chance.choice(table.column_names)
    if chance.random() < 0.3:
        return table.append_column(name, table[name]), f"{name} twice"
    return table.drop_columns([name]), f"{name} dropped"


def _change_type(table: pa.Table, chance: random.Random) -> tuple[pa.Table, str]:
    name = chance.choice(table.column_names)
    kinds = (
        pa.float16(), pa.float32(), pa.int8(), pa.uint8(), pa.int32(), pa.int64(), pa.bool_(), pa.string(),
        pa.large_string(), pa.string_view(), pa.binary(), pa.decimal128(10, 2), pa.timestamp("us"), pa.duration("ns"),
        pa.list_(pa.float64()), pa.large_list(pa.float32()), pa.list_(pa.float32(), 2), pa.list_(pa.int32()),
        pa.date32(),
    )  # fmt: skip
    kind = chance.choice(kinds)
    column = table[name].cast(kind, safe=False)
    if chance.random() < 0.2:
        column = column.dictionary_encode()
    return table.set_column(table.column_names.index(name), name, column), f"{name} is of type {column.type}"


def _change_rows(table: pa.Table, chance: random.Random) -> tuple[pa.Table, str]:
    rows = [*range(len(table))]
    way = chance.choice(("shuffled", "backwards", "without one", "one twice", "none", "all twice", "two exchanged"))
    match way:
        case "shuffled":
            chance.shuffle(rows)
        case "backwards":
            rows = rows[::-1]
        case "without one":
            rows.pop(chance.randrange(len(rows)))
        case "one twice":
            rows.insert(chance.randrange(len(rows)), chance.choice(rows))
        case "none":
            rows = []
        case "all twice":
            rows *= 2
        case _:
            a, b = chance.sample(rows, 2)
            rows[a], rows[b] = b, a
    return table.take(pa.array(rows, pa.int64())), f"rows {way}"


def _change_value(table: pa.Table, chance: random.Random) -> tuple[pa.Table, str]:
    """Replace one value, at any depth, by null, or by one of another size."""
    name = chance.choice(table.column_names)
    values, row = table[name].to_pylist(), chance.randrange(len(table))

    def changed(value: Any) -> Any:
        if isinstance(value, list) and value and chance.random() < 0.8:
            place = chance.randrange(len(value))
            return [*value[:place], changed(value[place]), *value[place + 1 :]]
        if isinstance(value, list):
            return chance.choice((None, value[:-1], [*value, *value[-1:]], []))
        if isinstance(value, dict):
            key = chance.choice(sorted(value))
            return {**value, key: changed(value[key])}
        if isinstance(value, float):
            return chance.choice((None, float("nan"), float("inf"), 1e300, -0.0, value + 1))
        if isinstance(value, bytes):
            return chance.choice((None, b"", value[:-9], value + b"more"))
        return chance.choice((None, *((value + 1, -1, 2**62) if isinstance(value, int) else ("", "\0", "other"))))

    values[row] = changed(values[row])
    column = pa.array(values, table.schema.field(name).type)
    return table.set_column(table.column_names.index(name), name, column), f"{name} of row {row} is {values[row]!r:.60}"


OF_TABLES = tuple(map(of_table, (_rename, _drop, _change_type, _change_rows, _change_value)))
FORMATS = {
    "parquet": Format(write=_write_steps, source="parquet:{}", read=_read_steps, damages=OF_TABLES, fields=_STEPS),
    "parquet_rows": Format(write=_write_rows, source="parquet:{}", read=_read_rows, damages=OF_TABLES, fields=_ROWS),
}
