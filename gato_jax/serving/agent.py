"""A trained agent as a served policy. The rest of the package does without JAX."""

from __future__ import annotations

from collections.abc import Mapping

import jax

from gato_jax.episodes import Episode, Text
from gato_jax.policy import Agent, MixedPolicy, Prompt, PromptSource, Sampling, Temperature
from gato_jax.serving.policy import Action, Observation, ServedPolicy
from gato_jax.tokenization import TokenizationError


class AgentPolicy(ServedPolicy):
    """An agent as a served policy.

    Sessions are rows of `MixedPolicy`, whose cost is that of all of its rows. The first session has a policy of one
    row, so that a robot that is alone is served fastest; the others share policies of `rows` rows.

    Args:
      agent: the agent.
      tasks: names of the tasks to serve.
      sampling: the way to choose a token. Default: temperature 1.
      prompts: demonstrations that the agent reads before an episode whose client sends none; None for none.
      rows: number of robots that are acted on by one call of the compiled program. Default: 1 on a CPU, which is busy
        with a single one, and 8 on accelerators.
    """

    def __init__(
        self,
        agent: Agent,
        tasks: list[str],
        *,
        sampling: Sampling | None = None,
        prompts: PromptSource | None = None,
        rows: int | None = None,
    ):
        self._sampling = sampling or Temperature()
        self.tasks = {task: agent.layout(task).spec for task in tasks}
        self.about = {
            "agent": agent.name, "step": agent.step, "digest": agent.digest, "contract": agent.contract.fingerprint,
            **self._sampling.to_json(),
        }  # fmt: skip
        self._agent, self._prompts = agent, prompts
        self._rows = rows or (1 if jax.default_backend() == "cpu" else 8)
        self._policies = [MixedPolicy(agent, 1, sampling=self._sampling)]
        self._free = [(0, 0)]  # (policy, row), the next one last
        self._sessions: dict[int, tuple[int, int]] = {}
        self._task: dict[int, str] = {}
        self._opened = 0

    def open(self, task: str) -> int:
        if not self._free:
            self._policies.append(MixedPolicy(self._agent, self._rows, sampling=self._sampling))
            self._free = [(len(self._policies) - 1, row) for row in reversed(range(self._rows))]
        self._opened += 1
        self._sessions[self._opened], self._task[self._opened] = self._free.pop(), task
        return self._opened

    def reset(self, session: int, seed: int, prompt: Episode | None = None):
        (number, row), task = self._sessions[session], self._task[session]
        if prompt is not None:
            read = Prompt.of(self._agent, prompt, source="the client")
        else:
            read = None if self._prompts is None else self._prompts.choose(self._agent, task, seed)
        self._policies[number].reset(row, task, seed, prompt=read)

    def act(self, observations: Mapping[int, Observation]) -> dict[int, Action | ValueError]:
        actions: dict[int, Action | ValueError] = {}
        for number, policy in enumerate(self._policies):
            sessions = [session for session in observations if self._sessions[session][0] == number]
            rows = {session: self._sessions[session][1] for session in sessions}
            try:
                chosen = policy.act({rows[session]: observations[session] for session in sessions})
                actions |= {session: chosen[rows[session]] for session in sessions}
            except TokenizationError as error:  # no row has advanced
                if len(sessions) == 1:
                    actions[sessions[0]] = error
                else:
                    for session in sessions:
                        actions |= self.act({session: observations[session]})
        return actions

    def close(self, session: int):
        number, row = self._sessions.pop(session)
        del self._task[session]
        self._policies[number].release(row)
        self._free.append((number, row))
        self._free.sort(reverse=True)

    def warm_up(self, task: str):
        if self._prompts is not None:
            self._prompts.prepare(task)  # the expert plays now, and no robot waits for it
        alone = self.open(task)  # in the policy of a single row, as no other session is open
        super().warm_up(task)
        self.close(alone)
        super().warm_up(task)


def control_tasks(agent: Agent) -> list[str]:
    """Return the names of an agent's tasks that a robot can have: with observations, and actions without text."""
    return [
        name
        for name, spec in agent.contract.tasks.items()
        if spec.observation and not any(isinstance(modality, Text) for modality in spec.action.values())
    ]
