"""Rows of Parquet files, and conversion of their columns to arrays."""

from __future__ import annotations

import bisect
import contextlib
import functools
import itertools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.runtime.content_digests import file_key
from gato_jax.sources.reader import EpisodeRejected


@contextlib.contextmanager
def reject_arrow_errors(location: str) -> Iterator[None]:
    """Convert every ArrowException, OSError and UnicodeDecodeError in the `with` block to an EpisodeRejected."""
    import pyarrow as pa

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise EpisodeRejected(location, f"the Parquet file cannot be read ({error})") from None


def count_rows(file: Path, location: str) -> int:
    """Return the number of rows of a file, from its footer, or raise EpisodeRejected at `location`."""
    with reject_arrow_errors(location):
        return _read_footer(file_key(file)).num_rows


def read_rows(file: Path, start: int, stop: int, columns: Sequence[str], location: str) -> Any:
    """Return rows [start, stop) of a file as a `pyarrow.Table`.

    Only the row groups that hold these rows are read. The results of the last two reads of row groups are cached,
    because a group may hold several episodes.

    Args:
      file: the file.
      start: number of the first row, counted from 0.
      stop: number of the row after the last.
      columns: names of the top-level columns to read. Those that the file lacks are ignored.
      location: the beginning of error messages.

    Raises:
      EpisodeRejected: the file cannot be read, or has fewer than `stop` rows.
    """
    with reject_arrow_errors(location):
        key = file_key(file)
        ends = _row_group_ends(key)
        if stop > (rows := (ends or [0])[-1]):
            raise EpisodeRejected(location, f"its rows are {start} to {stop}, but the file has only {rows}")
        first, last = bisect.bisect_right(ends, start), bisect.bisect_left(ends, stop)
        groups = range(first, min(last + 1, len(ends)))
        table = _read_groups(key, groups, tuple(columns))
        expected = sum(ends[group] - (ends[group - 1] if group else 0) for group in groups)
        if table.num_columns and len(table) != expected:  # a damaged page may end a column early
            raise EpisodeRejected(location, f"its columns have {len(table)} rows, expected {expected}. Copy it again")
        return table.slice(start - (ends[first - 1] if first else 0), stop - start)


def read_schema(file: Path, location: str) -> Any:
    """Return the `pyarrow.Schema` of a file, or raise EpisodeRejected at `location`."""
    with reject_arrow_errors(location):
        return _read_footer(file_key(file)).schema.to_arrow_schema()


def read_column(file: Path, path: str, location: str) -> Any:
    """Return all values at a path of a file as a `pyarrow.Array`, or raise EpisodeRejected at `location`.

    A path is the name of a column, or `a/b` for field `b` of a column `a` of structs. EpisodeRejected is raised if the
    file cannot be read, or has no such column or field.
    """
    column = column_name(read_schema(file, location).names, path)
    return get_column(read_rows(file, 0, count_rows(file, location), [column], location), path, location)


def column_name(names: Sequence[str], path: str) -> str:
    """Return the name of the column of a path: the path itself if it is a column, or `a` for the struct field `a/b`.

    Args:
      names: names of all columns. That of the path need not be among them.
      path: path of a field.
    """
    return path if path in names else path.split("/")[0]


def get_column(table: Any, path: str, location: str) -> Any:
    """Return the values at a path of a `pyarrow.Table`, one for each row, as a single `pyarrow.Array`.

    Args:
      table: the rows.
      path: name of a column, or `a/b` for field `b` of a column `a` of structs.
      location: the beginning of error messages.

    Raises:
      EpisodeRejected: there is no such column or field.
    """
    import pyarrow as pa
    import pyarrow.types as types

    name = column_name(table.column_names, path)
    if name not in table.column_names:
        raise EpisodeRejected(location, f"it has no field {path!r}; {describe(table.schema)}")
    if table.column_names.count(name) > 1:
        raise EpisodeRejected(location, f"it has {table.column_names.count(name)} columns {name!r}, expected one")
    array = table.column(name).combine_chunks()
    for part in path.removeprefix(name).split("/")[1:]:
        if not types.is_struct(array.type) or array.type.get_field_index(part) < 0:
            raise EpisodeRejected(location, f"it has no field {path!r}; {describe(table.schema)}")
        array = array.field(part)
    return array.storage if isinstance(array, pa.ExtensionArray) else array


def describe(schema: Any) -> str:
    """Return a clause on the columns of a `pyarrow.Schema`: "its columns are id (int64), text (string)"."""
    return f"its columns are {', '.join(f'{field.name} ({field.type})' for field in schema)}"


