"""Token records: the timesteps of one dataset, tokenized once, for random access by the loader.

RLDS episodes are the canonical form of the data, but a record of theirs is a whole episode, and a window of a few steps
would read all of it. A token record is a chunk of a few timesteps, so a row reads little more than it holds.

    DIR/steps-00000.array_record    one chunk for each record, in shards of whole episodes
    DIR/index_*.npy                 steps of each episode; tokens, patches and targets of each step
    DIR/meta.json                   contract, provenances, fingerprint of the episodes, checksums; written last
    DIR/damaged                     in the cache: a record was found damaged, so the next run makes all records again
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import pathlib
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]
from jaxtyping import Bool

from gato_jax.batching.chunks import LAYOUT, unpack
from gato_jax.batching.record_files import FileState, RecordFileError, check_file
from gato_jax.batching.record_index import RecordIndex, StepMaxima
from gato_jax.episodes import Provenance, TaskSpec
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.tokenization import Contract, TokenSequence
from gato_jax.tokenization.sequence import concatenate

SCHEMA = 7
META_FILE = "meta.json"
DAMAGED_FILE = "damaged"


class RecordsError(ValueError):
    """Token records that are missing, damaged or of another version, or that cannot be made from the episodes.

    The message names the folder, or the task if records cannot be made, and the remedy. Records of this version that
    were tokenized under another contract raise ContractError instead.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class RecordsMeta:
    """The content of meta.json.

    Attributes:
      schema: Version of the format.
      layout: Names and dtypes of the arrays of a record.
      fingerprint: Fingerprint of the dataset that the records were made from.
      contract: The contract as JSON.
      provenances: The distinct provenances of the episodes, at least one.
      maxima: Maxima over all timesteps.
      files: {name: state} of all other files.
      shards: Number of records of each shard.
      origin: Description of the dataset that the records were made from, for people.

    Raises:
      ValueError: `schema` or `layout` is not that of this version, or there are no provenances.
    """

    schema: int
    layout: tuple[str, ...]
    fingerprint: str
    contract: Mapping[str, Any]
    provenances: tuple[Provenance, ...]
    maxima: StepMaxima
    files: Mapping[str, FileState]
    shards: tuple[int, ...]
    origin: str = ""

    def __post_init__(self):
        if (self.schema, self.layout) != (SCHEMA, LAYOUT) or not self.provenances:
            raise ValueError(f"schema is {self.schema}, expected {SCHEMA}, with {LAYOUT} and at least one provenance")

    @classmethod
    def read(cls, directory: pathlib.Path) -> RecordsMeta | None:
        """Return the content of meta.json in a folder, None if it is missing, damaged or of another version."""
        try:
            content = json.loads((directory / META_FILE).read_text())
            if not isinstance(content, dict) or content.pop("checksum", None) != _checksum_of_meta(content):
                return None
            return DataclassReader().read(cls, content, META_FILE)
        except (OSError, ValueError):
            return None


def write_meta(directory: pathlib.Path, fields: Mapping[str, Any]):
    """Write meta.json, with a checksum of all its content; `fields` are those of RecordsMeta as JSON."""
    content = json.loads(json.dumps(fields))
    (directory / META_FILE).write_text(json.dumps({**content, "checksum": _checksum_of_meta(content)}))


