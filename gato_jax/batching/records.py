"""Token records: the timesteps of a dataset, tokenized once, for random access by the loader.

RLDS episodes are the canonical form, but a record of theirs is a whole episode; a window of a few steps would read all
of it. Here one record is one timestep, so that a row reads what it holds and nothing else.

    DIR/steps.array_record     one timestep a record
    DIR/index.npz              steps of each episode; tokens and patches of each step
    DIR/meta.json              contract, fingerprint of the episodes, counts; written last
"""

from __future__ import annotations

import dataclasses
import functools
import json
import pathlib
import shutil
from collections.abc import Iterable, Sequence

import msgpack
import numpy as np
from array_record.python import array_record_module

from gato_jax.episodes import Episode, TaskSpec
from gato_jax.tokenization import Contract, Layout, Tokenization, TokenSequence
from gato_jax.tokenization.sequence import PER_PATCH, PER_TOKEN

SCHEMA = 1


class RecordsError(ValueError):
    """Token records that are missing, damaged or of another contract; the message names the folder and the remedy."""


def write_records(
    directory: pathlib.Path, spec: TaskSpec, episodes: Iterable[Episode], fingerprint: str, tokenization: Tokenization
) -> TokenRecords:
    """Tokenizes `episodes` into `directory`; records that are there already and fit are kept.

    Args:
      fingerprint: of the dataset the episodes come from.
    """
    contract = Contract.of(tokenization, [spec])
    wanted = {"schema": SCHEMA, "fingerprint": fingerprint, "contract": contract.to_json()}
    if (directory / "meta.json").exists():
        found = json.loads((directory / "meta.json").read_text())
        if {key: found.get(key) for key in wanted} == json.loads(json.dumps(wanted)):
            return TokenRecords.open(directory)
    partial = directory.with_name(directory.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    layout = Layout(spec, tokenization)
    lengths, tokens, patches = [], [], []
    writer = array_record_module.ArrayRecordWriter(str(partial / "steps.array_record"), "group_size:1,uncompressed")
    for episode in episodes:
        steps = layout.encode(episode)
        for step in steps:
            writer.write(_pack(step))
        lengths.append(len(steps))
        tokens += [len(step) for step in steps]
        patches += [len(step.patch_slots) for step in steps]
    writer.close()
    if not lengths:
        raise RecordsError(f"{spec.name}: no episodes to tokenize; record or convert some first")
    index = {"episode_steps": lengths, "step_tokens": tokens, "step_patches": patches}
    np.savez(partial / "index.npz", **{key: np.array(value, np.int32) for key, value in index.items()})
    (partial / "meta.json").write_text(json.dumps(wanted))
    shutil.rmtree(directory, ignore_errors=True)
    partial.rename(directory)
    return TokenRecords.open(directory)


@dataclasses.dataclass(frozen=True, eq=False)
class TokenRecords:
    """Random access to the tokenized timesteps of one dataset.

    Attributes:
      episode_steps: (E,) steps of each episode.
      step_tokens, step_patches: (S,) of each step, episodes one after the other.
    """

    directory: pathlib.Path
    contract: Contract
    fingerprint: str
    episode_steps: np.ndarray
    step_tokens: np.ndarray
    step_patches: np.ndarray

    @classmethod
    def open(cls, directory: pathlib.Path) -> TokenRecords:
        try:
            meta = json.loads((directory / "meta.json").read_text())
            index = dict(np.load(directory / "index.npz", allow_pickle=False))
        except (OSError, ValueError) as error:
            raise RecordsError(f"no token records in {directory} ({error}); tokenize the dataset again") from None
        records = cls(directory, Contract.from_json(meta["contract"]), meta["fingerprint"], **index)
        if records._reader.num_records() != len(records.step_tokens):
            raise RecordsError(f"{directory}: {records._reader.num_records()} records, the index has "
                               f"{len(records.step_tokens)}; delete the folder to tokenize again")  # fmt: skip
        return records

    @property
    def spec(self) -> TaskSpec:
        return next(iter(self.contract.tasks.values()))

    @functools.cached_property
    def first_step(self) -> np.ndarray:
        """(E,) index of each episode's first step."""
        return np.cumsum(self.episode_steps) - self.episode_steps

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


_DTYPES = {"loss_mask": np.bool_, "prompt_mask": np.bool_, "patches": np.uint8}
# Known without being stored: every token of a timestep is of one segment and of no prompt until a row says otherwise.
_STORED = [name for name in (*PER_TOKEN, *PER_PATCH) if name not in ("segment_ids", "prompt_mask")]


def _pack(step: TokenSequence) -> bytes:
    return msgpack.packb([(getattr(step, name).shape, getattr(step, name).tobytes()) for name in _STORED])


def _unpack(data: bytes) -> TokenSequence:
    arrays = {
        name: np.frombuffer(raw, _DTYPES.get(name, np.int32)).reshape(shape)
        for name, (shape, raw) in zip(_STORED, msgpack.unpackb(data), strict=True)
    }
    length = len(arrays["token_ids"])
    return TokenSequence(**arrays, segment_ids=np.ones(length, np.int32), prompt_mask=np.zeros(length, bool))
