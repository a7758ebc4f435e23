"""The agent as an actor, which plays any of its tasks in many environments at once."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import dm_env

from gato_jax.environments import Environment
from gato_jax.episodes import TaskSpec
from gato_jax.policy.agent import Agent
from gato_jax.policy.decoding import DEFAULT, Decoding
from gato_jax.policy.mixed import MixedPolicy
from gato_jax.policy.prompts import PromptSource
from gato_jax.policy.sampling import Sampling, Temperature
from gato_jax.rollouts import Action, Actor, ActorFailure


class AgentActor(Actor):
    """An actor that plays with an agent: one compiled call chooses the actions of all environments, whatever they play.

    Sampling in an episode depends on its seed alone.

    Args:
      agent: The agent.
      sampling: The way to choose a token. Default: temperature 1.
      prompts: Chooser of the prompt of each episode. Default: no prompts.

    Raises:
      UnknownTaskError: At `reset`, if the agent was not trained on the task.
      ContractError: At `reset`, if the environment's TaskSpec differs from the one that the agent was trained on.
    """

    def __init__(
        self,
        agent: Agent,
        *,
        sampling: Sampling | None = None,
        prompts: PromptSource | None = None,
    ):
        self._agent, self._prompts = agent, prompts
        self._sampling = sampling or Temperature()
        self._policy: MixedPolicy | None = None
        self._checked: dict[str, TaskSpec] = {}

    @classmethod
    def restore(
        cls,
        path: pathlib.Path,
        *,
        sampling: Sampling | None = None,
        decoding: Decoding = DEFAULT,
        prompts: PromptSource | None = None,
    ) -> AgentActor:
        """Return an actor with the agent of a run's folder or of a .safetensors file, see `Agent.restore`."""
        return cls(Agent.restore(path, decoding=decoding), sampling=sampling, prompts=prompts)

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        if self._policy is None:
            self._policy = MixedPolicy(self._agent, len(environments), sampling=self._sampling)
        for slot, (environment, seed) in enumerate(zip(environments, seeds, strict=True)):
            if seed is not None:
                spec, task = environment.task_spec, environment.task_spec.name
                if self._checked.get(task) != spec:
                    self._agent.require_task(spec)
                    self._checked[task] = spec
                prompt = None if self._prompts is None else self._prompts.choose(self._agent, task, seed)
                self._policy.reset(slot, task, seed, prompt=prompt)

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        if self._policy is None:
            return [{} for _ in timesteps]
        seen: dict[int, Mapping[str, Any]] = {}
        for slot, timestep in enumerate(timesteps):
            if timestep is None:
                self._policy.release(slot)  # its last task may be larger than those that are played now
            else:
                seen[slot] = timestep.observation
        chosen = self._policy.act(seen)
        return [chosen.get(slot, {}) for slot in range(len(timesteps))]

    def describe(self, task: str) -> str:
        sampling = self._sampling.describe() + self._agent.decoding.describe()
        source = None if self._prompts is None else self._prompts.describe(task)
        prompted = "" if source is None else f"; prompted by a demonstration ({source})"
        return f"gato_jax agent {self._agent.name}, step {self._agent.step}; {sampling}{prompted}"
