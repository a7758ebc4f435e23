"""Episodes that are kept while a dataset is recorded, so that a recording that was killed goes on where it was."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path

from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.tfrecord import RecordError, TFRecords, TFRecordWriter
from gato_jax.episodes.writer import EncodedEpisode, EpisodeRow


class EpisodeJournal(contextlib.AbstractContextManager):
    """A file to which each episode is added as it ends, in any order, and which is read by seed.

    The file is a TFRecord file whose records are a line of JSON, `{"seed": 5, "row": [...]}`, and after it the RLDS
    record of the episode. The row of an episode that could not be played to its end is null, and its record empty. A
    process that is killed while it adds an episode loses that episode: what is damaged at the end of the file is cut
    off when it is opened.

    Args:
      file: the file, which is made if it is missing.

    Raises:
      StoreError: the disk refuses.
    """

    def __init__(self, file: Path):
        self._file = file
        self._positions: dict[int, int] = {}
        with disk_errors(file):
            file.touch()
            self._records = TFRecords(file)
            whole = self._read_seeds()
            os.truncate(file, self._records.end_of(whole))
            self._writer = TFRecordWriter(file, append=True)

    def __contains__(self, seed: int) -> bool:
        return seed in self._positions

    @property
    def seeds(self) -> list[int]:
        """Seeds of the episodes, in the order of their additions."""
        return list(self._positions)

    def __len__(self) -> int:
        return len(self._positions)

    def add(self, seed: int, episode: EncodedEpisode | None):
        """Add the episode of a seed, None if it cannot be played to its end; it stays if the process is killed.

        Raises:
          StoreError: the disk refuses.
        """
        row, record = (None, b"") if episode is None else (episode.row, episode.record)
        with disk_errors(self._file):
            self._writer.write(json.dumps({"seed": seed, "row": row}).encode() + b"\n" + record)
            self._writer.flush()
        self._positions[seed] = len(self._positions)

    def read(self, seed: int) -> EncodedEpisode | None:
        """Return the episode of a seed, None for one that could not be played to its end.

        Raises:
          KeyError: there is no episode of this seed.
          RecordError: its record is damaged.
        """
        position = self._positions[seed]
        if position >= len(self._records):
            self._records = TFRecords(self._file)
        _, row, record = _split(self._records[position])
        return None if row is None else EncodedEpisode(row, record)

    def __exit__(self, *error: object):
        with disk_errors(self._file):
            self._writer.close()

    def _read_seeds(self) -> int:
        """Fill `_positions` from the records up to the first damaged one, and return their number."""
        for position in range(len(self._records)):
            try:
                seed, _, _ = _split(self._records[position])
            except RecordError:
                return position
            self._positions[seed] = position
        return len(self._records)


def _split(content: bytes) -> tuple[int, EpisodeRow | None, bytes]:
    """Return the seed, the row and the RLDS record that the content of a record of the journal holds."""
    line, _, record = content.partition(b"\n")
    fields = json.loads(line)
    return fields["seed"], None if fields["row"] is None else EpisodeRow(*fields["row"]), record
