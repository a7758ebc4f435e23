"""Demonstrations of tasks as prompts of an agent: from the datasets that it was trained on, or from the experts."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from gato_jax.batching import DatasetConfig
from gato_jax.batching.opening import missing_reason, open_episodes
from gato_jax.environments import RECORDING_SEEDS
from gato_jax.episodes import Episode
from gato_jax.experts import ExpertActor, description, expert_names
from gato_jax.policy import Agent, Prompt, PromptSource
from gato_jax.policy.prompts import prompt_room, timestep_tokens
from gato_jax.rollouts import play
from gato_jax.sources.reader import EpisodeReader
from gato_jax.training.config_file import CONFIG_FILE, read_config

PromptMode = Literal["demonstration", "none"]

_STREAM = 0x70726F6D  # separates the choice of prompts from the environment's random numbers, of the same seed
_LOOKED_AT = 8  # episodes of a dataset among which a prompt is chosen
_EXPERT_EPISODES = 4  # different demonstrations of an expert

_log = logging.getLogger(__name__)


class NoDemonstrationError(ValueError):
    """A task without a demonstration that can be a prompt; the message names the task and the remedy."""


@dataclasses.dataclass(frozen=True)
class DatasetDemonstrations:
    """Demonstrations from a dataset of a task.

    Attributes:
      name: Name of the dataset in the config of the run.
      reader: Its episodes.
      steps: Maximum number of timesteps in a prompt; None for as many as fit.
    """

    name: str
    reader: EpisodeReader
    steps: int | None = None

    def choose(self, rng: np.random.Generator) -> tuple[Episode, str]:
        """Return an episode and its place: the first success of a few random ones, else that of the highest return."""
        best: tuple[Episode, int] | None = None
        for number in rng.permutation(len(self.reader))[:_LOOKED_AT].tolist():
            episode = self.reader[number]
            if episode.success:
                return episode, f"{self.name}, episode {number}"
            if best is None or episode.episode_return > best[0].episode_return:
                best = episode, number
        if best is None:
            raise NoDemonstrationError(f"{self.name}: the dataset has no episodes, expected one. Play without prompts.")
        return best[0], f"{self.name}, episode {best[1]}"

    def describe(self) -> str:
        """Return the origin of the demonstrations in words."""
        return f"dataset {self.name}, {len(self.reader)} episodes, fingerprint {self.reader.fingerprint}"


@dataclasses.dataclass(frozen=True)
class ExpertDemonstrations:
    """Demonstrations that the expert of a task plays when they are needed, each of them once in a process.

    Attributes:
      task: Name of the task, `suite/task`.
    """

    task: str
    steps: int | None = None
    _played: dict[int, Episode] = dataclasses.field(default_factory=dict, compare=False, repr=False)

    def choose(self, rng: np.random.Generator) -> tuple[Episode, str]:
        """Return an episode and its place: the first success of a few, else the first of them."""
        first: tuple[Episode, str] | None = None
        for number in rng.permutation(_EXPERT_EPISODES).tolist():
            seed = RECORDING_SEEDS[-1 - number]
            found = self._play_once(seed), f"expert, seed {seed}"
            if found[0].success is not False:
                return found
            first = first or found
        if first is None:
            raise RuntimeError(f"{self.task}: no demonstration was played, expected {_EXPERT_EPISODES}")
        return first

    def describe(self) -> str:
        """Return the origin of the demonstrations in words."""
        return f"expert: {description(self.task)}"

    def prepare(self):
        """Play all demonstrations."""
        for number in range(_EXPERT_EPISODES):
            self._play_once(RECORDING_SEEDS[-1 - number])

    def _play_once(self, seed: int) -> Episode:
        if seed not in self._played:
            (self._played[seed],) = play(ExpertActor, [(self.task, seed)])
        return self._played[seed]


@dataclasses.dataclass(frozen=True)
class Demonstrations(PromptSource):
    """Prompts of episodes from demonstrations of their tasks.

    As in training, half of the prompts are the end of a demonstration, and half any window of it.

    Attributes:
      sources: {task: its demonstrations}. Episodes of other tasks have no prompt.
    """

    sources: Mapping[str, DatasetDemonstrations | ExpertDemonstrations]

    def choose(self, agent: Agent, task: str, seed: int) -> Prompt | None:
        if (source := self.sources.get(task)) is None:
            return None
        rng = np.random.default_rng([seed, _STREAM])
        episode, place = source.choose(rng)
        window = None if rng.random() < 0.5 else rng
        return Prompt.of(agent, episode, source=place, steps=source.steps, rng=window)

    def prepare(self, task: str):
        source = self.sources.get(task)
        if isinstance(source, ExpertDemonstrations):
            source.prepare()

    @property
    def mode(self) -> PromptMode:
        """`none` if no episode has a prompt, else `demonstration`."""
        return "demonstration" if self.sources else "none"

    def describe(self, task: str) -> str | None:
        return self.sources[task].describe() if task in self.sources else None


def open_demonstrations(
    agent: Agent, workdir: pathlib.Path, tasks: Sequence[str], mode: PromptMode | None
) -> Demonstrations:
    """Return the demonstrations that prompt the agent of a run, see `choose_demonstrations`.

    Args:
      agent: The agent.
      workdir: Folder of the agent's run, whose config names the datasets; an exported agent has none.
      tasks: Names of the tasks, `suite/task`.
      mode: As in `choose_demonstrations`.

    Raises:
      NoDemonstrationError: `mode` is `demonstration`, and a task cannot have one.
      ConfigError: The config of the run is damaged.
      SourceError: A dataset cannot be opened.
    """
    known = mode != "none" and (workdir / CONFIG_FILE).is_file()
    return choose_demonstrations(agent, read_config(workdir).datasets if known else {}, tasks, mode)


def choose_demonstrations(
    agent: Agent, datasets: Mapping[str, DatasetConfig], tasks: Sequence[str], mode: PromptMode | None
) -> Demonstrations:
    """Return the demonstrations that prompt an agent.

    Args:
      agent: The agent.
      datasets: {name: a dataset of the agent's training}.
      tasks: Names of the tasks, `suite/task`.
      mode: `demonstration` prompts every task, from its dataset if that is on disk, else by its expert; `none` prompts
        no task. None prompts the tasks whose dataset is on disk and was trained on with prompts, if a prompt fits.

    Raises:
      NoDemonstrationError: `mode` is `demonstration`, and a task has no dataset at hand and no expert, or its
        timesteps are too long for a prompt.
      SourceError: A dataset cannot be opened.
    """
    if mode == "none":
        return Demonstrations({})
    sources: dict[str, DatasetDemonstrations | ExpertDemonstrations] = {}
    for name, dataset in datasets.items():
        wanted = dataset.prompt_share > 0 or mode == "demonstration"
        if len(sources) == len(tasks) or not wanted or dataset.kind == "tokens" or missing_reason(dataset) is not None:
            continue
        reader = open_episodes(dataset, phrased=False)
        if (task := reader.spec.name) not in tasks or task in sources:
            continue
        tokens, room = timestep_tokens(agent, task), prompt_room(agent)
        if tokens > room and mode is None:
            _log.info("%s is played without prompts: of a timestep's %d tokens, %d fit into one", task, tokens, room)
            continue
        sources[task] = DatasetDemonstrations(name, reader, dataset.prompt_steps)
    for task in tasks if mode == "demonstration" else ():
        tokens, room = timestep_tokens(agent, task, without_text=True), prompt_room(agent)
        if tokens > room:
            raise NoDemonstrationError(
                f"{task} cannot have a prompt: a timestep has {tokens} tokens or more, expected at most half of the "
                f"context, {room} tokens. Leave the task out, or play with --prompt=none."
            )
        if task not in sources and task not in expert_names():
            raise NoDemonstrationError(
                f"{task} has no dataset at hand and no expert, expected one for --prompt=demonstration. Leave the "
                "task out, or play with --prompt=none."
            )
        sources.setdefault(task, ExpertDemonstrations(task))
    return Demonstrations(sources)
