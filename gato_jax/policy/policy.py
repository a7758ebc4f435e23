"""The agent at work on one task, in many environments at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.policy.act import ActSettings, Observation, act
from gato_jax.policy.agent import Agent
from gato_jax.policy.cache import empty_state, relative_keys_of
from gato_jax.tokenization import TextCodec, TokenizationError, TokenSequence

_TEXT_ROWS = 32  # texts written side by side


class _Decoder:
    """Holds the decode state of a batch of environments and calls the compiled `act`."""

    def __init__(self, agent: Agent, task: str, environments: int, ranges, codecs, temperature: float):
        if not temperature >= 0:
            raise ValueError(f"temperature must be 0 or more, got {temperature}")
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
        self.relative_keys = relative_keys_of(model, agent.context)
        # A window spans at most `context` consecutive positions, so a ring of as many never overwrites one still in it.
        self.state = empty_state(agent.model, environments, agent.context)
        self.keys = jax.random.split(jax.random.key(0), environments)

    def decode(self, steps: Sequence[TokenSequence], fresh: np.ndarray) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """(B, A) ids that follow these observations, and what they decode to, {key: (B, *shape)}."""
        tokens = max(len(step) for step in steps) + len(self.settings.action_ranges)
        if tokens > self.agent.context:
            raise TokenizationError(
                f"a timestep of {tokens} tokens exceeds the agent's context of {self.agent.context}"
            )
        observation = batch_observations(steps, self.agent.contract.tokenization.patch)
        ids, actions, self.state = act(
            self.agent.graph, self.agent.params, self.relative_keys, self.state, observation,
            jnp.asarray(fresh), self.keys, self.settings,
        )  # fmt: skip
        return jax.device_get((ids, actions))


class Policy(_Decoder):
    """Acts on a control task.

    Args:
      environments: how many are played side by side.
      temperature: of sampling; 0 takes the most probable action token.
    """

    def __init__(self, agent: Agent, task: str, environments: int, *, temperature: float = 1.0):
        layout = agent.layout(task)
        super().__init__(agent, task, environments, layout.action_ranges, layout.action_codecs, temperature)
        self._fresh = np.ones(environments, bool)

    def reset(self, environment: int, seed: int):
        """A new episode begins in this environment; its sampling depends on the seed alone."""
        self._fresh[environment] = True
        self.keys = self.keys.at[environment].set(jax.random.key(seed))

    def act(self, observations: Sequence[Mapping[str, Any]]) -> list[dict[str, np.ndarray]]:
        """The next action in each environment, in the task's own units."""
        steps = [self.layout.encode_observation(observation) for observation in observations]
        _, actions = self.decode(steps, self._fresh)
        self._fresh = np.zeros(self.environments, bool)
        return [{key: np.asarray(values[b]) for key, values in actions.items()} for b in range(self.environments)]


class TextPolicy(_Decoder):
    """Writes the text that follows an observation: captions, answers."""

    def __init__(self, agent: Agent, task: str, samples: int, *, max_tokens: int = 16, temperature: float = 0.9):
        super().__init__(agent, task, samples, [TextCodec.token_range] * max_tokens, (), temperature)

    def write(self, steps: Sequence[TokenSequence], seeds: Sequence[int]) -> list[str]:
        """One text for each of the given beginnings."""
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
    """One text for each beginning; temperature 0 writes the most probable one."""
    policy = TextPolicy(agent, task, _TEXT_ROWS, max_tokens=max_tokens, temperature=temperature)
    texts = []
    for start in range(0, len(beginnings), _TEXT_ROWS):
        rows = list(beginnings[start : start + _TEXT_ROWS])
        padded = [*rows, *[rows[-1]] * (_TEXT_ROWS - len(rows))]
        texts += policy.write(padded, range(seed + start, seed + start + _TEXT_ROWS))[: len(rows)]
    return texts


def batch_observations(steps: Sequence[TokenSequence], patch: int) -> Observation:
    """Pads to a length of few values, so that texts of varying length compile a handful of times at most."""
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
