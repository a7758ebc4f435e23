"""Token records: the timesteps of a dataset, tokenized once, for random access by the loader.

RLDS episodes are the canonical form, but a record of theirs is a whole episode; a window of a few steps would read all
of it. Here one record is one timestep, so that a row reads what it holds and nothing else.

    DIR/steps.array_record     one timestep a record
    DIR/index.npz              steps of each episode; tokens, patches and targets of each step
    DIR/meta.json              contract, fingerprint of the episodes, counts; written last
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import msgpack
import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]

from gato_jax.episodes import Episode, Image, Provenance, TaskSpec
from gato_jax.tokenization import Contract, Tokenization, TokenSequence, measure_action_limits
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.sequence import PER_PATCH, PER_TOKEN

SCHEMA = 3


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
    lengths, counts, provenance = [], [], {}
    writer = array_record_module.ArrayRecordWriter(str(partial / "steps.array_record"), "group_size:1,uncompressed")
    for number, episode in enumerate(episodes):
        steps = layout.encode_timesteps(episode, number)
        if not steps:
            raise RecordsError(f"{spec.name}: episode {number} holds no action that was taken; filter it out")
        for step in steps:
            writer.write(_pack(step))
        lengths.append(len(steps))
        provenance = provenance or dataclasses.asdict(episode.provenance)
        counts += [(len(step), len(step.patch_slots), step.loss_mask.sum()) for step in steps]
    writer.close()
    if not lengths:
        raise RecordsError(f"{spec.name}: no episodes to tokenize; record or convert some first")
    _require_image_targets(spec, tokenization, max(lengths))
    tokens, patches, targets = np.array(counts, np.int32).T
    np.savez(
        partial / "index.npz", episode_steps=np.array(lengths, np.int32),
        step_tokens=tokens, step_patches=patches, step_targets=targets,
    )  # fmt: skip
    meta = {"schema": SCHEMA, "fingerprint": fingerprint, "contract": contract.to_json(), "provenance": provenance}
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


@dataclasses.dataclass(frozen=True, eq=False)
class TokenRecords:
    """Random access to the tokenized timesteps of one dataset.

    Attributes:
      fingerprint: of the dataset they were made from.
      provenance: of its first episode.
      episode_steps: (E,) steps of each episode.
      step_tokens, step_patches, step_targets: (S,) of each step, episodes one after the other.
    """

    directory: pathlib.Path
    contract: Contract
    fingerprint: str
    provenance: Provenance
    episode_steps: np.ndarray
    step_tokens: np.ndarray
    step_patches: np.ndarray
    step_targets: np.ndarray

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
        contract, index = Contract.from_json(meta.contract, str(directory)), _index(directory)
        if len(contract.tasks) != 1:
            raise RecordsError(
                f"{directory}/meta.json names {len(contract.tasks)} tasks, not one; delete the folder to tokenize again"
            )
        records = cls(directory, contract, meta.fingerprint, meta.provenance, **index)
        count = records._reader.num_records()
        expected = {name: int(array.sum() if name == "episode_steps" else len(array)) for name, array in index.items()}
        for name, steps in expected.items():
            if steps != count:
                raise RecordsError(
                    f"{directory}: {count} records, but {name} of index.npz is of {steps} steps; delete the folder to "
                    "tokenize again"
                )
        return records

    @property
    def spec(self) -> TaskSpec:
        return next(iter(self.contract.tasks.values()))

    @functools.cached_property
    def first_step(self) -> np.ndarray:
        """(E,) index of each episode's first step."""
        return np.cumsum(self.episode_steps) - self.episode_steps

    @functools.cached_property
    def first_token(self) -> np.ndarray:
        """(S,) index of each step's first token, counted over the whole dataset."""
        return np.cumsum(self.step_tokens, dtype=np.int64) - self.step_tokens

    def episode_of(self, step: int) -> int:
        """The number of the episode that a step belongs to."""
        return int(np.searchsorted(self.first_step, step, side="right")) - 1

    def last_step(self, episode: int) -> int:
        """The index of an episode's last step."""
        return int(self.first_step[episode] + self.episode_steps[episode]) - 1

    @functools.cached_property
    def _reader(self):
        path = self.directory / "steps.array_record"
        try:
            return array_record_module.ArrayRecordReader(str(path), "readahead_buffer_size:0")
        except Exception as error:  # the binding raises RuntimeError and others for what is wrong with the file
            raise RecordsError(f"{path} cannot be read ({error}); delete its folder to tokenize again") from None

    def read(self, steps: Sequence[int]) -> list[TokenSequence]:
        """The timesteps of these indices."""
        return [_unpack(data) for data in self._reader.read(list(map(int, steps)))]


class _Meta(NamedTuple):
    """meta.json of this schema."""

    fingerprint: str
    contract: dict[str, Any]
    provenance: Provenance


def _meta(directory: pathlib.Path) -> _Meta | None:
    """What is written last, None where it is missing, torn, damaged or of another schema."""
    try:
        fields = json.loads((directory / "meta.json").read_text())
        if fields["schema"] != SCHEMA or not isinstance(fields["fingerprint"], str):
            return None
        return _Meta(fields["fingerprint"], {**fields["contract"]}, Provenance(**fields["provenance"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _index(directory: pathlib.Path) -> dict[str, np.ndarray]:
    """The arrays of index.npz, each of one axis of whole numbers."""
    names = ("episode_steps", "step_tokens", "step_patches", "step_targets")
    try:
        with (directory / "index.npz").open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            index = {name: arrays[name] for name in names}
        if wrong := [name for name, array in index.items() if array.ndim != 1 or array.dtype.kind not in "iu"]:
            raise ValueError(f"{wrong[0]} is not of one axis of whole numbers")
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise RecordsError(f"{directory}/index.npz: {error}; delete the folder to tokenize again") from None
    return index


def _fits(meta: _Meta | None, contract: Contract, fingerprint: str) -> bool:
    """Whether records were made of these episodes under this contract; measured limits follow from both."""
    if meta is None or meta.fingerprint != fingerprint:
        return False
    return {**meta.contract, "action_limits": {}} == contract.to_json()


_DTYPES = {"loss_mask": np.bool_, "prompt_mask": np.bool_, "patches": np.uint8}
# Known without being stored: every token of a timestep is of one segment and of no prompt until a row says otherwise.
_STORED = [name for name in (*PER_TOKEN, *PER_PATCH) if name not in ("segment_ids", "prompt_mask")]


def _pack(step: TokenSequence) -> bytes:
    arrays = [getattr(step, name) for name in _STORED]
    return cast(bytes, msgpack.packb([(array.shape, array.tobytes()) for array in arrays]))


def _unpack(data: bytes) -> TokenSequence:
    arrays = {
        name: np.frombuffer(raw, _DTYPES.get(name, np.int32)).reshape(shape)
        for name, (shape, raw) in zip(_STORED, msgpack.unpackb(data), strict=True)
    }
    length = len(arrays["token_ids"])
    return TokenSequence(**arrays, segment_ids=np.ones(length, np.int32), prompt_mask=np.zeros(length, bool))
