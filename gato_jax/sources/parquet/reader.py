"""Parquet files as Hugging Face's hub keeps them: a row is a step, or a whole episode, or an image and its caption."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields, split_path
from gato_jax.sources.parquet.places import Place, places_by_column, places_by_row
from gato_jax.sources.parquet.shards import files_of_split
from gato_jax.sources.parquet.table import (
    column_name,
    describe,
    get_column,
    list_depth,
    read_rows,
    read_schema,
    to_values,
)
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, SourceError, fingerprint_files

_EPISODE_COLUMNS = ("episode_index", "episode_id")
_EXAMPLE = (
    '{"suite": "parquet", "task": "NAME", "observation": {"image": {"field": "COLUMN", "kind": "image", "height": 64, '
    '"width": 64}}, "action": {"caption": {"field": "COLUMN", "kind": "text"}}, "provenance": {"source": "...", '
    '"licence": "...", "kind": "real"}}'
)


def open_parquet(where: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Opens one split of Parquet files, as `datasets.Dataset.to_parquet` and the hub write them.

    Where there is a column `episode_index` or `episode_id`, a row is a step, and an episode is the rows together that
    have the same one, across files where need be. Otherwise a row is an episode: of T steps where a column is a list of
    T values of its modality, of one step where none is.

    Args:
      where: a file, or a folder with files at any depth.
      split: see `shards.files_of_split`.
      fields: needed. A path is a column, or `a/b` in a column of structs. Images are encoded files as bytes, or structs
        of `bytes` and `path`, of which the bytes are read.

    Raises:
      SourceError: no such files, split or columns, or no episode that can be read. A damaged file is in `rejected`; a
        damaged row is an EpisodeRejected when it is read.
    """
    files = files_of_split(Path(where), split)
    schema = _first_schema(files, f"{where}: split {split!r}")
    if fields is None:
        raise SourceError(f"{where}: its fields are needed, as {_EXAMPLE}; {describe(schema)}")
    rows = _Rows.of(fields, schema, str(where))
    if rows.episode_column is not None:
        places, rejected = places_by_column(files, rows.episode_column)
    else:
        places, rejected = places_by_row(files, rows.list_path)
    if not places:
        reason = f"{rejected[0].location}: {rejected[0].reason}" if rejected else "it has no rows"
        raise SourceError(f"{where}: split {split!r} has no episode that can be read; {reason}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=places,
        lengths=np.array([place.steps for place in places], np.int64),
        fingerprint=fingerprint_files(files, split, fields.to_json()),
        read=functools.partial(_read, rows),
        rejected=tuple(rejected),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rows:
    """What a row is.

    Attributes:
      fields, columns: what is read of it.
      episode_column: says of which episode it is a step; None where it is an episode.
      list_path: a path that has a list of one value a step; None where a row is a step.
    """

    fields: Fields
    columns: tuple[str, ...]
    episode_column: str | None
    list_path: str | None

    @classmethod
    def of(cls, fields: Fields, schema: Any, where: str) -> _Rows:
        modalities = {
            split_path(path)[0]: kind for path, kind in (*fields.observation.values(), *fields.action.values())
        }
        results = [
            split_path(path)[0] for path in (fields.reward, fields.success, fields.timestamps) if path is not None
        ]
        nothing = schema.empty_table()
        try:
            types = {path: get_column(nothing, path, where).type for path in (*modalities, *results)}
        except EpisodeRejected as error:
            raise SourceError(str(error)) from None
        episode_column = next((name for name in _EPISODE_COLUMNS if name in schema.names), None)
        lists = [path for path, modality in modalities.items() if _is_list_of(types[path], modality)]
        lists.sort(key=lambda path: isinstance(modalities[path], Image))  # to count images is to read them
        return cls(
            fields=fields,
            columns=tuple(sorted({column_name(schema.names, path) for path in types})),
            episode_column=episode_column,
            list_path=lists[0] if lists and episode_column is None else None,
        )


def _is_list_of(kind: Any, modality: Modality) -> bool:
    """Whether a column of this type has in each row a list of values of this modality, one a step."""
    depth = list_depth(kind)
    match modality:
        case Continuous() | Discrete():
            return depth > len(modality.shape)
        case Image():
            return depth in (1, 4)  # lists of encoded images, or of (height, width, channels)
    return depth > 0


def _first_schema(files: Sequence[Path], where: str) -> Any:
    """The schema of the first file that can be read. Raises SourceError where none can."""
    reasons = []
    for file in files:
        try:
            return read_schema(file, str(file))
        except EpisodeRejected as error:
            reasons.append(str(error))
    raise SourceError(f"{where} has no file that can be read; the first: {reasons[0]}")


def _read(rows: _Rows, place: Place) -> Episode:
    where = place.where
    tables = [read_rows(*part, rows.columns, where) for part in place.parts]

    def column(path: str) -> Any:
        arrays = [get_column(table, path, where) for table in tables]
        if rows.list_path is None:
            return _joined([to_values(array, path, where) for array in arrays], path, where)
        (array,) = arrays
        if array.null_count:
            raise EpisodeRejected(where, f"field {path!r} is null")
        if list_depth(array.type):
            return to_values(array.flatten(), path, where)
        (value,) = to_values(array, path, where)  # of the whole episode
        return value

    return assemble(rows.fields, column, where)


def _joined(parts: list[Any], path: str, where: str) -> Any:
    """The values of an episode that lies in several files."""
    if not all(isinstance(part, np.ndarray) for part in parts):
        return [value for part in parts for value in part]
    if len(shapes := {part.shape[1:] for part in parts}) > 1:
        raise EpisodeRejected(where, f"field {path!r} has, from file to file, the shapes {sorted(shapes)} at each step")
    return np.concatenate(parts)
