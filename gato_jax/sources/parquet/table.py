"""Rows of a Parquet file, and their columns as the arrays that an episode is assembled from."""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.sources.reader import EpisodeRejected


@contextlib.contextmanager
def parquet_errors(where: str) -> Iterator[None]:
    """An EpisodeRejected at `where` for whatever Arrow finds wrong with a file."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise EpisodeRejected(where, f"the Parquet file cannot be read ({error})") from None


def count_rows(file: Path, where: str) -> int:
    """How many rows the file says it has. Raises EpisodeRejected at `where` unless it is whole enough to say so."""
    with parquet_errors(where):
        return _footer(*_identity(file)).num_rows


def read_rows(file: Path, start: int, stop: int, columns: Sequence[str], where: str) -> Any:
    """The `pyarrow.Table` of rows [start, stop), of those of the named columns that the file has.

    Only the row groups that hold them are read, and the last ones are kept, for a group may hold several episodes.

    Raises:
      EpisodeRejected: at `where`: the file cannot be read, or has fewer rows.
    """
    with parquet_errors(where):
        ends = _ends(*_identity(file))
        if stop > (rows := (ends or [0])[-1]):
            raise EpisodeRejected(where, f"it is in rows {start} to {stop} of a file with {rows}")
        first, last = bisect.bisect_right(ends, start), bisect.bisect_left(ends, stop)
        groups = range(first, min(last + 1, len(ends)))
        table = _read_groups(*_identity(file), groups, tuple(columns))
        return table.slice(start - (ends[first - 1] if first else 0), stop - start)


def read_schema(file: Path, where: str) -> Any:
    """The `pyarrow.Schema` of a file. Raises EpisodeRejected at `where`."""
    with parquet_errors(where):
        return _footer(*_identity(file)).schema.to_arrow_schema()


def read_column(file: Path, path: str, where: str) -> Any:
    """The whole `pyarrow.Array` at a path of a file. Raises EpisodeRejected at `where`."""
    column = column_name(read_schema(file, where).names, path)
    return get_column(read_rows(file, 0, count_rows(file, where), [column], where), path, where)


def column_name(names: Sequence[str], path: str) -> str:
    """The column that a path begins with: itself, or `a` of `a/b`, a field of a column of structs."""
    return path if path in names else path.split("/")[0]


def get_column(table: Any, path: str, where: str) -> Any:
    """The `pyarrow.Array` at a path of a `pyarrow.Table`. Raises EpisodeRejected at `where`, naming what there is."""
    import pyarrow as pa
    import pyarrow.types as types

    name = column_name(table.column_names, path)
    if name not in table.column_names:
        raise EpisodeRejected(where, f"it has no field {path!r}; {describe(table.schema)}")
    array = table.column(name).combine_chunks()
    for part in path.removeprefix(name).split("/")[1:]:
        if not types.is_struct(array.type) or array.type.get_field_index(part) < 0:
            raise EpisodeRejected(where, f"it has no field {path!r}; {describe(table.schema)}")
        array = array.field(part)
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def describe(schema: Any) -> str:
    """The columns of a `pyarrow.Schema` and their types, for a message."""
    return f"its columns are {', '.join(f'{field.name} ({field.type})' for field in schema)}"


def to_values(array: Any, field: str, where: str) -> np.ndarray | list[Any]:
    """A `pyarrow.Array` of T values as (T, ...) numbers, or as T strings or encoded images.

    Lists in lists become further axes. Of a Hugging Face image, {bytes, path}, the bytes are taken; where it has a path
    alone it is refused, for a recording has no business with files elsewhere.

    Raises:
      EpisodeRejected: at `where`: a value is null, lists are of different lengths, or the type is none of these.
    """
    import pyarrow.types as types

    kind = array.type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return _embedded(array, field, where)
    if array.null_count:
        raise EpisodeRejected(where, f"field {field!r} holds {array.null_count} null")
    if _is_list(kind):
        return _stacked(array, field, where)
    if types.is_dictionary(kind):
        return to_values(array.dictionary_decode(), field, where)
    if kind in _strings():
        with parquet_errors(where):
            return array.to_pylist()
    if types.is_timestamp(kind) or types.is_duration(kind):
        return array.cast("int64").to_numpy()
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return array.to_numpy(zero_copy_only=False)
    raise EpisodeRejected(
        where, f"field {field!r} has the type {kind}, which is no number, text, image or list of them"
    )


def list_depth(kind: Any) -> int:
    """How many lists are one in another in a type of Arrow."""
    return 1 + list_depth(kind.value_type) if _is_list(kind) else 0


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)


def _strings() -> tuple[Any, ...]:
    """The types of text and of bytes."""
    import pyarrow as pa

    return (
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
    )  # fmt: skip


def _stacked(array: Any, field: str, where: str) -> np.ndarray:
    inner = to_values(array.flatten(), field, where)
    if not isinstance(inner, np.ndarray):
        raise EpisodeRejected(where, f"field {field!r} holds lists of {array.type.value_type} at each step, not one")
    lengths = set(np.diff(_offsets(array)).tolist())
    if len(lengths) > 1:
        raise EpisodeRejected(where, f"field {field!r} has from {min(lengths)} to {max(lengths)} elements at a step")
    return inner.reshape(len(array), lengths.pop() if lengths else 0, *inner.shape[1:])


def _offsets(array: Any) -> np.ndarray:
    import pyarrow.types as types

    if types.is_fixed_size_list(array.type):
        return np.arange(len(array) + 1) * array.type.list_size
    return array.offsets.to_numpy()


def _embedded(array: Any, field: str, where: str) -> list[bytes]:
    images = array.field("bytes").to_pylist()
    if None in images:
        step = images.index(None)
        said = array[step].as_py() or {}
        raise EpisodeRejected(
            where, f"field {field!r} has no image at step {step}, only the path {said.get('path')!r}; embed its bytes"
        )
    return images


def _identity(file: Path) -> tuple[str, int, int]:
    """What the caches know a file by: one that was written anew is another."""
    state = file.stat()
    return str(file), state.st_size, state.st_mtime_ns


@functools.lru_cache(maxsize=256)
def _footer(file: str, size: int, changed: int) -> Any:
    import pyarrow.parquet as pq

    return pq.read_metadata(file)


@functools.lru_cache(maxsize=256)
def _ends(file: str, size: int, changed: int) -> list[int]:
    """Where each row group ends, in rows."""
    footer = _footer(file, size, changed)
    return list(itertools.accumulate(footer.row_group(number).num_rows for number in range(footer.num_row_groups)))


@functools.lru_cache(maxsize=2)
def _read_groups(file: str, size: int, changed: int, groups: range, columns: tuple[str, ...]) -> Any:
    import pyarrow.parquet as pq

    footer = _footer(file, size, changed)
    with pq.ParquetFile(file, metadata=footer, page_checksum_verification=True) as parquet:
        return parquet.read_row_groups(list(groups), columns=list(columns), use_threads=False)
