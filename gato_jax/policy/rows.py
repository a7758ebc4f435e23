"""Rows of a batch that are decoded side by side, each with a task, a prompt and a place in its ring of its own."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from gato_jax.policy.act import ActionTokens, ActSettings, act
from gato_jax.policy.agent import Agent
from gato_jax.policy.batches import ActionTable, pad_observations
from gato_jax.policy.cache import DecodeState, count_columns, empty_caches, empty_state, resize
from gato_jax.policy.decoding import Decoding
from gato_jax.policy.network import Network
from gato_jax.policy.prefill import prefill
from gato_jax.policy.prompts import Prompt
from gato_jax.policy.sampling import Sampling
from gato_jax.policy.shapes import Shape, fit_shape
from gato_jax.tokenization import Layout, TokenizationError, TokenSequence

_NOTHING = Shape(0, 0, 0)


class DecodeRows:
    """The decode state of B rows, advanced by the compiled `act`.

    A row is idle until it is begun, and in each call of `decode` that has no observation for it.

    Args:
      agent: The agent.
      rows: B.
      spans: Ranges [low, high) of the ids that any token to choose may have.
      shapes: Padded sizes to run at, by rising cost; larger timesteps are rounded up.
      sampling: The way to choose a token.
      decoding: How the network is run. Default: as the agent says.

    Attributes:
      agent: The agent.
      rows: B.
      state: The decode state.
    """

    def __init__(
        self,
        agent: Agent,
        rows: int,
        spans: Sequence[tuple[int, int]],
        shapes: Sequence[Shape],
        sampling: Sampling,
        decoding: Decoding | None = None,
    ):
        if rows < 1:
            raise ValueError(f"rows is {rows}, expected 1 or more. Raise it.")
        decoding = decoding or agent.decoding
        self.agent, self.rows, self.decoding = agent, rows, decoding
        self.context = decoding.context or agent.context
        self.settings = ActSettings(
            context=self.context, sampling=sampling, one_pass=decoding.one_pass, loop=decoding.loop
        )
        self.network = agent.network(decoding.resolved_dtype, spans, self.context)
        # A window spans at most `context` consecutive positions, so a ring of that size overwrites only older ones.
        self.state = _commit(empty_state(agent.model, rows, self.context, 0, decoding.resolved_dtype), self.network)
        self.keys = jax.random.split(jax.random.key(0), rows)
        self._shapes, self._needed = tuple(shapes), [_NOTHING] * rows
        self._table, self._padded = ActionTable(rows), dict[int, ActionTokens]()
        self._tasks: list[str | None] = [None] * rows
        self._prompt_tokens = [0] * rows
        self._fresh = np.zeros(rows, bool)

    def begin(self, row: int, layout: Layout, ranges: np.ndarray, seed: int, prompt: Prompt | None = None):
        """Forget the timesteps of a row, and read a prompt in it.

        Args:
          row: Index of the row.
          layout: Layout of the task that is decoded next.
          ranges: (A, 2) range of ids [low, high) of each token to choose at a timestep.
          seed: Seed of the samples.
          prompt: Prompt before the first timestep; None without one.

        Raises:
          ValueError: There is no such row, or the prompt is of another task or too long.
        """
        if not 0 <= row < self.rows:
            raise ValueError(f"row is {row}, expected one from 0 to {self.rows - 1}. Make a policy of more rows.")
        task = layout.spec.name
        self._pin(row, task, prompt)
        limits = self.agent.memory_steps.get(task), self.decoding.memory_steps
        self._table.ranges[row], self._table.position[row] = ranges, layout.action_position
        self._table.memory_steps[row] = min((limit for limit in limits if limit is not None), default=None)
        self._tasks[row], self._needed[row], self._fresh[row] = task, _NOTHING, True
        self._padded.clear()
        self.keys = self.keys.at[row].set(jax.random.key(seed))

    def release(self, row: int):
        """Mark a row as idle until it is begun again; its sizes then no longer count for the others."""
        if self._tasks[row] is None:
            return
        self._tasks[row], self._needed[row], self._table.ranges[row] = None, _NOTHING, None
        self._padded.clear()

    def decode(self, steps: Mapping[int, TokenSequence]) -> np.ndarray:
        """Return the ids (B, A) of the tokens after an observation in some of the rows; both join the decode state.

        The ids of other rows, and those beyond the number of tokens of a row, are undefined.

        Args:
          steps: {row: tokens of its observation}, at least one. The other rows stay as they are.

        Raises:
          ValueError: A row has not been begun.
          TokenizationError: A timestep is longer than the context, or than what the prompt leaves of it.
        """
        needed = list(self._needed)
        for row, step in steps.items():
            needed[row] = needed[row].join(self._shape_of(row, step))
        shape = fit_shape(self._shapes, functools.reduce(Shape.join, needed), loops=self.decoding.loops)
        if count_columns(self.state) != shape.columns:
            self.state = resize(self.state, shape.columns)
        if shape.actions not in self._padded:
            self._padded[shape.actions] = self._table.pad(shape.actions)
        active = np.zeros(self.rows, bool)
        active[list(steps)] = True
        observation = pad_observations(
            steps, self.rows, shape.length, self.rows * shape.patches, self.agent.contract.tokenization.patch
        )
        ids, self.state = act(
            self.agent.graph, self.network, self.state, observation, self._padded[shape.actions],
            jnp.asarray(active), jnp.asarray(self._fresh), self.keys, self.settings,
        )  # fmt: skip
        self._needed, self._fresh = needed, self._fresh & ~active
        return np.asarray(ids)

    def _shape_of(self, row: int, step: TokenSequence) -> Shape:
        """Return the sizes of a row's timestep, after checking that it fits into the context.

        Raises:
          ValueError: The row has not been begun.
          TokenizationError: The timestep is too long.
        """
        ranges = self._table.ranges[row] if 0 <= row < self.rows else None
        if ranges is None:
            raise ValueError(f"row {row} plays no task, expected one that was begun. Reset it first.")
        tokens, prompt = len(step) + len(ranges), self._prompt_tokens[row]
        if tokens + prompt > self.context:
            raise TokenizationError(
                f"{self._tasks[row]}: a timestep has {tokens} tokens"
                + (f" after a prompt of {prompt}" if prompt else "")
                + f", expected at most the agent's context of {self.context}. Act with an agent of a longer context"
                + (", or without a prompt." if prompt else ".")
            )
        return Shape(len(step), len(step.patch_slots), len(ranges))

    def _pin(self, row: int, task: str, prompt: Prompt | None):
        """Read a prompt in a row, or clear its prompt.

        Raises:
          ValueError: The prompt is of another task or too long.
        """
        room = self.context // 2
        if prompt is None:
            self._set_prompt_length(row, 0)
            return
        if prompt.task != task:
            raise ValueError(f"the prompt is of {prompt.task}, expected one of {task}. Choose another prompt.")
        tokens = prompt.tokens
        if len(tokens) > room:
            raise ValueError(
                f"{task}: the prompt has {len(tokens)} tokens, expected at most half of the context, {room}. "
                "Shorten it."
            )
        if not self.state.prompts:
            dtype = self.decoding.resolved_dtype
            prompts = empty_caches(self.agent.model, self.rows, room, dtype)
            self.state = self.state._replace(prompts=prompts)
        patches = room if len(tokens.patch_slots) else 0
        padded = pad_observations({0: tokens}, 1, room, patches, self.agent.contract.tokenization.patch)
        zeroed = np.zeros((1, room), bool)
        zeroed[0, : len(tokens)] = self.settings.one_pass & (tokens.action_range[:, 1] > 0)
        prompts = prefill(
            self.agent.graph, self.network, self.state.prompts, jnp.asarray(row), padded, jnp.asarray(zeroed)
        )
        self.state = self.state._replace(prompts=prompts)
        self._set_prompt_length(row, len(tokens))

    def _set_prompt_length(self, row: int, tokens: int):
        if self._prompt_tokens[row] != tokens:
            self._prompt_tokens[row] = tokens
            self.state = self.state._replace(prompt_length=self.state.prompt_length.at[row].set(tokens))


def _commit(state: DecodeState, network: Network) -> DecodeState:
    """Return the state on the device of the params if they are committed to one, as the state is that `act` returns.

    Otherwise the second call of `act` has another signature than the first one, and is compiled again.
    """
    leaf = jax.tree.leaves(network.params)[0]
    single = isinstance(leaf.sharding, jax.sharding.SingleDeviceSharding)
    return jax.device_put(state, leaf.sharding) if single and leaf.committed else state
