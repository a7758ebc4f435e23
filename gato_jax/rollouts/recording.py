"""The description of a dataset to record: a task, who plays it, the seeds and the episodes to keep."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from typing import Any

from gato_jax.environments import RECORDING_SEEDS, Randomisation, is_rendered, package_versions
from gato_jax.environments.rendering import describe_renderer
from gato_jax.episodes import StoreError, TaskSpec, dataset_name
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.writer import EpisodeRow, check_destination

RECORDING_FILE = "recording.json"  # in the work folder, and in the folder of the dataset
_SCHEMA = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
    """A dataset to record: a task, who plays it, and the seeds of the episodes.

    While it is recorded, its episodes are in the work folder `VERSION.recording` beside the folder of the dataset.

    Attributes:
      root: Folder of the datasets.
      spec: The task.
      actor: Who plays, as `Actor.describe` states it.
      agent: Digest of the parameters of an agent that plays; None for other actors.
      seeds: Seeds of the episodes, consecutive ones of RECORDING_SEEDS, so that no agent is trained on an episode that
        agents are scored on.
      successes_only: True to keep only episodes that succeed, and those of tasks without a success.
      min_return: Smallest return of the episodes to keep; None keeps episodes of any return.
      randomisation: Values that are drawn for each episode; None plays the task as it is.
      version: Version of the dataset.

    Raises:
      ValueError: `seeds` are not such a range.
    """

    root: pathlib.Path
    spec: TaskSpec
    actor: str
    seeds: range
    agent: str | None = None
    successes_only: bool = False
    min_return: float | None = None
    randomisation: Randomisation | None = None
    version: str = "1.0.0"

    def __post_init__(self):
        if not self.seeds or self.seeds.step != 1 or self.seeds[0] < 0 or self.seeds[-1] not in RECORDING_SEEDS:
            raise ValueError(
                f"seeds is {self.seeds}, expected consecutive seeds from 0 to {RECORDING_SEEDS[-1]}. Later ones are "
                "kept for evaluation."
            )

    @property
    def directory(self) -> pathlib.Path:
        """Folder of the dataset, `ROOT/NAME/VERSION`."""
        return self.root / dataset_name(self.spec.name) / self.version

    @property
    def work_folder(self) -> pathlib.Path:
        """Folder `ROOT/NAME/VERSION.recording` of the episodes that are finished before the dataset is."""
        return self.directory.with_name(f"{self.version}.recording")

    @property
    def settings(self) -> dict[str, Any]:
        """Everything that the episodes follow from except how many there are, in JSON.

        The renderer is named for a task whose observations are rendered, so that no dataset mixes those of two.
        """
        rendered = {"renderer": describe_renderer()} if is_rendered(self.spec.name) else {}
        drawn = {} if self.randomisation is None else {"randomisation": self.randomisation.to_json()}
        return {
            "schema": _SCHEMA,
            "actor": self.actor,
            "agent": self.agent,
            "first_seed": self.seeds[0],
            "packages": list(package_versions(self.spec.name)),
            "task": self.spec.to_json(),
            **rendered,
            **drawn,
        }

    def to_json(self) -> dict[str, Any]:
        """Return everything that the dataset follows from, in JSON."""
        filters = {} if self.min_return is None else {"min_return": self.min_return}
        return {**self.settings, "episodes": len(self.seeds), "successes_only": self.successes_only, **filters}

    @property
    def is_filtered(self) -> bool:
        """True if not all episodes are kept: those that the actor gives up are then left out, too."""
        return self.successes_only or self.min_return is not None

    def keeps(self, row: EpisodeRow) -> bool:
        """Return whether an episode passes the filters."""
        fails = self.successes_only and row.success == 0
        return not fails and (self.min_return is None or row.episode_return >= self.min_return)

    @property
    def is_begun(self) -> bool:
        """True if the work folder holds an unfinished recording with the same settings."""
        return read_json(self.work_folder / RECORDING_FILE) == json.loads(json.dumps(self.settings))

    @property
    def is_finished(self) -> bool:
        """True if the dataset was recorded with the same settings, from the same seeds."""
        return read_json(self.directory / RECORDING_FILE) == json.loads(json.dumps(self.to_json()))

    def require_writable(self, *, overwrite: bool = False):
        """Check that `record` can write the dataset, or keep it, or go on with it.

        Args:
          overwrite: Whether a dataset that is there, and an unfinished recording with other settings, may be replaced.

        Raises:
          StoreError: There is a dataset or an unfinished recording with other settings, and `overwrite` is False; or
            the folder holds something that is never replaced, see `check_destination`.
        """
        held, begun = read_json(self.directory / RECORDING_FILE), read_json(self.work_folder / RECORDING_FILE)
        if held is not None and not overwrite:
            require_same(
                self.to_json(), held, problem=f"{self.directory}: already there, recorded with other settings",
                holder=RECORDING_FILE, error=StoreError,
                remedy="name another --output, whose dataset a config can list beside this one, or replace this one "
                "(--overwrite)",
            )  # fmt: skip
        else:
            check_destination(self.directory, self.spec, overwrite)
        if begun is not None and not overwrite:
            require_same(
                self.settings, begun, problem=f"{self.work_folder}: an unfinished recording with other settings",
                holder=RECORDING_FILE, error=StoreError,
                remedy="go on with the same settings, name another --output, or start over (--overwrite)",
            )  # fmt: skip


def read_json(path: pathlib.Path) -> Any:
    """Return the content of a JSON file; None if it is missing or damaged."""
    try:
        return json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None