def _checksum_of_meta(content: Mapping[str, Any]) -> int:
    return zlib.crc32(json.dumps(content, sort_keys=True).encode())


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenRecords:
    """Random access to the tokenized timesteps of one dataset.

    Methods count timesteps over the whole dataset, one episode after the other, and do not check whether they are in
    range.

    Attributes:
      directory: The folder of the records.
      contract: The contract that they were tokenized under, of one task.
      fingerprint: Fingerprint of the dataset that they were made from.
      provenances: The distinct provenances of its episodes.
      index: Index of its episodes and timesteps.
      maxima: Maxima over its timesteps.
      shards: Number of records of each shard.
      cached: Whether the folder is an entry of the cache, which is made again when it is damaged.
      chunk_numbers: (C,) number in the folder of each chunk of the index; None if the index has all chunks.
    """

    directory: pathlib.Path
    contract: Contract
    fingerprint: str
    provenances: tuple[Provenance, ...]
    index: RecordIndex
    maxima: StepMaxima
    shards: tuple[int, ...]
    cached: bool = False
    chunk_numbers: np.ndarray | None = None

    @classmethod
    def open(cls, directory: pathlib.Path, *, verify_index: bool = False, cached: bool = False) -> TokenRecords:
        """Open the records in a folder.

        The size of each file is compared with the one in meta.json. The records are not read: each has a checksum,
        which is verified when it is read.

        Args:
          directory: The folder.
          verify_index: Whether to compute the checksum of every index file. By default, it is computed only of a file
            whose time differs from the one in meta.json, so that decay of the disk is not seen.
          cached: Whether the folder is an entry of the cache.

        Raises:
          RecordsError: The folder has no readable meta.json of this version, a file is missing or was changed, or the
            records are of more than one task.
          ContractError: This version would tokenize differently.
        """
        meta = RecordsMeta.read(directory)
        if meta is None:
            raise RecordsError(
                f"no token records of this version in {directory}; tokenize the dataset again, because {META_FILE} is "
                "missing, damaged or of another version"
            )
        contract = Contract.from_json(meta.contract, str(directory))
        if len(contract.tasks) != 1:
            raise RecordsError(
                f"{directory}/{META_FILE} names {len(contract.tasks)} tasks, not one; delete the folder to tokenize "
                "again"
            )
        try:
            for number in range(len(meta.shards)):
                path = shard_path(directory, number)
                check_file(path, meta.files.get(path.name))
            index = RecordIndex.open(directory, meta.files, verify=verify_index)
        except RecordFileError as error:
            raise RecordsError(f"{error}; delete the folder {directory} to tokenize again") from None
        return cls(
            directory=directory, contract=contract, fingerprint=meta.fingerprint, provenances=meta.provenances,
            index=index, maxima=meta.maxima, shards=meta.shards, cached=cached,
        )  # fmt: skip

    @property
    def spec(self) -> TaskSpec:
        """The task of all episodes."""
        return next(iter(self.contract.tasks.values()))

    @property
    def episodes(self) -> int:
        """Number of episodes."""
        return len(self.index.episode_steps)

    @property
    def steps(self) -> int:
        """Number of timesteps."""
        return len(self.index.step_tokens)

    @property
    def tokens(self) -> int:
        """Number of tokens of all episodes together."""
        return int(self.index.first_token[-1] + self.index.step_tokens[-1])

    @property
    def provenance_counts(self) -> dict[Provenance, int]:
        """{provenance: number of its episodes}, in the order of `provenances`."""
        counts = np.bincount(self.index.episode_provenance, minlength=len(self.provenances))
        return dict(zip(self.provenances, counts.tolist(), strict=True))

    def episode_of(self, step: int) -> int:
        """Return the index of the episode that a timestep, counted over the whole dataset, belongs to."""
        return int(np.searchsorted(self.index.first_step, step, side="right")) - 1

    def last_step(self, episode: int) -> int:
        """Return the index of the last timestep of an episode, counted over the whole dataset."""
        return int(self.index.first_step[episode] + self.index.episode_steps[episode]) - 1

    def another_episode(self, episode: int, rng: np.random.Generator) -> int | None:
        """Return the index of another episode with the same `Provenance.agent`; None if no other episode has it.

        The episode is drawn uniformly. The agent is the one that acted in the episode, not the model.
        """
        if self._by_agent is None:
            if self.episodes == 1:
                return None
            return (episode + 1 + int(rng.integers(self.episodes - 1))) % self.episodes
        peers = self._by_agent[self.provenances[int(self.index.episode_provenance[episode])].agent]
        if len(peers) == 1:
            return None
        place = int(np.searchsorted(peers, episode)) + 1 + int(rng.integers(len(peers) - 1))
        return int(peers[place % len(peers)])

    def has_another_episode(self, episode: int) -> bool:
        """Return True if another episode has the same `Provenance.agent`, so that `another_episode` finds one."""
        if self._by_agent is None:
            return self.episodes > 1
        return len(self._by_agent[self.provenances[int(self.index.episode_provenance[episode])].agent]) > 1

    @functools.cached_property
    def _by_agent(self) -> dict[str, np.ndarray] | None:
        """{Provenance.agent: indices of its episodes, ascending}, None if all episodes are of one agent."""
        agents = [provenance.agent for provenance in self.provenances]
        if len(set(agents)) == 1:
            return None
        return {
            agent: np.flatnonzero(
                np.isin(self.index.episode_provenance, [i for i, a in enumerate(agents) if a == agent])
            )
            for agent in set(agents)
        }

    def select_episodes(self, kept: Bool[np.ndarray, " E"]) -> TokenRecords:
        """Return the records of the episodes where `kept` is True, at least one, numbered anew from 0.

        The files are those of all episodes. Only the index is another one, which is held in memory.
        """
        index = self.index
        steps = np.repeat(kept, index.episode_steps)
        chunk_steps = np.diff(index.chunk_first, append=self.steps)
        chunks = steps[index.chunk_first]
        numbers = np.arange(len(chunks)) if self.chunk_numbers is None else self.chunk_numbers
        owners, provenances = np.unique(index.episode_provenance[kept], return_inverse=True)
        sizes = np.stack([index.step_tokens, index.step_patches, index.step_targets])
        selected = RecordIndex.build(sizes[:, steps], index.episode_steps[kept], chunk_steps[chunks], provenances)
        content = f"{self.fingerprint} {np.flatnonzero(kept).tolist()}"
        return dataclasses.replace(
            self,
            fingerprint=hashlib.sha256(content.encode()).hexdigest()[:16],
            provenances=tuple(self.provenances[number] for number in owners),
            index=selected,
            maxima=selected.maxima,
            chunk_numbers=numbers[chunks],
        )

    def read(self, windows: Sequence[tuple[int, int]]) -> list[TokenSequence]:
        """Return the tokens of each window, in the given order.

        Args:
          windows: (start, stop) of each: timesteps [start, stop), at least one, all of one episode and counted over the
            whole dataset.

        Raises:
          RecordsError: A record is damaged, or does not have the number of tokens that the index says.
        """
        starts, index = self.index.first_token, self.index
        spans = [self._chunk_span(start, stop) for start, stop in windows]
        chunks = self._read_chunks(sorted({chunk for span in spans for chunk in span}))
        sequences = []
        for (start, stop), span in zip(windows, spans, strict=True):
            first, last = int(starts[start]), int(starts[stop - 1] + index.step_tokens[stop - 1])
            offsets = [int(starts[index.chunk_first[chunk]]) for chunk in span]
            sequences.append(
                concatenate(
                    [chunks[c].slice(max(first - at, 0), last - at) for c, at in zip(span, offsets, strict=True)]
                )
            )
        return sequences

    def timesteps(self, start: int, stop: int) -> list[TokenSequence]:
        """Return timesteps [start, stop) of one episode, counted as in `read`, as one sequence each."""
        (tokens,) = self.read([(start, stop)])
        ends = np.cumsum(self.index.step_tokens[start:stop])
        return [tokens.slice(int(a), int(b)) for a, b in zip([0, *ends], ends, strict=False)]

    def verify(self):
        """Read all records, and compare the sizes of all files and the checksums of the index files with meta.json.

        Raises:
          RecordsError: A file is missing or was changed, or a record is damaged.
        """
        meta = RecordsMeta.read(self.directory)
        try:
            for name, state in (meta.files if meta else {}).items():
                check_file(self.directory / name, state, always=True)
        except RecordFileError as error:
            raise RecordsError(f"{error}; delete the folder {self.directory} to tokenize again") from None
        for chunk in range(len(self.index.chunk_first)):
            self._read_chunks([chunk])

    def _chunk_span(self, start: int, stop: int) -> range:
        """Return the indices, over all shards, of the chunks that hold timesteps [start, stop)."""
        first, last = np.searchsorted(self.index.chunk_first, (start, stop - 1), side="right")
        return range(int(first) - 1, int(last))

    def _read_chunks(self, wanted: Sequence[int]) -> dict[int, TokenSequence]:
        """Return {index of the chunk: tokens} of the wanted chunks.

        Raises:
          RecordsError: A record cannot be read or does not have the number of tokens that the index says, or a shard
            does not have the number of records in meta.json.
        """
        chunks: dict[int, TokenSequence] = {}
        by_shard: dict[int, dict[int, int]] = {}
        stored = wanted if self.chunk_numbers is None else self.chunk_numbers[list(wanted)].tolist()
        shards = np.searchsorted(self._shard_ends, stored, side="right").tolist()
        for chunk, number, shard in zip(wanted, stored, shards, strict=True):
            by_shard.setdefault(shard, {})[chunk] = number
        for shard, numbers in by_shard.items():
            first = int(self._shard_ends[shard - 1]) if shard else 0
            reader = self._reader(shard)
            try:
                records = reader.read([number - first for number in numbers.values()])
            except (RuntimeError, ValueError, IndexError) as error:
                raise self._damaged(shard_path(self.directory, shard), str(error)) from None
            chunks |= dict(zip(numbers, map(unpack, records), strict=True))
        for chunk, tokens in chunks.items():
            first, last = self._steps_of_chunk(chunk)
            if int(self.index.step_tokens[first:last].sum()) != len(tokens):
                raise self._damaged(self.directory, f"chunk {chunk} has not as many tokens as the index says")
        return chunks

    def _steps_of_chunk(self, chunk: int) -> tuple[int, int]:
        last = chunk + 1 == len(self.index.chunk_first)
        return int(self.index.chunk_first[chunk]), self.steps if last else int(self.index.chunk_first[chunk + 1])

    @functools.cached_property
    def _shard_ends(self) -> np.ndarray:
        """(shards,) number of chunks from the beginning of the dataset to the end of each shard."""
        return np.cumsum(self.shards)

    @functools.cached_property
    def _readers(self) -> dict[int, Any]:
        """{number of the shard: its open reader} of the shards that were read so far."""
        return {}

    def _reader(self, shard: int) -> Any:
        if (reader := self._readers.get(shard)) is None:
            path = shard_path(self.directory, shard)
            try:
                reader = array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
                count = reader.num_records()
            except Exception as error:  # the binding raises RuntimeError and others for what is wrong with the file
                raise self._damaged(path, str(error)) from None
            if count != self.shards[shard]:
                raise self._damaged(path, f"{count} records, {self.shards[shard]} in the index")
            self._readers[shard] = reader
        return reader

    def _damaged(self, path: pathlib.Path, problem: str) -> RecordsError:
        """Return the error of a damaged record, after marking an entry of the cache to be made again."""
        remedy = f"delete the folder {self.directory} to tokenize the dataset again"
        if self.cached:
            try:
                (self.directory / DAMAGED_FILE).touch()
                remedy = "run again, which tokenizes the dataset again"
            except OSError:
                pass  # a cache that cannot be written: the folder is to be deleted by whoever may
        return RecordsError(f"{path} cannot be read ({problem}); {remedy}")


def shard_path(directory: pathlib.Path, number: int) -> pathlib.Path:
    """Return the path of the ArrayRecord file of shard `number`: steps-00000.array_record for 0."""
    return directory / f"steps-{number:05d}.array_record"
