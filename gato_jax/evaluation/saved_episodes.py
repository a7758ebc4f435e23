"""The episodes of an evaluation as datasets, one for each task, which a call after a kill goes on with."""

from __future__ import annotations

import contextlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.environments import is_rendered, package_versions, task_spec
from gato_jax.environments.rendering import describe_renderer
from gato_jax.episodes import Episode, StoreError, TaskSpec, dataset_name
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.journal import EpisodeJournal
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import EpisodeEncoder, check_destination, write_encoded
from gato_jax.rollouts.recording import read_json
from gato_jax.runtime import writer_lock
from gato_jax.runtime.atomic_writes import atomic_file

SPLIT = "evaluation"
SETTINGS_FILE = "evaluation.json"
_JOURNAL_FILE = "episodes.tfrecord"
_VERSION = "1.0.0"


class SavedEpisodes(contextlib.AbstractContextManager):
    """The folder of the datasets of evaluated episodes, `ROOT/NAME/1.0.0`, each with the one split `evaluation`.

    The name of the split keeps the episodes out of a mixture that trains on `train`. Each episode is kept as it ends in
    the folder `1.0.0.evaluation` beside the dataset, which stays there, so that a call with more episodes goes on.
    Frames and scores are not part of an episode on a disk.

    Args:
      root: the folder, on a disk.
      played_by: everything that identifies the actor, as JSON; episodes of another one are never mixed in.
    """

    def __init__(self, root: pathlib.Path, played_by: Mapping[str, Any]):
        self._root, self._played_by = root, dict(played_by)
        self._tasks: dict[str, _SavedTask] = {}
        self._stack = contextlib.ExitStack()

    def open(self, task: str, seeds: Sequence[int], *, prompt: str | None = None):
        """Begin to save a task, or go on with it; `prompt` is the origin of the prompts of its episodes, None for none.

        Raises:
          StoreError: there are episodes of another actor, or something that is no dataset, or the disk refuses.
          FolderInUseError: another process saves episodes of the task there.
        """
        self._tasks[task] = saved = _SavedTask(
            self._root, task_spec(task), self._played_by | {"prompts": prompt}, list(seeds)
        )
        self._stack.enter_context(saved)

    def has(self, task: str, seed: int) -> bool:
        """Return whether the episode of a seed is saved."""
        return self._tasks[task].has(seed)

    def add(self, task: str, seed: int, episode: Episode):
        """Save an episode, which stays if the process is killed.

        Raises:
          StoreError: the episode contradicts its task, or the disk refuses.
        """
        self._tasks[task].add(seed, episode)

    def finish(self, task: str) -> pathlib.Path:
        """Write the dataset of a task, and return its folder.

        Raises:
          StoreError: the disk refuses.
        """
        return self._tasks[task].finish()

    def __exit__(self, *error: object):
        self._stack.close()


class _SavedTask(contextlib.AbstractContextManager):
    """The episodes of one task."""

    def __init__(self, root: pathlib.Path, spec: TaskSpec, played_by: dict[str, Any], seeds: list[int]):
        self._spec, self._seeds = spec, seeds
        self._directory = root / dataset_name(spec.name) / _VERSION
        self._work = self._directory.with_name(f"{_VERSION}.evaluation")
        rendered = {"renderer": describe_renderer()} if is_rendered(spec.name) else {}
        packages = list(package_versions(spec.name))
        settings = {"played_by": played_by, "packages": packages, "task": spec.to_json(), **rendered}
        self._settings: dict[str, Any] = json.loads(json.dumps(settings))
        self._written = self._held_seeds()
        with contextlib.ExitStack() as stack:
            with disk_errors(self._work):
                stack.enter_context(writer_lock(self._work))
            self._begin()
            self._journal = stack.enter_context(EpisodeJournal(self._work / _JOURNAL_FILE))
            self._stack = stack.pop_all()
        self._encoder: EpisodeEncoder | None = None  # made when it is needed, since it starts TensorFlow

    def has(self, seed: int) -> bool:
        return set(self._seeds) <= self._written or seed in self._journal

    def add(self, seed: int, episode: Episode):
        self._encoder = self._encoder or EpisodeEncoder(self._spec)
        self._journal.add(seed, self._encoder.encode(episode, f"the episode of seed {seed}"))

    def finish(self) -> pathlib.Path:
        if not set(self._seeds) <= self._written:
            found = [self._journal.read(seed) for seed in self._seeds if seed in self._journal]
            episodes = [episode for episode in found if episode is not None]
            kept = [seed for seed in self._seeds if seed in self._journal]
            sidecars = {SETTINGS_FILE: json.dumps(self._settings | {"seeds": kept}, indent=2)}
            write_encoded(self._directory, self._spec, {SPLIT: episodes}, sidecars=sidecars)
        return self._directory

    def __exit__(self, *error: object):
        self._stack.close()

    def _held_seeds(self) -> set[int]:
        """Return the seeds of the dataset that is there, after a check that it is of the same actor."""
        held = read_json(self._directory / SETTINGS_FILE)
        if held is None:
            check_destination(self._directory, self._spec, overwrite=False)
            return set()
        seeds = held.pop("seeds")
        self._require_same(held, self._directory)
        return set(seeds)

    def _begin(self):
        """Write the settings to the work folder, or compare them with those that are there."""
        file = self._work / SETTINGS_FILE
        held = read_json(file)
        if held is not None:
            self._require_same(held, self._work)
            return
        with disk_errors(self._work):
            (self._work / _JOURNAL_FILE).unlink(missing_ok=True)
            with atomic_file(file) as written:
                written.write_text(json.dumps(self._settings))

    def _require_same(self, held: dict[str, Any], folder: pathlib.Path):
        require_same(
            self._settings, held, problem=f"{folder}: holds episodes of another evaluation", holder=SETTINGS_FILE,
            remedy="Name another folder with --save_episodes, or delete this one.", error=StoreError,
        )  # fmt: skip
