"""The journal of a distillation: the states that were visited, with the actions of the teacher in them."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import pathlib

import numpy as np
from jaxtyping import Float32

from gato_jax.episodes.tfrecord import RecordError, TFRecords, TFRecordWriter


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class LabelledEpisode:
    """The states of one episode with the teacher's actions.

    Attributes:
      inputs: Inputs of the network.
      labels: Actions of the teacher, scaled to [-1, 1].
      score: Score of the episode, in the metric of the task; NaN if the teacher gave it up, without any state.
    """

    inputs: Float32[np.ndarray, "steps inputs"]
    labels: Float32[np.ndarray, "steps outputs"]
    score: float


class LabelJournal(contextlib.AbstractContextManager):
    """A file to which each episode is added as it ends, in any order, and which is read by seed.

    It is a TFRecord file whose records are a line of JSON, `{"seed": 5, "steps": 1000, "score": 1.0}`, and after it
    the inputs and the labels, float32. What is damaged at the end of the file, because the process was killed, is cut
    off when it is opened.

    Args:
      path: The file, which is made if it is missing.
      inputs: Number of inputs of the network.
      outputs: Number of its outputs.
    """

    def __init__(self, path: pathlib.Path, *, inputs: int, outputs: int):
        self._sizes = inputs, outputs
        self._episodes: dict[int, LabelledEpisode] = {}
        path.touch()
        records = TFRecords(path)
        os.truncate(path, records.end_of(self._read(records)))
        self._writer = TFRecordWriter(path, append=True)

    def __contains__(self, seed: int) -> bool:
        return seed in self._episodes

    def __getitem__(self, seed: int) -> LabelledEpisode:
        return self._episodes[seed]

    def add(self, seed: int, episode: LabelledEpisode) -> None:
        """Add the episode of a seed, which stays if the process is killed."""
        line = json.dumps({"seed": seed, "steps": len(episode.inputs), "score": episode.score})
        self._writer.write(line.encode() + b"\n" + episode.inputs.tobytes() + episode.labels.tobytes())
        self._writer.flush()
        self._episodes[seed] = episode

    def __exit__(self, *error: object) -> None:
        self._writer.close()

    def _read(self, records: TFRecords) -> int:
        """Read the records up to the first damaged one, and return their number."""
        for position in range(len(records)):
            try:
                seed, episode = self._decode(records[position])
            except RecordError:
                return position
            self._episodes[seed] = episode
        return len(records)

    def _decode(self, record: bytes) -> tuple[int, LabelledEpisode]:
        line, _, content = record.partition(b"\n")
        fields = json.loads(line)
        inputs, outputs = self._sizes
        numbers, steps = np.frombuffer(content, np.float32), fields["steps"]
        episode = LabelledEpisode(
            inputs=numbers[: steps * inputs].reshape(steps, inputs),
            labels=numbers[steps * inputs :].reshape(steps, outputs),
            score=fields["score"],
        )
        return fields["seed"], episode
