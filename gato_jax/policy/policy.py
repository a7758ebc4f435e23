"""Batched inference with an agent on one task: actions in many environments, or many texts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.policy.act import ActSettings, Observation, act
from gato_jax.policy.agent import Agent
from gato_jax.policy.cache import compute_relative_keys, empty_state
from gato_jax.tokenization import TextCodec, TokenizationError, TokenSequence

_TEXT_ROWS = 32  # number of texts that are written side by side


class _Decoder:
    """The decode state of a batch of B environments, advanced by the compiled `act`.

    Args:
      agent: The agent.
      task: Name of the task, `suite/task`.
      environments: B.
      ranges: (A, 2) range of ids [low, high) of each token to choose.
      codecs: Key and codec of each part of the action, see `ActSettings`; empty for text.
      temperature: Temperature of sampling; 0 takes the most probable token.

    Raises:
      ValueError: The temperature is negative or NaN.
      UnknownTaskError: The agent was not trained on the task.
    """

    def __init__(self, agent: Agent, task: str, environments: int, ranges, codecs, temperature: float):
        if not temperature >= 0:
            raise ValueError(f"temperature is {temperature}, expected 0 or more. 0 takes the most probable token.")
        self.agent, self.layout, self.environments = agent, agent.layout(task), environments
        self.settings = ActSettings(
            action_ranges=tuple((int(low), int(high)) for low, high in ranges),
            action_codecs=codecs,
            action_position=self.layout.action_position,
            context=agent.context,
            memory_steps=agent.memory_steps.get(task),
            temperature=float(temperature),
        )
        model = nnx.merge(agent.graph, agent.params)
        self.relative_keys = compute_relative_keys(model, agent.context)
        # A window spans at most `context` consecutive positions, so a ring of that size overwrites only older ones.
        self.state = empty_state(agent.model, environments, agent.context)
        self.keys = jax.random.split(jax.random.key(0), environments)

    def decode(self, steps: Sequence[TokenSequence], fresh: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Choose the action tokens after an observation in each environment, and add both to the decode state.

        Args:
          steps: Tokens of the observation in each of the B environments.
          fresh: (B,) True in an environment in which an episode begins.

        Returns:
          Ids of the action tokens (B, A), and the decoded actions {key: (B, *shape)}, empty without codecs.

        Raises:
          TokenizationError: A timestep is longer than the agent's context.
        """
        tokens = max(len(step) for step in steps) + len(self.settings.action_ranges)
        if tokens > self.agent.context:
            raise TokenizationError(
                f"{self.layout.spec.name}: a timestep has {tokens} tokens, expected at most the agent's context of "
                f"{self.agent.context}. Act with an agent of a longer context."
            )
        observation = batch_observations(steps, self.agent.contract.tokenization.patch)
        ids, actions, self.state = act(
            self.agent.graph, self.agent.params, self.relative_keys, self.state, observation,
            jnp.asarray(fresh), self.keys, self.settings,
        )  # fmt: skip
        return jax.device_get((ids, actions))


class Policy(_Decoder):
    """A chooser of actions on one control task in a fixed number of environments; each begins with a new episode.

    Args:
      agent: The agent.
      task: Name of the task.
      environments: Number of environments.
      temperature: Temperature of sampling; 0 takes the most probable token.
    """

    def __init__(self, agent: Agent, task: str, environments: int, *, temperature: float = 1.0):
        layout = agent.layout(task)
        super().__init__(agent, task, environments, layout.action_ranges, layout.action_codecs, temperature)
        self._fresh = np.ones(environments, bool)

    def reset(self, environment: int, seed: int):
        """Begin a new episode in the environment of this index; its samples depend on seed and observations alone."""
        self._fresh[environment] = True
        self.keys = self.keys.at[environment].set(jax.random.key(seed))

    def act(self, observations: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
        """Return the next action {key: array} in each environment, in the units of the task.

        Args:
          observations: One observation {key: value} for each environment, also for one that is idle; each call is one
            timestep in all of them.

        Raises:
          TokenizationError: An observation does not fit the TaskSpec, or is longer than the agent's context.
        """
        begins = zip(observations, self._fresh.tolist(), strict=True)
        steps = [self.layout.encode_observation(observation, first=first) for observation, first in begins]
        _, actions = self.decode(steps, self._fresh)
        self._fresh = np.zeros(self.environments, bool)
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
        super().__init__(agent, task, samples, [TextCodec.token_range] * max_tokens, (), temperature)

    def write(self, steps: Sequence[TokenSequence], seeds: Sequence[int]) -> list[str]:
        """Return one text for each beginning, without it; the samples of a text depend on its beginning and seed alone.

        Args:
          steps: Tokens of the beginnings, exactly `samples` of them.
          seeds: Seed of each text.

        Raises:
          TokenizationError: A beginning and `max_tokens` tokens are together longer than the agent's context.
        """
        self.keys = jax.vmap(jax.random.key)(jnp.asarray(seeds))
        ids, _ = self.decode(steps, np.ones(self.environments, bool))
        return [TextCodec().decode(row) for row in ids]


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


def batch_observations(steps: Sequence[TokenSequence], patch: int) -> Observation:
    """Return the observations of B environments as one batch of padded arrays.

    Observations of different lengths are padded at their ends to one multiple of 16, so that texts of varying length
    need only a few compilations of `act`. Those of equal length are not padded.

    Args:
      steps: Tokens of each environment's observation.
      patch: Side of an image patch in pixels.
    """
    longest = max(len(step) for step in steps)
    length = longest if all(len(step) == longest for step in steps) else -(-longest // 16) * 16
    ids, local = np.zeros((2, len(steps), length), np.int32)
    real = np.zeros((len(steps), length), bool)
    for b, step in enumerate(steps):
        ids[b, : len(step)], local[b, : len(step)], real[b, : len(step)] = step.token_ids, step.local_position, True
    with_patches = [(b, step) for b, step in enumerate(steps) if len(step.patch_slots)]
    if not with_patches:
        empty = np.zeros((1, 0, patch, patch, 3), np.uint8)
        return _on_device(ids, local, real, empty, np.zeros((1, 0), np.int32), np.zeros((1, 0, 4), np.int32))
    return _on_device(
        ids, local, real,
        np.concatenate([step.patches for _, step in with_patches])[None],
        np.concatenate([step.patch_slots + np.int32(b * length) for b, step in with_patches])[None],
        np.concatenate([step.patch_intervals for _, step in with_patches])[None],
    )  # fmt: skip


def _on_device(*arrays: np.ndarray) -> Observation:
    return Observation(*map(jnp.asarray, arrays))
