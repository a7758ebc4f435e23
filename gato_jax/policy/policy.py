"""Batched inference with an agent on one task: actions in many environments, or many texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.policy.act import ActSettings, act
from gato_jax.policy.agent import Agent
from gato_jax.policy.batches import batch_actions, batch_observations
from gato_jax.policy.cache import empty_state, widen
from gato_jax.policy.decoding import Decoding
from gato_jax.tokenization import TextCodec, TokenizationError, TokenSequence

_TEXT_ROWS = 32  # number of texts that are written side by side


class _Decoder:
    """The decode state of a batch of B environments, advanced by the compiled `act`.

    Args:
      agent: The agent.
      task: Name of the task, `suite/task`.
      environments: B.
      ranges: (A, 2) range of ids [low, high) of each token to choose.
      spans: Ranges of ids [low, high) that contain `ranges`.
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
        ranges,
        spans,
        temperature: float,
        decoding: Decoding | None = None,
    ):
        if not temperature >= 0:
            raise ValueError(f"temperature is {temperature}, expected 0 or more. 0 takes the most probable token.")
        self.agent, self.layout, self.environments = agent, agent.layout(task), environments
        decoding = decoding or agent.decoding
        dtype, loop = decoding.resolved_dtype, decoding.loop
        self.settings = ActSettings(
            context=agent.context, temperature=float(temperature), one_pass=decoding.one_pass, loop=loop
        )
        self.network = agent.network(dtype, spans)
        self.actions = batch_actions(
            [self.layout] * environments, [ranges] * environments, [agent.memory_steps.get(task)] * environments,
            padded=loop == "while" and not decoding.one_pass,
        )  # fmt: skip
        self.longest = len(ranges)
        # A window spans at most `context` consecutive positions, so a ring of that size overwrites only older ones.
        self.state = empty_state(agent.model, environments, agent.context, 0, dtype)
        self.keys = jax.random.split(jax.random.key(0), environments)

    def decode(self, steps: Sequence[TokenSequence], fresh: np.ndarray) -> np.ndarray:
        """Return the ids (B, A) of the action tokens after an observation in each environment.

        Both become part of the decode state.

        Args:
          steps: Tokens of the observation in each of the B environments.
          fresh: (B,) True in an environment in which an episode begins.

        Raises:
          TokenizationError: A timestep is longer than the agent's context.
        """
        tokens = max(len(step) for step in steps) + self.longest
        if tokens > self.agent.context:
            raise TokenizationError(
                f"{self.layout.spec.name}: a timestep has {tokens} tokens, expected at most the agent's context of "
                f"{self.agent.context}. Act with an agent of a longer context."
            )
        observation = batch_observations(steps, self.agent.contract.tokenization.patch)
        state = widen(self.state, observation.real.shape[1] + self.actions.ranges.shape[1])
        ids, self.state = act(
            self.agent.graph, self.network, state, observation, self.actions, jnp.asarray(fresh), self.keys,
            self.settings,
        )  # fmt: skip
        return np.asarray(ids)[:, : self.longest]


class Policy(_Decoder):
    """A chooser of actions on one control task in a fixed number of environments; each begins with a new episode.

    Args:
      agent: The agent.
      task: Name of the task.
      environments: Number of environments.
      temperature: Temperature of sampling; 0 takes the most probable token.
      decoding: How the network is run. Default: as the agent says.
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
        ranges, vocabulary = agent.layout(task).action_ranges, agent.contract.tokenization.vocabulary
        spans = (0, vocabulary.bins), (vocabulary.continuous, vocabulary.separator)  # the same for all control tasks
        super().__init__(agent, task, environments, ranges, spans, temperature, decoding)
        self._fresh = np.ones(environments, bool)
        self._begins = np.ones(environments, bool)

    def reset(self, environment: int, seed: int, *, begins: bool = True):
        """Forget the timesteps of one environment; samples then depend on the seed and on later observations alone.

        Args:
          environment: Index of the environment.
          seed: Seed of the samples.
          begins: True if the next observation is the first one of an episode, before which `task_text_first` puts the
            text of the task; False if it is a later one of a recording.
        """
        self._fresh[environment], self._begins[environment] = True, begins
        self.keys = self.keys.at[environment].set(jax.random.key(seed))

    def act(self, observations: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
        """Return the next action {key: array} in each environment, in the units of the task.

        Args:
          observations: One observation {key: value} for each environment, also for one that is idle; each call is one
            timestep in all of them.

        Raises:
          TokenizationError: An observation does not fit the TaskSpec, or is longer than the agent's context.
        """
        begins = zip(observations, self._begins.tolist(), strict=True)
        steps = [self.layout.encode_observation(observation, first=first) for observation, first in begins]
        actions = self.layout.decode_action(self.decode(steps, self._fresh))
        self._fresh, self._begins = np.zeros((2, self.environments), bool)
        return [{key: np.asarray(values[b]) for key, values in actions.items()} for b in range(self.environments)]


class TextPolicy(_Decoder):
    """A writer of texts that follow observations: captions and answers.

    Args:
      agent: The agent.
      task: Name of the task, `suite/task`.
      samples: Number of texts that each call of `write` writes side by side.
      max_tokens: Number of tokens after which a text is cut off, if it has not ended before.
      temperature: Temperature of sampling; 0 takes the most probable token.
    """

    def __init__(self, agent: Agent, task: str, samples: int, *, max_tokens: int = 16, temperature: float = 0.9):
        ranges = np.array([TextCodec.token_range] * max_tokens, np.int32)
        super().__init__(agent, task, samples, ranges, (TextCodec.token_range,), temperature)

    def write(self, steps: Sequence[TokenSequence], seeds: Sequence[int]) -> list[str]:
        """Return one text for each beginning, without it; the samples of a text depend on its beginning and seed alone.

        Args:
          steps: Tokens of the beginnings, exactly `samples` of them.
          seeds: Seed of each text.

        Raises:
          TokenizationError: A beginning and `max_tokens` tokens are together longer than the agent's context.
        """
        self.keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        return [TextCodec().decode(row) for row in self.decode(steps, np.ones(self.environments, bool))]


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
