"""The dataset of the episodes that somebody chooses to keep after having seen them."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Iterator

from gato_jax.episodes import Episode, StoreError, open_dataset
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.journal import EpisodeJournal
from gato_jax.episodes.writer import EncodedEpisode, EpisodeEncoder, check_destination, write_encoded
from gato_jax.rollouts.recording import RECORDING_FILE, Recording, read_json
from gato_jax.rollouts.session import JOURNAL_FILE, begin_work, clear_work, locked_work
from gato_jax.runtime.atomic_writes import remove_if_empty

_CHOICE = ("episodes", "seeds", "successes_only")  # what the description of the dataset says beside the settings


class KeptEpisodes(contextlib.AbstractContextManager):
    """The kept episodes of one player on one task, which become a dataset like that of `record`.

    An episode is on the disk as soon as it is added, in the work folder of the recording, and in the dataset when
    `finish` has returned. A later object with the same recording adds to the dataset that is there, and to the episodes
    of a process that was killed.

    Args:
      recording: Where the episodes go, and who plays them; its range of seeds is that of the seeds to choose from.

    Raises:
      StoreError: There is a dataset of other settings, or one that was recorded otherwise, or something else.
      FolderInUseError: Another process adds to episodes that are not yet a dataset.
    """

    def __init__(self, recording: Recording):
        self._recording = recording
        self._stack = contextlib.ExitStack()
        self._journal: EpisodeJournal | None = None
        self._encoder: EpisodeEncoder | None = None  # made when it is needed, as this takes long
        self._check()
        if recording.is_begun:
            self._open()

    @property
    def seeds(self) -> list[int]:
        """Seeds of the episodes that are kept, those of earlier processes included, sorted."""
        return sorted({*self._written(), *([] if self._journal is None else self._journal.seeds)})

    def add(self, episode: Episode):
        """Keep an episode, in place of one of the same seed.

        Raises:
          StoreError: The episode contradicts its task, or the disk refuses.
          FolderInUseError: Another process adds episodes there.
          ValueError: The episode has no seed, or one that is not among those of the recording.
        """
        if episode.seed is None or episode.seed not in self._recording.seeds:
            raise ValueError(f"seed is {episode.seed}, expected one of {self._recording.seeds}.")
        self._encoder = self._encoder or EpisodeEncoder(self._recording.spec)
        encoded = self._encoder.encode(episode, f"the episode of seed {episode.seed}")
        if self._journal is None:
            self._journal = self._open()
        self._journal.add(episode.seed, encoded)

    def finish(self) -> pathlib.Path | None:
        """Write the dataset if episodes were added, and return its folder; None if there is none.

        Raises:
          StoreError: The disk refuses.
        """
        with self:
            if self._journal is not None and self._journal.seeds:
                self._write(self._journal, self.seeds)
                clear_work(self._recording.work_folder)
            return self._recording.directory if self._recording.directory.exists() else None

    def __exit__(self, *error: object):
        self._stack.close()

    def _check(self):
        """Raise StoreError unless the folder of the dataset holds kept episodes of the same settings, or nothing."""
        recording = self._recording
        held, begun = read_json(recording.directory / RECORDING_FILE), read_json(recording.work_folder / RECORDING_FILE)
        if held is None:
            check_destination(recording.directory, recording.spec, overwrite=False)
        elif not isinstance(held.get("seeds"), list):
            raise StoreError(
                f"{recording.directory}: holds episodes that `gato collect` recorded, expected episodes that were "
                "kept while they were watched, or nothing. Name another --output."
            )
        for folder, found in ((recording.directory, held), (recording.work_folder, begun)):
            if found is not None:
                settings = {key: value for key, value in found.items() if key not in _CHOICE}
                require_same(
                    json.loads(json.dumps(recording.settings)), settings,
                    problem=f"{folder}: holds episodes of other settings", holder=RECORDING_FILE,
                    remedy="name another --output", error=StoreError,
                )  # fmt: skip

    def _open(self) -> EpisodeJournal:
        """Lock the work folder and open the journal in it."""
        with contextlib.ExitStack() as stack:
            stack.callback(remove_if_empty, self._recording.work_folder)
            stack.enter_context(locked_work(self._recording.work_folder))
            self._check()  # another process may have written since
            begin_work(self._recording)
            journal = stack.enter_context(EpisodeJournal(self._recording.work_folder / JOURNAL_FILE))
            self._stack = stack.pop_all()
        self._journal = journal
        return journal

    def _written(self) -> dict[int, int]:
        """Return {seed: position} of the episodes of the dataset that is there."""
        if read_json(self._recording.directory / RECORDING_FILE) is None:
            return {}
        return {int(seed): n for n, seed in enumerate(open_dataset(self._recording.directory).index.seed)}

    def _write(self, journal: EpisodeJournal, seeds: list[int]):
        """Write the dataset of the added episodes, and of those in the dataset that it replaces."""
        recording, written = self._recording, self._written()
        earlier = open_dataset(recording.directory) if written else None
        encoder = self._encoder or EpisodeEncoder(recording.spec)

        def kept() -> Iterator[EncodedEpisode]:
            for seed in seeds:
                added = journal.read(seed) if seed in journal else None
                if added is None and earlier is not None:
                    added = encoder.encode(earlier[written[seed]], f"the episode of seed {seed}")
                if added is not None:
                    yield added

        about = recording.settings | {"episodes": len(seeds), "seeds": seeds, "successes_only": False}
        sidecars = {RECORDING_FILE: json.dumps(about, indent=2)}
        write_encoded(recording.directory, recording.spec, {"train": kept()}, sidecars=sidecars)
