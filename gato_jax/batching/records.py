"""Token records: the timesteps of a dataset, tokenized once, for random access by the loader.

RLDS episodes are the canonical form, but a record of theirs is a whole episode; a window of a few steps would read all
of it. Here a record is a chunk of a few timesteps, so that a row reads what it holds and little else.

    DIR/steps.array_record     a chunk a record
    DIR/index_*.npy            steps of each episode; tokens, patches and targets of each step
    DIR/meta.json              contract, provenances, fingerprint of the episodes; written last
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from gato_jax.batching.chunks import chunks_of, pack, unpack
from gato_jax.batching.record_index import RecordIndex, RecordIndexError, StepMaxima
from gato_jax.episodes import Episode, Image, Provenance, TaskSpec
from gato_jax.tokenization import Contract, Tokenization, TokenSequence, measure_action_limits
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.sequence import concatenate

SCHEMA = 5


class RecordsError(ValueError):
    """Token records that are missing, damaged or of another contract; the message names the folder and the remedy."""


def write_records(
    directory: pathlib.Path,
    spec: TaskSpec,
    episodes: Iterable[Episode],
    fingerprint: str,
    tokenization: Tokenization,
    image_tokenizer: ImageTokenizer | None = None,
) -> TokenRecords:
    """Tokenizes `episodes` into `directory`; records that are there already and fit are kept.

    They fit when schema, contract and `fingerprint`, that of the dataset the episodes come from, are the same. Where
    actions are scaled by the data, the episodes are read twice.

    Raises:
      RecordsError: there are no episodes, one has no step at which an action was taken, or images are to be predicted
        further ahead than any episode is long.
      TokenizationError: a value has no exact token; it names episode, step and key.
    """
    contract = Contract.of(tokenization, [spec])
    if _fits(_meta(directory), contract, fingerprint):
        return TokenRecords.open(directory)
    if tokenization.actions == "rt_2":
        contract = Contract.of(tokenization, [spec], {spec.name: measure_action_limits(spec, episodes)})
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    layout = contract.layout(spec.name, image_tokenizer)
    counts, chunks, provenances, whose = [], [], {}, []
    writer = array_record_module.ArrayRecordWriter(str(partial / "steps.array_record"), "group_size:1,uncompressed")
    for number, episode in enumerate(episodes):
        steps = layout.encode_timesteps(episode, number)
        if not steps:
            raise RecordsError(f"{spec.name}: episode {number} holds no action that was taken; filter it out")
        for count, chunk in chunks_of(steps):
            writer.write(pack(chunk))
            chunks.append(count)
        whose.append(provenances.setdefault(episode.provenance, len(provenances)))
        sizes = [(len(step), len(step.patch_slots), int(step.loss_mask.sum())) for step in steps]
        counts.append(np.array(sizes, np.int32).T)
    writer.close()
    if not counts:
        raise RecordsError(f"{spec.name}: no episodes to tokenize; record or convert some first")
    _require_image_targets(spec, tokenization, max(episode.shape[1] for episode in counts))
    index = RecordIndex.of(counts, chunks, whose)
    meta = {
        "schema": SCHEMA, "fingerprint": fingerprint, "contract": contract.to_json(),
        "provenances": [dataclasses.asdict(provenance) for provenance in provenances],
        "maxima": dataclasses.asdict(index.maxima), "index": index.write(partial),
    }  # fmt: skip
    (partial / "meta.json").write_text(json.dumps(meta))
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    return TokenRecords.open(directory)


def _require_image_targets(spec: TaskSpec, tokenization: Tokenization, longest: int):
    """That images which are to be predicted some steps ahead are so at one step at least."""
    ahead = tokenization.image_ahead
    if ahead is None or longest > ahead or not any(isinstance(m, Image) for m in spec.observation.values()):
        return
    raise RecordsError(
        f"{spec.name}: tokenization.image_ahead is {ahead}, but its longest episode has {longest} steps, so no image "
        f"is ever a target; set it below {longest}, or leave it out so that images are not predicted"
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenRecords:
    """Random access to the tokenized timesteps of one dataset.

    Attributes:
      fingerprint: of the dataset they were made from.
      provenances: all that its episodes have.
      index: of its episodes and timesteps.
      maxima: what its largest timestep has.
    """

    directory: pathlib.Path
    contract: Contract
    fingerprint: str
    provenances: tuple[Provenance, ...]
    index: RecordIndex
    maxima: StepMaxima

    @classmethod
    def open(cls, directory: pathlib.Path) -> TokenRecords:
        """What `write_records` wrote.

        Raises:
          RecordsError: there is none of this version, or it is damaged; it names the folder.
          ContractError: this version would tokenize otherwise.
        """
        meta = _meta(directory)
        if meta is None:
            raise RecordsError(f"no token records of this version in {directory}; tokenize the dataset again")
        contract = Contract.from_json(meta.contract, str(directory))
        if len(contract.tasks) != 1:
            raise RecordsError(
                f"{directory}/meta.json names {len(contract.tasks)} tasks, not one; delete the folder to tokenize again"
            )
        try:
            index = RecordIndex.open(directory, meta.index)
        except RecordIndexError as error:
            raise RecordsError(f"{error}; delete the folder {directory} to tokenize again") from None
        records = cls(
            directory=directory, contract=contract, fingerprint=meta.fingerprint, provenances=meta.provenances,
            index=index, maxima=meta.maxima,
        )  # fmt: skip
        if (count := records._reader.num_records()) != (indexed := len(index.chunk_first)):
            raise RecordsError(
                f"{directory}: {count} records, {indexed} in the index; delete the folder to tokenize again"
            )
        return records

    @property
    def spec(self) -> TaskSpec:
        return next(iter(self.contract.tasks.values()))

    @property
    def episodes(self) -> int:
        return len(self.index.episode_steps)

    @property
    def steps(self) -> int:
        return len(self.index.step_tokens)

    @property
    def tokens(self) -> int:
        return int(self.index.first_token[-1] + self.index.step_tokens[-1])

    @property
    def provenance_counts(self) -> dict[Provenance, int]:
        """How many episodes are of each provenance."""
        counts = np.bincount(self.index.episode_provenance, minlength=len(self.provenances))
        return dict(zip(self.provenances, counts.tolist(), strict=True))

    def episode_of(self, step: int) -> int:
        """The number of the episode that a step belongs to."""
        return int(np.searchsorted(self.index.first_step, step, side="right")) - 1

    def last_step(self, episode: int) -> int:
        """The index of an episode's last step."""
        return int(self.index.first_step[episode] + self.index.episode_steps[episode]) - 1

    def another_episode(self, episode: int, rng: np.random.Generator) -> int | None:
        """Any other episode in which the same agent acted, None where there is none."""
        if self._by_agent is None:
            if self.episodes == 1:
                return None
            return (episode + 1 + int(rng.integers(self.episodes - 1))) % self.episodes
        peers = self._by_agent[self.provenances[int(self.index.episode_provenance[episode])].agent]
        if len(peers) == 1:
            return None
        place = int(np.searchsorted(peers, episode)) + 1 + int(rng.integers(len(peers) - 1))
        return int(peers[place % len(peers)])

    @functools.cached_property
    def _by_agent(self) -> dict[str, np.ndarray] | None:
        """The episodes of each agent in order, None where all are of one."""
        agents = [provenance.agent for provenance in self.provenances]
        if len(set(agents)) == 1:
            return None
        return {
            agent: np.flatnonzero(
                np.isin(self.index.episode_provenance, [i for i, a in enumerate(agents) if a == agent])
            )
            for agent in set(agents)
        }

    @functools.cached_property
    def _reader(self):
        path = self.directory / "steps.array_record"
        try:
            return array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
        except Exception as error:  # the binding raises RuntimeError and others for what is wrong with the file
            raise RecordsError(f"{path} cannot be read ({error}); delete its folder to tokenize again") from None

    def read(self, windows: Sequence[tuple[int, int]]) -> list[TokenSequence]:
        """The tokens of each window, timesteps [start, stop) of one episode."""
        starts, index = self.index.first_token, self.index
        spans = [self._chunks(start, stop) for start, stop in windows]
        wanted = sorted({chunk for span in spans for chunk in span})
        chunks = dict(zip(wanted, map(unpack, self._reader.read(wanted)), strict=True))
        read = []
        for (start, stop), span in zip(windows, spans, strict=True):
            first, last = int(starts[start]), int(starts[stop - 1] + index.step_tokens[stop - 1])
            offsets = [int(starts[index.chunk_first[chunk]]) for chunk in span]
            read.append(
                concatenate(
                    [chunks[c].slice(max(first - at, 0), last - at) for c, at in zip(span, offsets, strict=True)]
                )
            )
        return read

    def timesteps(self, start: int, stop: int) -> list[TokenSequence]:
        """Timesteps [start, stop) of one episode, one by one."""
        (tokens,) = self.read([(start, stop)])
        ends = np.cumsum(self.index.step_tokens[start:stop])
        return [tokens.slice(int(a), int(b)) for a, b in zip([0, *ends], ends, strict=False)]

    def _chunks(self, start: int, stop: int) -> range:
        """The numbers of the chunks that hold timesteps [start, stop)."""
        first, last = np.searchsorted(self.index.chunk_first, (start, stop - 1), side="right")
        return range(int(first) - 1, int(last))


class _Meta(NamedTuple):
    """meta.json of this schema."""

    fingerprint: str
    contract: dict[str, Any]
    provenances: tuple[Provenance, ...]
    maxima: StepMaxima
    index: dict[str, Any]


def _meta(directory: pathlib.Path) -> _Meta | None:
    """What is written last, None where it is missing, torn, damaged or of another schema."""
    try:
        fields = json.loads((directory / "meta.json").read_text())
        if fields["schema"] != SCHEMA or not isinstance(fields["fingerprint"], str):
            return None
        provenances = tuple(Provenance(**provenance) for provenance in fields["provenances"])
        if not provenances:
            return None
        maxima = StepMaxima(**fields["maxima"])
        return _Meta(fields["fingerprint"], {**fields["contract"]}, provenances, maxima, {**fields["index"]})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _fits(meta: _Meta | None, contract: Contract, fingerprint: str) -> bool:
    """Whether records were made of these episodes under this contract; measured limits follow from both."""
    if meta is None or meta.fingerprint != fingerprint:
        return False
    return {**meta.contract, "action_limits": {}} == contract.to_json()