def to_values(array: Any, field: str, location: str) -> np.ndarray | list[Any]:
    """Convert a `pyarrow.Array` of T values to a (T, ...) array of numbers, or a list of T strings or encoded images.

    Nested lists become further axes. Times and durations become int64 in their unit. Of a Hugging Face image, a struct
    {bytes, path}, the bytes are taken. An image that has only a path is rejected, because a recording must not read
    files elsewhere.

    Args:
      array: the values.
      field: name of the field in error messages.
      location: file and number of the episode, the beginning of error messages.

    Raises:
      EpisodeRejected: a value is null, an image has no bytes, lists have different lengths or hold no numbers, or the
        type is not supported.
    """
    import pyarrow.types as types

    kind = array.type
    if types.is_struct(kind) and kind.get_field_index("bytes") >= 0:
        return _read_embedded_images(array, field, location)
    if array.null_count:
        raise EpisodeRejected(location, f"field {field!r} holds {array.null_count} null values")
    if _is_list(kind):
        return _stack_lists(array, field, location)
    if types.is_dictionary(kind):
        return to_values(array.dictionary_decode(), field, location)
    if kind in _string_types():
        with reject_arrow_errors(location):
            return array.to_pylist()
    if types.is_timestamp(kind) or types.is_duration(kind):
        return array.cast("int64").to_numpy()
    if types.is_boolean(kind) or types.is_integer(kind) or types.is_floating(kind):
        return array.to_numpy(zero_copy_only=False)
    raise EpisodeRejected(location, f"field {field!r} has type {kind}, expected numbers, text, images or lists of them")


def list_depth(kind: Any) -> int:
    """Return how deeply lists are nested in an Arrow type: 2 for lists of lists, 0 for a type that is not a list."""
    return 1 + list_depth(kind.value_type) if _is_list(kind) else 0


def _is_list(kind: Any) -> bool:
    import pyarrow.types as types

    return types.is_fixed_size_list(kind) or types.is_list(kind) or types.is_large_list(kind)


def _string_types() -> tuple[Any, ...]:
    """Return the Arrow types of text and bytes."""
    import pyarrow as pa

    return (
        pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary(), pa.binary_view(),
    )  # fmt: skip


def _stack_lists(array: Any, field: str, location: str) -> np.ndarray:
    """Convert a `pyarrow.Array` of T lists of one length n to a (T, n, ...) array of numbers.

    Raises:
      EpisodeRejected: the lists differ in length, hold no numbers, or hold a null.
    """
    inner = to_values(array.flatten(), field, location)
    if not isinstance(inner, np.ndarray):
        raise EpisodeRejected(
            location, f"field {field!r} holds lists of {array.type.value_type} at each step, expected single values"
        )
    lengths = set(np.diff(_offsets(array)).tolist())
    if len(lengths) > 1:
        raise EpisodeRejected(
            location, f"field {field!r} has {min(lengths)} to {max(lengths)} elements at a step, expected one length"
        )
    return inner.reshape(len(array), lengths.pop() if lengths else 0, *inner.shape[1:])


def _offsets(array: Any) -> np.ndarray:
    """Return the offsets of T lists, (T + 1,) int: the start of each in the flat values, then the end of the last."""
    import pyarrow.types as types

    if types.is_fixed_size_list(array.type):
        return np.arange(len(array) + 1) * array.type.list_size
    return array.offsets.to_numpy()


def _read_embedded_images(array: Any, field: str, location: str) -> list[bytes]:
    """Return the encoded files of a `pyarrow.Array` of T Hugging Face images, structs {bytes, path}.

    Raises:
      EpisodeRejected: an image has no bytes.
    """
    images = array.field("bytes").to_pylist()
    if None in images:
        step = images.index(None)
        path = (array[step].as_py() or {}).get("path")
        raise EpisodeRejected(
            location, f"field {field!r} has only the path {path!r} at step {step}, expected an image. Embed its bytes"
        )
    return images


@functools.lru_cache(maxsize=256)
def _read_footer(key: tuple[Any, ...]) -> Any:
    """Read the `pyarrow.parquet.FileMetaData` of the file of a `file_key`."""
    import pyarrow.parquet as pq

    return pq.read_metadata(key[0])


@functools.lru_cache(maxsize=256)
def _row_group_ends(key: tuple[Any, ...]) -> list[int]:
    """Return the number of the row after the last of each row group, such as [100, 200, 250] for 250 rows in three."""
    footer = _read_footer(key)
    return list(itertools.accumulate(footer.row_group(number).num_rows for number in range(footer.num_row_groups)))


@functools.lru_cache(maxsize=2)
def _read_groups(key: tuple[Any, ...], groups: range, columns: tuple[str, ...]) -> Any:
    """Read all rows of some row groups of a file as one `pyarrow.Table`.

    The results of the latest two calls are cached.

    Args:
      key: the `file_key` of the file.
      groups: numbers of the row groups.
      columns: names of the top-level columns to read. Those that the file lacks are ignored.
    """
    import pyarrow.parquet as pq

    footer = _read_footer(key)
    with pq.ParquetFile(key[0], metadata=footer, page_checksum_verification=True) as parquet:
        return parquet.read_row_groups(list(groups), columns=list(columns), use_threads=False)
