"""Reader of Parquet files in the style of the Hugging Face Hub, in which a row is a step or a whole episode."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality
from gato_jax.sources.assembly import assemble
from gato_jax.sources.contents import FoundField, missing_fields, unnamed_fields
from gato_jax.sources.field_paths import FieldPath
from gato_jax.sources.fields import Fields
from gato_jax.sources.parquet.addresses import Address, addresses_by_column, addresses_by_row
from gato_jax.sources.parquet.numbering import STEP_COLUMNS
from gato_jax.sources.parquet.shards import SplitFiles, list_split_files
from gato_jax.sources.parquet.table import (
    column_name,
    get_column,
    list_depth,
    read_rows,
    read_schema,
    to_values,
)
from gato_jax.sources.reader import (
    EpisodeRejected,
    Omission,
    RecordedEpisodes,
    SourceError,
    fingerprint_files,
    weigh_damaged_files,
)

_EPISODE_COLUMNS = ("episode_index", "episode_id")


def open_parquet(path: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Open one split of Parquet files, as `datasets.Dataset.to_parquet` writes them.

    If there is a column `episode_index` or `episode_id`, a row is a step, and consecutive rows with the same value form
    an episode, which may continue in the next file; `numbering.join_runs` explains when it does. Otherwise a row is an
    episode. It has T steps if an observation or action column holds, in each row, a list of T values of its modality,
    and one step if no column does. A vector is one value: a column with one vector in each row makes one step.

    The steps of an episode must be in order: if there is a column `frame_index`, `step_index`, `frame_idx`, `step_idx`
    or `step_id`, its numbers must increase by the same amount from step to step.

    Args:
      path: a file, or a folder with files at any depth.
      split: name of the split; `shards.list_split_files` explains how files are assigned to splits.
      fields: the fields to read. It is required. A path is the name of a column, or `a/b` for field `b` of a column `a`
        of structs. Images are encoded files, as bytes or as structs with a field `bytes`.

    Raises:
      SourceError: `fields` is None, there are no such files, split or columns, a shard is missing, or no episode has a
        number of steps that can be read. If some have, damaged files, rows without steps and incomplete episodes do not
        raise, and are listed in `rejected`. Other damage raises EpisodeRejected when the episode is read.
    """
    found = list_split_files(Path(path), split)
    files = found.files
    schema = _choose_schema(files, f"{path}: split {split!r}")
    if fields is None:
        raise missing_fields(f"parquet:{path}", describe_columns(schema), "Parquet files do not define them")
    rows = _RowFormat.infer(fields, schema, str(path))
    if rows.episode_column is not None:
        refused = [Path(one.location) for one in found.rejected]
        addresses, rejected = addresses_by_column(files, rows.episode_column, refused)
    else:
        addresses, rejected = addresses_by_row(files, rows.list_path)
    if not addresses:
        reason = f"{rejected[0].location}: {rejected[0].reason}" if rejected else "it has no rows"
        raise SourceError(f"{path}: split {split!r} has no episode that can be read: {reason}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=addresses,
        lengths=np.array([address.steps for address in addresses], np.int64),
        fingerprint=fingerprint_files(files, split, fields.to_json(), label=str(path)),
        read=functools.partial(_read, rows),
        rejected=(*found.rejected, *weigh_damaged_files(rejected, files, len(addresses))),
        fields=fields,
        find_left_out=functools.partial(_find_left_out, str(path), found, rows),
    )


def _find_left_out(path: str, found: SplitFiles, rows: _RowFormat) -> list[Omission]:
    """List the files that are not read, and the columns of those that are."""
    columns: dict[str, FoundField] = {}
    for file in found.files:
        with contextlib.suppress(EpisodeRejected):  # it is rejected
            columns |= {column.path: column for column in describe_columns(read_schema(file, str(file)))}
    read = [*filter(None, (rows.episode_column, rows.step_column))]
    return [*found.left_out, *unnamed_fields(path, columns.values(), rows.fields, read)]


def describe_columns(schema: Any) -> list[FoundField]:
    """Return the columns of a `pyarrow.Schema`; of a column of structs, except for images, their fields."""
    return [found for field in schema for found in _describe_column(field.name, field.type)]


