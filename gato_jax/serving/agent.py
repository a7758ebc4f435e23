"""A trained agent as a served policy. The rest of the package does without JAX."""

from __future__ import annotations

from collections.abc import Mapping

from gato_jax.episodes import Text
from gato_jax.policy import Agent, Policy
from gato_jax.serving.policy import Action, Observation, ServedPolicy
from gato_jax.tokenization import TokenizationError


class AgentPolicy(ServedPolicy):
    """An agent as a served policy.

    Args:
      agent: the agent.
      tasks: names of the tasks to serve.
      temperature: temperature of sampling; 0 takes the most probable token.
    """

    def __init__(self, agent: Agent, tasks: list[str], *, temperature: float = 1.0):
        self.tasks = {task: agent.layout(task).spec for task in tasks}
        self.about = {
            "agent": agent.name, "step": agent.step, "digest": agent.digest, "contract": agent.contract.fingerprint,
            "temperature": temperature,
        }  # fmt: skip
        self._agent, self._temperature = agent, temperature
        self._policies: dict[int, Policy] = {}
        self._opened = 0

    def open(self, task: str) -> int:
        self._opened += 1
        self._policies[self._opened] = Policy(self._agent, task, 1, temperature=self._temperature)
        return self._opened

    def reset(self, session: int, seed: int):
        self._policies[session].reset(0, seed)

    def act(self, observations: Mapping[int, Observation]) -> dict[int, Action | ValueError]:
        actions: dict[int, Action | ValueError] = {}
        for session, observation in observations.items():
            try:
                [actions[session]] = self._policies[session].act([observation])
            except TokenizationError as error:
                actions[session] = error
        return actions

    def close(self, session: int):
        del self._policies[session]


def control_tasks(agent: Agent) -> list[str]:
    """Return the names of an agent's tasks that a robot can have: with observations, and actions without text."""
    return [
        name
        for name, spec in agent.contract.tasks.items()
        if spec.observation and not any(isinstance(modality, Text) for modality in spec.action.values())
    ]
