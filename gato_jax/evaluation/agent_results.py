"""Evaluation of an agent: it plays its tasks, and each task's scores are put beside the reference scores."""

from __future__ import annotations

import functools
import logging
import pathlib
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from gato_jax.environments import EVALUATION_SEEDS, is_task, load, require_runnable, task_spec
from gato_jax.episodes import Episode
from gato_jax.evaluation.episode_scores import EpisodeScore, ScoreJournal
from gato_jax.evaluation.published import published_on_task
from gato_jax.evaluation.references import References
from gato_jax.evaluation.rollout_file import rollout_path, save_rollout
from gato_jax.evaluation.scores import task_result
from gato_jax.policy import Agent, AgentActor, PromptSource
from gato_jax.rollouts import ActorFailure
from gato_jax.rollouts.play import failure_error, play_as_they_end

_SHOW_SECONDS = 1.0  # between updates of the number of steps

_log = logging.getLogger(__name__)


class NoTaskError(ValueError):
    """An agent that was trained on no task with an environment; the message names the tasks that it knows."""


def playable_tasks(agent: Agent, tasks: Sequence[str] = ()) -> list[str]:
    """Return the names of the tasks to evaluate an agent on, after checking each of them.

    Args:
      agent: the agent.
      tasks: names of the tasks, `suite/task`, whose order is kept and duplicates dropped. Empty takes all tasks of the
        agent that have an environment.

    Raises:
      NoTaskError: `tasks` is empty and no task of the agent has an environment.
      MissingPackageError: a package of a task is not installed.
      UnknownTaskError: no such task, or the agent was not trained on it.
      ContractError: the installed task has another TaskSpec than the one that the agent was trained on.
    """
    names = list(dict.fromkeys(tasks)) or [name for name in agent.contract.tasks if is_task(name)]
    if not names:
        known = ", ".join(agent.contract.tasks)
        raise NoTaskError(f"the agent was trained on {known}, expected a task with an environment. Name another run.")
    for name in names:
        require_runnable(name)
        agent.require_task(task_spec(name))
    return names


def evaluate_agent(
    agent: Agent,
    references: Mapping[str, References | None],
    directory: pathlib.Path,
    *,
    episodes: int,
    environments: int = 10,
    temperature: float = 1.0,
    journal: ScoreJournal | None = None,
    prompts: PromptSource | None = None,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Play each task under a progress bar, and yield its name and its entry of results.json.

    The entry is that of `task_result`, with the `published` results of other agents, the agent's training `step`, the
    `temperature` of sampling its actions, the origin of its prompts as `prompt`, None without any, and the `renderer`
    of a task whose observations are rendered.

    Args:
      agent: the agent.
      references: tasks to play, {name: reference scores}, None for a task without any.
      directory: folder for the first episode of each task, with frames, see `save_rollout`.
      episodes: number of episodes of each task. Episode n has the n-th of EVALUATION_SEEDS.
      environments: number of episodes that are played side by side; the results do not depend on it.
      temperature: temperature of sampling the actions; 0 takes the most probable ones.
      journal: scores of this agent's episodes that are not played again; those of the others are added as they end.
      prompts: chooser of the prompt of each episode; None for no prompts.
    """
    make_actor = functools.partial(AgentActor, agent, temperature=temperature, prompts=prompts)
    played_by = {"step": agent.step, "temperature": temperature}
    for task, known in references.items():
        environment, seeds = load(task), EVALUATION_SEEDS[:episodes]
        prompt = None if prompts is None else prompts.describe(task)
        scores = {} if journal is None else journal.scores(task, prompt)
        scores = {seed: scores[seed] for seed in seeds if seed in scores}
        if not rollout_path(directory, task).exists():
            scores.pop(seeds[0], None)
        starts = [(task, seed) for seed in seeds if seed not in scores]
        if scores:
            _log.info("%s: going on with %d of %d episodes", task, len(scores), episodes)
        with _EpisodeBar(task, episodes, len(scores)) as bar:
            for job, episode in play_as_they_end(
                make_actor, starts, environments=environments, frames=int(seeds[0] not in scores), on_step=bar.step
            ):
                if isinstance(episode, ActorFailure):
                    raise failure_error(job, episode) from episode
                if episode.frames is not None:
                    save_rollout(episode, environment.action_names, directory, played_by)
                scores[job.seed] = _score(episode)
                if journal is not None:
                    journal.add(task, scores[job.seed], prompt)
                bar.update()
        ordered = [scores[seed] for seed in seeds]
        rendered = {"renderer": environment.renderer} if environment.renderer else {}
        result = task_result(ordered, environment.task_spec.metric, known) | {"published": published_on_task(task)}
        yield task, result | played_by | {"prompt": prompt} | rendered


def _score(episode: Episode) -> EpisodeScore:
    """Return the scores of an episode; one without a score, which no environment makes, scores NaN."""
    return EpisodeScore(
        seed=int(episode.seed or 0),
        score=float("nan") if episode.score is None else float(episode.score),
        episode_return=float(episode.episode_return),
        success=None if episode.success is None else bool(episode.success),
    )


class _EpisodeBar(tqdm):
    """Progress bar of a task's episodes, which shows that they are played before the first of them ends."""

    def __init__(self, task: str, total: int, done: int):
        super().__init__(total=total, initial=done, desc=f"evaluate {task}", unit="episode")
        self._steps, self._shown = 0, time.monotonic()
        if done < total:
            self.set_postfix_str("the first step compiles")

    def step(self):
        """Count one step of all environments that are played side by side."""
        self._steps += 1
        if self._steps == 1 or time.monotonic() - self._shown > _SHOW_SECONDS:
            self._shown = time.monotonic()
            self.set_postfix_str(f"step {self._steps}")
