"""The agent as an actor, which plays any of its tasks in many environments at once."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

import dm_env

from gato_jax.environments import Environment
from gato_jax.policy.agent import Agent
from gato_jax.policy.decoding import DEFAULT, Decoding
from gato_jax.policy.policy import Policy
from gato_jax.rollouts import Action, Actor, ActorFailure


class AgentActor(Actor):
    """An actor that plays with an agent: one compiled call chooses the actions of all environments of a task.

    It holds a decode state for each task that is being played. Sampling in an episode depends on its seed alone.

    Args:
      agent: The agent.
      temperature: Temperature of sampling; 0 takes the most probable token each time.

    Raises:
      UnknownTaskError: At `reset`, if the agent was not trained on the task.
      ContractError: At `reset`, if the environment's TaskSpec differs from the one that the agent was trained on.
    """

    def __init__(self, agent: Agent, *, temperature: float = 1.0):
        self._agent, self._temperature = agent, temperature
        self._policies: dict[str, Policy] = {}
        self._tasks: list[str] = []

    @classmethod
    def restore(cls, path: pathlib.Path, *, temperature: float = 1.0, decoding: Decoding = DEFAULT) -> AgentActor:
        """Return an actor with the agent of a run's folder or of a .safetensors file, see `Agent.restore`."""
        return cls(Agent.restore(path, decoding=decoding), temperature=temperature)

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        self._tasks = [environment.task_spec.name for environment in environments]
        self._policies = {task: policy for task, policy in self._policies.items() if task in self._tasks}
        for slot, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
            if seed is not None:
                task = self._tasks[slot]
                if task not in self._policies:
                    self._agent.require_task(environment.task_spec)
                    self._policies[task] = Policy(self._agent, task, len(environments), temperature=self._temperature)
                self._policies[task].reset(slot, seed)

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        actions: list[Action | ActorFailure] = [{} for _ in timesteps]
        for task, policy in self._policies.items():
            seen = {
                slot: timestep.observation
                for slot, timestep in enumerate(timesteps)
                if timestep is not None and self._tasks[slot] == task
            }
            if seen:
                filler = next(iter(seen.values()))  # for rows of the batch that play another task or nothing
                chosen = policy.act([seen.get(slot, filler) for slot in range(len(timesteps))])
                for slot in seen:
                    actions[slot] = chosen[slot]
        return actions

    def describe(self, task: str) -> str:
        sampling = f"temperature {self._temperature:g}" if self._temperature else "greedy"
        return (
            f"gato_jax agent {self._agent.name}, step {self._agent.step}; {sampling}{self._agent.decoding.describe()}"
        )
