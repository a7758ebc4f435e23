"""The most probable actions of an agent at each step of recorded episodes, given the recorded steps before."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.episodes import Episode
from gato_jax.policy import Agent
from gato_jax.policy.batches import batch_observations
from gato_jax.tokenization import TokenSequence
from gato_jax.tokenization.sequence import concatenate

ROWS = 8  # windows that are computed at once
_ROUND = 32  # numbers of predicted tokens of a window are rounded up to a multiple, so that few programs are compiled


class HeldOutError(ValueError):
    """Recordings that a score does not apply to; the message names the task and the reason."""


class Window(NamedTuple):
    """Consecutive steps of an episode that the agent reads at once, and the first of them that is predicted there.

    Attributes:
      start: first step.
      first: first step that is predicted; the steps before are only read.
      stop: end of the steps.
    """

    start: int
    first: int
    stop: int


def plan_windows(lengths: Sequence[int], context: int, most_steps: int | None = None) -> list[Window]:
    """Divide the steps of an episode into windows that fit into the context, and predict each step once.

    The windows overlap by half, so that every step is predicted with the whole episode before it, or with at least
    about half a window of history.

    Args:
      lengths: number of tokens of each step.
      context: largest number of tokens of a window.
      most_steps: largest number of steps of a window; None for as many as fit.

    Raises:
      HeldOutError: a step does not fit into the context.
    """
    windows, first, start = [], 0, 0
    while first < len(lengths):
        stop = start
        while (
            stop < len(lengths)
            and sum(lengths[start : stop + 1]) <= context
            and (most_steps is None or stop - start < most_steps)
        ):
            stop += 1
        if stop <= first:
            if start == first:
                raise HeldOutError(
                    f"step {first} has {lengths[first]} tokens, expected at most {context}, the context of the agent. "
                    "Score an agent with a longer context."
                )
            start += 1  # a step of many tokens leaves room for less history
            continue
        windows.append(Window(start, first, stop))
        start, first = stop - (stop - start) // 2, stop
    return windows


def predict_actions(
    agent: Agent, task: str, episodes: Sequence[Episode], *, most_steps: int | None = None
) -> list[dict[str, np.ndarray]]:
    """Return the most probable action at each step of each episode, {key: (acting steps, ...)}.

    The agent reads windows as in training: the recorded observations and actions of the steps before, and each number
    of an action after the recorded ones before it, not after its own. With `decoding.one_pass` it reads zeros in place
    of all actions.

    Args:
      agent: The agent.
      task: Name of the task of all episodes, whose observations are not empty and whose actions have a fixed length.
      episodes: Recorded episodes.
      most_steps: Largest number of steps that it reads at once, the predicted one included; 1 for no history. None
        takes the number that it was trained on.

    Raises:
      HeldOutError: The task has no observations, or a step does not fit into the context.
    """
    layout = agent.layout(task)
    if not layout.has_observation:
        raise HeldOutError(f"{task} has no observations, expected some that an action follows from.")
    limit = agent.memory_steps.get(task) if most_steps is None else most_steps
    actions = len(layout.action_ranges)
    context = agent.decoding.context or agent.context
    found = [np.zeros((episode.acting_steps, actions), np.int32) for episode in episodes]
    rows: list[tuple[np.ndarray, TokenSequence]] = []
    for ids, episode in zip(found, episodes, strict=True):
        steps = layout.encode_timesteps(episode)
        for window in plan_windows([len(step) for step in steps], context, limit):
            rows.append((ids[window.first : window.stop], read_window(steps, window, hide=agent.decoding.one_pass)))
    patch = agent.contract.tokenization.patch
    for start in range(0, len(rows), ROWS):
        batch = rows[start : start + ROWS]
        for (target, _), predicted in zip(batch, _predict_rows(agent, [row for _, row in batch], patch), strict=True):
            target[...] = predicted.reshape(target.shape)
    return [layout.decode_action(ids) for ids in found]


def read_window(steps: Sequence[TokenSequence], window: Window, *, hide: bool) -> TokenSequence:
    """Return the tokens of a window, with a loss mask that is True for the actions to predict alone."""
    parts = []
    for number in range(window.start, window.stop):
        step = steps[number]
        acts = step.action_range[:, 1] > 0
        ids = np.where(acts, 0, step.token_ids) if hide else step.token_ids
        parts.append(step.replace(token_ids=ids, loss_mask=acts & (number >= window.first)))
    return concatenate(parts)


class WindowBatch(NamedTuple):
    """The tokens of windows, a batch of the model; the segment id is 1 where there is a token and 0 at padding."""

    token_ids: jax.Array
    local_position: jax.Array
    segment_ids: jax.Array
    patches: jax.Array
    patch_slots: jax.Array
    patch_intervals: jax.Array


def _predict_rows(agent: Agent, rows: Sequence[TokenSequence], patch: int) -> Iterator[np.ndarray]:
    """Yield the most probable id of each token of a row whose loss mask is True."""
    asked = ask_actions(rows, patch)
    ids = np.asarray(_most_probable(agent.graph, agent.params, asked.batch, asked.before, asked.ranges))
    for number, count in enumerate(asked.counts):
        yield ids[number, :count]


class AskedActions(NamedTuple):
    """A batch of windows, and the action tokens that are asked for in each.

    Attributes:
      batch: ROWS windows.
      before: int32 (ROWS, K), the position before each token that is asked for, 0 at padding.
      ranges: int32 (ROWS, K, 2), the ids that each may have, [low, high).
      counts: the number of tokens that are asked for in each window that is no padding.
    """

    batch: WindowBatch
    before: np.ndarray
    ranges: np.ndarray
    counts: list[int]


def ask_actions(rows: Sequence[TokenSequence], patch: int) -> AskedActions:
    """Return up to ROWS windows as one batch, with the tokens whose loss mask is True as those that are asked for.

    Args:
      rows: Tokens of the windows, at least one.
      patch: Side of an image patch in pixels.
    """
    padded = [*rows, *[rows[-1]] * (ROWS - len(rows))]  # one shape needs one compilation
    at = [np.flatnonzero(row.loss_mask) for row in padded]
    width = -(-max(map(len, at)) // _ROUND) * _ROUND
    before, ranges = np.zeros((ROWS, width), np.int32), np.tile(np.array([0, 1], np.int32), (ROWS, width, 1))
    for number, (row, positions) in enumerate(zip(padded, at, strict=True)):
        before[number, : len(positions)] = positions - 1
        ranges[number, : len(positions)] = row.action_range[positions]
    return AskedActions(batch_windows(padded, patch), before, ranges, [len(places) for places in at[: len(rows)]])


def batch_windows(rows: Sequence[TokenSequence], patch: int) -> WindowBatch:
    """Return windows as one batch, padded to sizes that are few.

    Args:
      rows: Tokens of the windows.
      patch: Side of an image patch in pixels.
    """
    observation = batch_observations(rows, patch)
    return WindowBatch(
        observation.token_ids, observation.local_position, jnp.asarray(observation.real, jnp.int32),
        observation.patches, observation.patch_slots, observation.patch_intervals,
    )  # fmt: skip


@functools.partial(jax.jit, static_argnames="graph")
def _most_probable(
    graph: nnx.GraphDef, params: nnx.State, batch: WindowBatch, before: jax.Array, ranges: jax.Array
) -> jax.Array:
    """Return the most probable id (B, K) within `ranges` (B, K, 2) after each of the positions `before` (B, K)."""
    model = nnx.merge(graph, params)
    hidden = jnp.take_along_axis(model(batch), before[..., None], axis=1)
    logits = model.logits(hidden)
    ids = jnp.arange(logits.shape[-1])[None, None]
    allowed = (ids >= ranges[..., :1]) & (ids < ranges[..., 1:])
    return jnp.argmax(jnp.where(allowed, logits, -jnp.inf), axis=-1)
