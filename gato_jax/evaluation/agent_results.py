"""Evaluation of an agent: it plays its tasks, and each task's scores are put beside the reference scores."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.environments import is_task, require_runnable, task_spec
from gato_jax.episodes import Episode
from gato_jax.evaluation.actor_results import evaluate_actor
from gato_jax.evaluation.references import References
from gato_jax.evaluation.rollout_annotations import annotate_rollout
from gato_jax.policy import Agent, AgentActor, PromptSource, Sampling, Temperature


class NoTaskError(ValueError):
    """An agent that was trained on no task with an environment; the message names the tasks that it knows."""


def has_playable_task(agent: Agent) -> bool:
    """Return whether a task of the agent has an environment, whether or not its packages are installed."""
    return any(is_task(name) for name in agent.contract.tasks)


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
    sampling: Sampling | None = None,
    prompts: PromptSource | None = None,
    annotate: bool = False,
    **settings: Any,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Let an agent play all tasks, and yield the name of each and its entry of results.json, see `evaluate_actor`.

    The entry has the agent's training `step` and the settings of sampling its actions, such as `temperature`. Tasks of
    different sizes are played apart, see `Agent.bucket`.

    Args:
      agent: the agent.
      references: tasks to play, {name: reference scores}, None for a task without any.
      directory: folder for the first episode of each task, with frames, see `save_rollout`.
      sampling: the way to choose a token. Default: temperature 1.
      prompts: chooser of the prompt of each episode; None for no prompts.
      annotate: whether the files in `directory` hold the probabilities of the actions and an attention map too.
      **settings: further arguments of `evaluate_actor`, such as `episodes`, `environments`, `workers` and `journal`.
    """
    sampling = sampling or Temperature()
    make_actor = functools.partial(AgentActor, agent, sampling=sampling, prompts=prompts)
    return evaluate_actor(
        make_actor, references, directory, played_by={"step": agent.step, **sampling.to_json()},
        prompt_of=None if prompts is None else prompts.describe, bucket_of=agent.bucket,
        annotate=functools.partial(_annotate, agent, prompts) if annotate else None, **settings,
    )  # fmt: skip


def _annotate(agent: Agent, prompts: PromptSource | None, episode: Episode) -> dict[str, np.ndarray]:
    seed = episode.seed
    prompt = None if prompts is None or seed is None else prompts.choose(agent, episode.task, seed)
    return annotate_rollout(agent, episode, None if prompt is None else prompt.tokens)
