"""Parquet rows of tokens, for training with other tools: whole timesteps of one episode, as many as fit in a context.

    FOLDER/SPLIT-00000-of-00004.parquet    rows in the order of the episodes; the contract is in each file's metadata

The memory in use does not exceed an episode and a row group, whatever the size of the dataset.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.tokenization import Contract, Layout, TokenSequence
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN
from gato_jax.tokenization.sequence import concatenate

FILE_BYTES = 256 << 20  # size on disk; a file ends with the row group that reaches it
ROW_GROUP_BYTES = 16 << 20  # size in memory
METADATA = "gato_jax."  # prefix of the names of our metadata

COLUMNS = {
    "episode": "number of the episode, in the dataset's order",
    "first_step": "the first timestep of the row, counted within its episode",
    "steps": "how many timesteps the row holds",
    **{column: text for field in PER_TOKEN.values() for column, text in field.columns.items()},
    **{name: field.column for name, field in PER_PATCH.items()},
}


class ExportError(ValueError):
    """A dataset that cannot be exported, or an export that cannot be read; the message names problem and remedy."""


class Row(NamedTuple):
    """A Parquet row: the tokens of timesteps [first_step, first_step + steps) of an episode.

    Attributes:
      episode: Index of the episode in the dataset.
      first_step: First timestep, counted within the episode.
      steps: Number of timesteps.
      tokens: The tokens, as one segment.
    """

    episode: int
    first_step: int
    steps: int
    tokens: TokenSequence


class Written(NamedTuple):
    """The files that were written, in order and under their final names, and the number of rows and tokens in all."""

    files: list[pathlib.Path]
    rows: int
    tokens: int


def require_pyarrow():
    """Raise ExportError if pyarrow, an optional dependency, is not installed."""
    try:
        import pyarrow.parquet  # noqa: F401
    except ImportError:
        raise ExportError('Parquet needs pyarrow, which is not installed; pip install "gato_jax[parquet]"') from None


def pack_rows(layout: Layout, episodes: Iterable[Episode], context: int) -> Iterator[Row]:
    """Yield rows of at most `context` tokens, with every step at which an action was taken once and in order.

    A row holds as many consecutive whole timesteps of one episode as fit.

    Args:
      layout: Layout of the task's tokens.
      episodes: The episodes, which are numbered from 0.
      context: Maximum number of tokens of a row.

    Raises:
      ExportError: A timestep is longer than the context, or an episode has no step at which an action was taken.
      TokenizationError: A value has no exact token. The error names episode, step and key.
    """
    name = layout.spec.name
    for number, episode in enumerate(episodes):
        steps = layout.encode_timesteps(episode, number)
        if not steps:
            raise ExportError(f"{name}: episode {number} holds no action that was taken; filter it out")
        first, held = 0, 0
        for at, step in enumerate(steps):
            if len(step) > context:
                raise ExportError(
                    f"{name}: episode {number}, step {at} has {len(step)} tokens, which exceeds context {context}; "
                    "raise context"
                )
            if held + len(step) > context:
                yield Row(number, first, at - first, concatenate(steps[first:at]))
                first, held = at, 0
            held += len(step)
        yield Row(number, first, len(steps) - first, concatenate(steps[first:]))


def write_rows(
    folder: pathlib.Path, split: str, rows: Iterable[Row], metadata: Mapping[str, Any], file_bytes: int = FILE_BYTES
) -> Written:
    """Write rows into as many files as they need, FOLDER/SPLIT-00000-of-00004.parquet and so on; none for no rows.

    Args:
      folder: An existing folder.
      split: Name of the split, with which the names of the files begin.
      rows: The rows, which are consumed one row group at a time.
      metadata: {name: JSON value} to write into every file, each name behind the prefix `gato_jax.`.
      file_bytes: Size on disk at which a file ends; its last row group may exceed it.
    """
    import pyarrow.parquet as pq

    schema = _schema(metadata)
    groups, files, count, tokens = _row_groups(rows), [], 0, 0
    while (group := next(groups, None)) is not None:
        files.append(folder / f"{split}-{len(files):05d}.parquet")
        with files[-1].open("wb") as file, pq.ParquetWriter(file, schema, compression="zstd") as writer:
            while group is not None:
                writer.write_table(_table(group, schema))
                count, tokens = count + len(group), tokens + sum(len(row.tokens) for row in group)
                group = next(groups, None) if file.tell() < file_bytes else None
    named = [file.rename(file.with_stem(f"{file.stem}-of-{len(files):05d}")) for file in files]
    return Written(named, count, tokens)


def read_rows(path: str | pathlib.Path) -> Iterator[TokenSequence]:
    """Yield the tokens of each row of a file, or of all files of a folder, in the order in which they were written.

    Raises:
      ExportError: There are no Parquet files, a file is damaged or not of an export, the folder does not hold all files
        of one export, or pyarrow is not installed.
      ContractError: This version would tokenize differently, or two files of the folder have different contracts.
    """
    files = _files(pathlib.Path(path))
    contract = read_contract(files[0])
    for file in files:
        contract.require_equal(read_contract(file), str(file))
        with _opened(file) as parquet:
            patch_shape = _metadata(parquet, file, "patch_shape")
            for batch in parquet.iter_batches(batch_size=64):
                yield from (tokens_of_row(row, patch_shape) for row in batch.to_pylist())


def read_contract(path: str | pathlib.Path) -> Contract:
    """Return the contract of the rows of a file, or of a folder's first file. Raises the errors of `read_rows`."""
    file = _files(pathlib.Path(path))[0]
    with _opened(file) as parquet:
        return Contract.from_json(_metadata(parquet, file, "contract"), str(file))


