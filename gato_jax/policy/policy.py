"""Batched inference with an agent on one task: actions in many environments, or many texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.policy.agent import Agent
from gato_jax.policy.decoding import Decoding
from gato_jax.policy.mixed import MixedPolicy
from gato_jax.policy.prompts import Prompt
from gato_jax.policy.rows import DecodeRows
from gato_jax.policy.sampling import Temperature
from gato_jax.tokenization import TextCodec, TokenSequence

_TEXT_ROWS = 32  # number of texts that are written side by side


class Policy:
    """A chooser of actions on one control task in a fixed number of environments; each begins with a new episode.

    It is a `MixedPolicy` all of whose rows play the same task, at each timestep.

    Args:
      agent: The agent.
      task: Name of the task.
      environments: Number of environments.
      temperature: Temperature of sampling; 0 takes the most probable token.
      decoding: How the network is run. Default: as the agent says.

    Raises:
      ValueError: The temperature is negative or NaN.
      UnknownTaskError: The agent was not trained on the task.
    """

    def __init__(
        self,
        agent: Agent,
        task: str,
        environments: int,
        *,
        temperature: float = 1.0,
        decoding: Decoding | None = None,
    ):
        self.agent, self.layout, self.environments = agent, agent.layout(task), environments
        self.mixed = MixedPolicy(agent, environments, sampling=Temperature(temperature=temperature), decoding=decoding)
        for environment in range(environments):
            self.reset(environment, environment)

    def reset(self, environment: int, seed: int, *, prompt: Prompt | None = None, begins: bool = True):
        """Forget the timesteps of one environment, see `MixedPolicy.reset`."""
        self.mixed.reset(environment, self.layout.spec.name, seed, prompt=prompt, begins=begins)

    def act(self, observations: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
        """Return the next action {key: array} in each environment, in the units of the task.

        Args:
          observations: One observation {key: value} for each environment; each call is one timestep in all of them.

        Raises:
          TokenizationError: An observation does not fit the TaskSpec, or is longer than the agent's context.
        """
        chosen = self.mixed.act(dict(enumerate(observations)))
        return [chosen[environment] for environment in range(self.environments)]


class TextPolicy:
    """A writer of texts that follow observations: captions and answers.

    Args:
      agent: The agent.
      task: Name of the task, `suite/task`.
      samples: Number of texts that each call of `write` writes side by side.
      max_tokens: Number of tokens after which a text is cut off, if it has not ended before.
      temperature: Temperature of sampling; 0 takes the most probable token.
    """

    def __init__(self, agent: Agent, task: str, samples: int, *, max_tokens: int = 16, temperature: float = 0.9):
        self._layout, self._ranges = agent.layout(task), np.array([TextCodec.token_range] * max_tokens, np.int32)
        self._rows = DecodeRows(agent, samples, (TextCodec.token_range,), (), Temperature(temperature=temperature))

    def write(self, steps: Sequence[TokenSequence], seeds: Sequence[int]) -> list[str]:
        """Return one text for each beginning, without it; the samples of a text depend on its beginning and seed alone.

        Args:
          steps: Tokens of the beginnings, exactly `samples` of them.
          seeds: Seed of each text.

        Raises:
          TokenizationError: A beginning and `max_tokens` tokens are together longer than the agent's context.
        """
        for row, seed in enumerate(seeds):
            self._rows.begin(row, self._layout, self._ranges, seed)
        ids = self._rows.decode(dict(enumerate(steps)))
        return [TextCodec().decode(row[: len(self._ranges)]) for row in ids]


def write_texts(
    agent: Agent,
    task: str,
    beginnings: Sequence[TokenSequence],
    *,
    temperature: float,
    max_tokens: int = 16,
    seed: int = 0,
) -> list[str]:
    """Return one text for each beginning, in their order and without the beginnings.

    Args:
      agent: The agent.
      task: Name of the task, `suite/task`.
      beginnings: Tokens that each text follows, any number of them.
      temperature: Temperature of sampling; 0 takes the most probable token.
      max_tokens: Number of tokens after which a text is cut off, if it has not ended before.
      seed: Seed of the first text; text n, counted from 0, has seed + n.

    Raises:
      TokenizationError: A beginning and `max_tokens` tokens are together longer than the agent's context.
    """
    policy = TextPolicy(agent, task, _TEXT_ROWS, max_tokens=max_tokens, temperature=temperature)
    texts = []
    for start in range(0, len(beginnings), _TEXT_ROWS):
        rows = list(beginnings[start : start + _TEXT_ROWS])
        padded = [*rows, *[rows[-1]] * (_TEXT_ROWS - len(rows))]
        texts += policy.write(padded, range(seed + start, seed + start + _TEXT_ROWS))[: len(rows)]
    return texts
