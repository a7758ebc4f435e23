"""The 1-nearest-neighbour baseline of an evaluation: the datasets that it plays from, and its identity."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Sequence

from gato_jax.environments import is_task, require_runnable, task_spec
from gato_jax.episodes import EpisodeDataset, find_dataset, list_datasets, open_dataset
from gato_jax.episodes.store import NoSplitError
from gato_jax.evaluation.agent_results import NoTaskError
from gato_jax.evaluation.episode_scores import PlayedBy
from gato_jax.rollouts import NearestNeighbourActor
from gato_jax.runtime.content_digests import combine

NEAREST_NEIGHBOUR = "nearest_neighbour"


def open_recordings(root: pathlib.Path, tasks: Sequence[str] = ()) -> dict[str, EpisodeDataset]:
    """Return {task: its dataset} of the tasks that the baseline is to play, after checking each of them.

    Args:
      root: folder of the datasets.
      tasks: names of the tasks. Empty takes all tasks in `root` that have an environment.

    Raises:
      DatasetError: `root` has no dataset of one of the tasks.
      NoTaskError: `tasks` is empty and `root` has no dataset of a task with an environment.
      NearestNeighbourError: the installed task has another TaskSpec than the recordings.
      UnknownTaskError, MissingPackageError: a task does not exist or does not run here.
    """
    found = training_datasets(root)
    for task in tasks:
        find_dataset(root, task)
    datasets = {task: found[task] for task in dict.fromkeys(tasks) or found if tasks or is_task(task)}
    if not datasets:
        raise NoTaskError(f"{root} holds no dataset of a task with an environment. Name another folder (--datasets).")
    actor = NearestNeighbourActor(datasets)
    for task in datasets:
        require_runnable(task)
        actor.require_task(task_spec(task))
    return datasets


def training_datasets(root: pathlib.Path) -> dict[str, EpisodeDataset]:
    """Return {task: its newest dataset} of the datasets below a folder that have a split `train`."""
    datasets = {}
    for task, path in sorted(list_datasets(root).items()):
        with contextlib.suppress(NoSplitError):
            datasets[task] = open_dataset(path)
    return datasets


def identity(root: pathlib.Path) -> PlayedBy:
    """Return the identity of the baseline that plays from the datasets of a folder, in place of that of an agent."""
    digest = combine([dataset.fingerprint for dataset in training_datasets(root).values()])
    return PlayedBy(step=0, digest=digest, temperature=0.0)
