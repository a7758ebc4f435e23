"""Scores of an agent on the held-out recordings of its run's datasets, also where no environment plays their tasks."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from gato_jax.batching import missing_reason, open_episodes
from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.batching.opening import HELD_OUT_SPLITS
from gato_jax.episodes import Continuous, Episode
from gato_jax.episodes import NoSplitError as NoStoredSplitError
from gato_jax.evaluation.held_out import action_error
from gato_jax.evaluation.prediction_file import save_prediction
from gato_jax.evaluation.teacher_forcing import HeldOutError
from gato_jax.policy import Agent
from gato_jax.sources import EpisodeReader, NoSplitError
from gato_jax.training import read_config

FOLDER = "predictions"  # in the folder of a run
_TRAIN = 200  # the most training episodes from which baselines are computed

_log = logging.getLogger(__name__)


class Recordings(NamedTuple):
    """The recordings of one dataset: those that the agent was trained on, and those that were held out."""

    train: EpisodeReader
    test: EpisodeReader


def find_recordings(agent: Agent, workdir: pathlib.Path) -> dict[str, Recordings]:
    """Return {dataset: its recordings} of the datasets of a run that have held-out ones of continuous actions.

    The log names the other datasets of tasks with continuous actions, with the reason.

    Args:
      agent: The agent of the run.
      workdir: Folder of the run, whose config names the datasets.

    Raises:
      HeldOutError: There is no such dataset; the message has the reasons.
      ConfigError: The config of the run is missing or damaged.
      SourceError: A dataset cannot be opened.
    """
    found: dict[str, Recordings] = {}
    reasons: dict[str, str] = {}
    for name, dataset in read_config(workdir).datasets.items():
        recordings = _open(agent, dataset)
        if isinstance(recordings, str):
            reasons[name] = recordings
        else:
            found[name] = recordings
    for name, reason in reasons.items():
        _log.info("%s is not measured on held-out recordings: %s", name, reason)
    if not found:
        raise HeldOutError(
            f"the datasets of {workdir} hold no recordings to measure the agent on, expected a split "
            f"{' or '.join(HELD_OUT_SPLITS)} of continuous actions "
            f"({'; '.join(f'{name}: {reason}' for name, reason in reasons.items())}). Convert or record one."
        )
    return found


def measure_recordings(
    agent: Agent, recordings: Mapping[str, Recordings], workdir: pathlib.Path, *, episodes: int
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the name of each dataset and its entry of `held_out` in results.json, see `held_out.action_error`.

    The entry has the agent's training `step` besides. The first held-out episode is shown in
    `workdir/predictions/DATASET.npz`, see `save_prediction`.

    Args:
      agent: The agent.
      recordings: The datasets.
      workdir: Folder of the run.
      episodes: Largest number of held-out episodes of each dataset, spread evenly over it.

    Raises:
      HeldOutError: A step exceeds the context of the agent.
    """
    for name, (train, test) in recordings.items():
        chosen = _spread(test, episodes)
        entry = action_error(agent, test.spec.name, _spread(train, _TRAIN), chosen)
        save_prediction(agent, chosen[0], 0, name, workdir / FOLDER)
        yield name, entry | {"step": agent.step}


def describe_recordings(entry: Mapping[str, Any]) -> str:
    """Return an entry of `measure_recordings` in one line, such as `action error 0.061 (mean action: 0.148); ...`."""
    return (
        f"action error {entry['value']:.3g} (mean action: {entry['baseline']:.3g}, repeated action: "
        f"{entry['repeat_baseline']:.3g}); {entry['episodes']} held-out episodes"
    )


def _open(agent: Agent, dataset: DatasetConfig) -> Recordings | str:
    """Return the recordings of a dataset, or the reason why the agent cannot be measured on them."""
    if dataset.kind == "tokens":
        return "it is an export of tokens"
    if (reason := missing_reason(dataset)) is not None:
        return reason
    train = open_episodes(dataset, phrased=False)
    spec = train.spec
    if spec.name not in agent.contract.tasks:
        return f"the agent was not trained on {spec.name}"
    if not any(isinstance(action, Continuous) for action in spec.action.values()):
        return "no action is continuous"
    if not spec.observation:
        return "it has no observations"
    for split in HELD_OUT_SPLITS:
        try:
            test = open_episodes(dataset, split, phrased=False)
        except (NoSplitError, NoStoredSplitError):
            continue
        if len(test):
            return Recordings(train, test)
    return f"it has no split {' or '.join(HELD_OUT_SPLITS)}"


def _spread(reader: EpisodeReader, count: int) -> list[Episode]:
    """Return at most `count` episodes, spread evenly from the first to the last."""
    chosen = np.linspace(0, len(reader) - 1, min(count, len(reader))).round().astype(int)
    return [reader[number] for number in chosen.tolist()]
