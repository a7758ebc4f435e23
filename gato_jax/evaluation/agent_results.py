"""Evaluation of an agent: it plays its tasks, and each task's scores are put beside the reference scores."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tqdm import tqdm

from gato_jax.environments import EVALUATION_SEEDS, load, require_runnable, task_names, task_spec
from gato_jax.evaluation.references import References
from gato_jax.evaluation.rollout_file import save_rollout
from gato_jax.evaluation.scores import task_result
from gato_jax.policy import Agent, AgentActor
from gato_jax.rollouts import play


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
    names = list(dict.fromkeys(tasks)) or [name for name in agent.contract.tasks if name in task_names()]
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
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Play each task, and yield its name and its entry of results.json.

    The entry is that of `task_result`, with the agent's training `step` and the `temperature` of sampling its actions.

    Args:
      agent: the agent.
      references: tasks to play, {name: reference scores}, None for a task without any.
      directory: folder for the first episode of each task, with frames, see `save_rollout`.
      episodes: number of episodes of each task. Episode n has the n-th of EVALUATION_SEEDS.
      environments: number of episodes that are played side by side; the results do not depend on it.
      temperature: temperature of sampling the actions; 0 takes the most probable ones.
    """
    make_actor = functools.partial(AgentActor, agent, temperature=temperature)
    for task, known in references.items():
        starts = [(task, seed) for seed in EVALUATION_SEEDS[:episodes]]
        playing = play(make_actor, starts, environments=environments, frames=1)
        played = list(tqdm(playing, total=episodes, desc=f"evaluate {task}", unit="episode"))
        environment = load(task)
        played_by = {"step": agent.step, "temperature": temperature}
        save_rollout(played[0], environment.action_names, directory, played_by)
        yield task, task_result(played, environment.task_spec.metric, known) | played_by