def tokens_of_row(row: Mapping[str, Any], patch_shape: Iterable[int]) -> TokenSequence:
    """Return a row, as any reader of Parquet gives it, as a sequence of one segment without a prompt.

    Args:
      row: {column: value} with all of `COLUMNS`, lists or arrays as values.
      patch_shape: (p, p, 3) as in the metadata; (0, 0, 0) for a task without patches.
    """
    per_token = {}
    for name, field in PER_TOKEN.items():
        if elements := [np.asarray(row[column], field.dtype) for column in field.columns]:
            per_token[name] = np.stack(elements, axis=-1).reshape(-1, *field.shape)
    slots = np.asarray(row["patch_slots"], np.int32)
    return TokenSequence.from_arrays(
        **per_token,
        patches=np.frombuffer(b"".join(row["patches"]), np.uint8).reshape(len(slots), *patch_shape),
        patch_slots=slots,
        patch_intervals=np.asarray(row["patch_intervals"], np.int32).reshape(len(slots), 4),
    )


def _row_groups(rows: Iterable[Row]) -> Iterator[list[Row]]:
    group, held = [], 0
    for row in rows:
        group.append(row)
        held += sum(getattr(row.tokens, name).nbytes for name in (*PER_TOKEN, *PER_PATCH))
        if held >= ROW_GROUP_BYTES:
            yield group
            group, held = [], 0
    if group:
        yield group


def _schema(metadata: Mapping[str, Any]) -> Any:
    import pyarrow as pa

    types = dict.fromkeys(("episode", "first_step", "steps"), pa.int32())
    for field in PER_TOKEN.values():
        types |= dict.fromkeys(field.columns, pa.list_(pa.from_numpy_dtype(field.dtype)))
    types |= {"patches": pa.list_(pa.binary()), "patch_slots": pa.list_(pa.int32())}
    types |= {"patch_intervals": pa.list_(pa.list_(pa.int32(), 4))}
    texts = {METADATA + name: json.dumps(value) for name, value in metadata.items()}
    return pa.schema([pa.field(name, types[name], nullable=False) for name in COLUMNS], metadata=texts)


def _table(rows: list[Row], schema: Any) -> Any:
    """Return rows as one Arrow table of the schema, each column made from the arrays without a copy for each row."""
    import pyarrow as pa

    tokens = [row.tokens for row in rows]
    token_ends, patch_ends = (np.cumsum([0, *map(len, lists)]) for lists in (tokens, [t.patch_slots for t in tokens]))

    def lists(ends: np.ndarray, values: Any) -> Any:
        return pa.ListArray.from_arrays(pa.array(ends, pa.int32()), values)

    def joined(name: str) -> np.ndarray:
        return np.concatenate([getattr(sequence, name) for sequence in tokens])

    columns = {name: pa.array([getattr(row, name) for row in rows]) for name in ("episode", "first_step", "steps")}
    for name, field in PER_TOKEN.items():
        if field.columns:
            elements = joined(name).reshape(token_ends[-1], -1).T
            for column, values in zip(field.columns, elements, strict=True):
                columns[column] = lists(token_ends, pa.array(np.ascontiguousarray(values)))
    intervals = pa.array(joined("patch_intervals").reshape(-1))
    columns["patches"] = lists(patch_ends, _binaries(joined("patches")))
    columns["patch_slots"] = lists(patch_ends, pa.array(joined("patch_slots")))
    columns["patch_intervals"] = lists(patch_ends, pa.FixedSizeListArray.from_arrays(intervals, 4))
    return pa.table([columns[name].cast(schema.field(name).type) for name in COLUMNS], schema=schema)


def _binaries(patches: np.ndarray) -> Any:
    """Return (P, p, p, C) uint8 as an Arrow array of P byte strings."""
    import pyarrow as pa

    if not len(patches):
        return pa.array([], pa.binary())
    fixed = pa.binary(patches[0].nbytes)
    content = pa.py_buffer(np.ascontiguousarray(patches))
    return pa.FixedSizeBinaryArray.from_buffers(fixed, len(patches), [None, content]).cast(pa.binary())


def _files(path: pathlib.Path) -> list[pathlib.Path]:
    """Return the file itself as a list of one, or all Parquet files of a folder, sorted by name.

    Raises:
      ExportError: There is no file; the number of files is not the one that ends the name of the first; or pyarrow is
        not installed.
    """
    require_pyarrow()
    if path.is_file():
        return [path]
    files = sorted(path.glob("*.parquet"))
    if not files:
        raise ExportError(f"{path}: no Parquet files; export a dataset there with `gato export --format=parquet`")
    numbered = re.fullmatch(r".*-of-(\d+)", files[0].stem)
    if numbered is None or int(numbered[1]) != len(files):
        raise ExportError(f"{path}: holds {len(files)} Parquet files, not those of one export; export again")
    return files


@contextlib.contextmanager
def _opened(file: pathlib.Path) -> Iterator[Any]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            yield parquet
    except (pa.ArrowException, OSError) as error:
        raise ExportError(f"{file}: cannot be read ({error}); copy it again or export again") from error


def _metadata(parquet: Any, file: pathlib.Path, name: str) -> Any:
    texts = parquet.metadata.metadata or {}
    if (key := (METADATA + name).encode()) not in texts:
        raise ExportError(f"{file}: has no {METADATA}{name} in its metadata, so it is no export; name another")
    return json.loads(texts[key])