def _describe_column(path: str, kind: Any) -> list[FoundField]:
    import pyarrow.types as types

    inner, shape = kind, []
    while list_depth(inner):
        shape.append(inner.list_size if types.is_fixed_size_list(inner) else -1)
        inner = inner.value_type
    if types.is_struct(inner) and inner.get_field_index("bytes") >= 0:
        return [FoundField(path=path, kind="image", shape=(*shape, -1, -1, 3))]
    if types.is_struct(inner) and not shape:
        return [found for field in inner for found in _describe_column(f"{path}/{field.name}", field.type)]
    is_text = types.is_string(inner) or types.is_large_string(inner)
    return [FoundField(path=path, kind="text" if is_text else str(inner), shape=tuple(shape))]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _RowFormat:
    """The meaning of a row, and the columns to read.

    Attributes:
      fields: the fields to read.
      columns: sorted names of the top-level columns that hold the fields.
      episode_column: column that tells the episode of a row. None if a row is an episode.
      step_column: column that numbers the steps of an episode. None if there is none.
      list_path: path of a column that has, in each row, a list with one value for each step of an episode. None if a
        row is a single step, whether of a longer episode or as an episode of one step.
    """

    fields: Fields
    columns: tuple[str, ...]
    episode_column: str | None
    step_column: str | None
    list_path: str | None

    @classmethod
    def infer(cls, fields: Fields, schema: Any, location: str) -> _RowFormat:
        """Infer the meaning of a row from the types of the columns that hold the fields.

        A row is a step if there is a column `episode_index` or `episode_id`. Otherwise it is an episode: of several
        steps if the column of an observation or action holds a list of values in each row, else of one step. A list
        that is itself one value, such as a vector, makes one step.

        Args:
          fields: the fields to read.
          schema: `pyarrow.Schema` of the files.
          location: their path, the beginning of error messages.

        Raises:
          SourceError: a field is not in the schema.
        """
        empty = schema.empty_table()
        try:
            types = {path.name: get_column(empty, path.name, location).type for path, _ in fields.paths}
        except EpisodeRejected as error:
            raise SourceError(str(error)) from None
        episode_column = next((name for name in _EPISODE_COLUMNS if name in schema.names), None)
        step_column = next((name for name in STEP_COLUMNS if name in schema.names), None)
        lists = [
            (isinstance(modality, Image), path.name)  # images last: counting them means reading them
            for path, modality in fields.paths
            if modality is not None and _lists_steps(types[path.name], path, modality)
        ]
        lists.sort(key=lambda one: one[0])
        return cls(
            fields=fields,
            columns=tuple(sorted({column_name(schema.names, path) for path in (*types, *filter(None, [step_column]))})),
            episode_column=episode_column,
            step_column=step_column,
            list_path=lists[0][1] if lists and episode_column is None else None,
        )


def _lists_steps(kind: Any, path: FieldPath, modality: Modality) -> bool:
    """Return whether a column of this Arrow type holds, in each row, a list of values of a modality.

    The lists must be nested deeper than a single value is. A (3,) vector is itself a list, so it takes a list of lists
    to hold several. A text is no list. An image is no list if it is encoded, and three nested lists if it is pixels, so
    the answer is true for a depth of 1 or 4.
    """
    depth = list_depth(kind) - sum(call.decoder.removed_axes for call in path.calls)
    match modality:
        case Continuous() | Discrete():
            return depth > len(modality.shape)
        case Image():
            return depth in (1, 4)  # lists of encoded images, or of (height, width, channels)
    return depth > 0


def _choose_schema(files: Sequence[Path], location: str) -> Any:
    """Return the `pyarrow.Schema` of the first file that has an episode column, else of the first that can be read.

    Rows of a file that lacks the column of the others must not pass as episodes.

    Raises:
      SourceError: no file can be read. The message begins with `location`, the path of the recording, and gives the
        reason of the first file.
    """
    schemas, reasons = [], []
    for file in files:
        try:
            schemas.append(schema := read_schema(file, str(file)))
        except EpisodeRejected as error:
            reasons.append(str(error))
            continue
        if any(name in schema.names for name in _EPISODE_COLUMNS):
            return schema
    if not schemas:
        raise SourceError(f"{location} has no file that can be read. The first: {reasons[0]}")
    return schemas[0]


def _read(rows: _RowFormat, address: Address) -> Episode:
    """Read the episode at an address, or raise EpisodeRejected if it is damaged."""
    location = address.location
    tables = [read_rows(*part, rows.columns, location) for part in address.parts]

    def read_field(path: str) -> Any:
        arrays = [get_column(table, path, location) for table in tables]
        if rows.list_path is None:
            return _concatenate([to_values(array, path, location) for array in arrays], path, location)
        (array,) = arrays
        if array.null_count:
            raise EpisodeRejected(location, f"field {path!r} is null")
        if list_depth(array.type):
            return to_values(array.flatten(), path, location)
        (value,) = to_values(array, path, location)  # one value for the whole episode
        return value

    if rows.step_column is not None:
        _require_order(read_field(rows.step_column), rows.step_column, location)
    return assemble(rows.fields, read_field, location)


def _require_order(numbers: Any, column: str, location: str):
    """Raise EpisodeRejected if the steps of an episode are out of order, or some are missing or repeated.

    Args:
      numbers: number of each step, (T,). One number for the whole episode, and numbers that are no integers, pass.
      column: name of the column, for the message.
      location: file and number of the episode.
    """
    array = np.asarray(numbers)
    if array.ndim != 1 or array.dtype.kind not in "iu" or len(array) < 2:
        return
    increments = np.diff(array.astype(np.int64))
    if increments[0] > 0 and (increments == increments[0]).all():
        return
    step = int(np.argmax((increments <= 0) | (increments != max(increments[0], 1))))
    raise EpisodeRejected(
        location, f"{column} goes from {array[step]} to {array[step + 1]} at step {step + 1}, expected steps in order "
        f"without gaps. Sort the rows by {column}, and add those that are missing"
    )  # fmt: skip


def _concatenate(parts: list[Any], path: str, location: str) -> Any:
    """Concatenate the values of a field over the parts of an episode, one for each file that holds some of its rows.

    Returns:
      An array if all parts are arrays, otherwise a list.

    Raises:
      EpisodeRejected: all parts are arrays, and the shapes of their values differ.
    """
    if not all(isinstance(part, np.ndarray) for part in parts):
        return [value for part in parts for value in part]
    if len(shapes := {part.shape[1:] for part in parts}) > 1:
        raise EpisodeRejected(location, f"field {path!r} has shapes {sorted(shapes)} in different files, expected one")
    return np.concatenate(parts)
