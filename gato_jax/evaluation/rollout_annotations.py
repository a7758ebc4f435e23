"""Views into an agent at the steps of an episode that it played: probabilities of its actions, and an attention map.

They are computed once more from the recorded steps, apart from playing, which they do not slow down. Where an episode
is longer than the context, a step is read with at least about half a window of history, see `plan_windows`.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.episodes import Episode, Image
from gato_jax.evaluation.held_out import action_limits
from gato_jax.evaluation.teacher_forcing import (
    ROWS,
    HeldOutError,
    WindowBatch,
    ask_actions,
    batch_windows,
    plan_windows,
    read_window,
)
from gato_jax.model.attention_maps import attention_weights
from gato_jax.policy import Agent
from gato_jax.tokenization import TokenSequence
from gato_jax.tokenization.sequence import concatenate

CELLS = 32  # the most cells into which the ids of an action token are divided


def annotate_rollout(agent: Agent, episode: Episode, prompt: TokenSequence | None = None) -> dict[str, np.ndarray]:
    """Return the arrays that the file of a rendered episode holds besides its frames, see `save_rollout`.

    Args:
      agent: The agent that played.
      episode: The episode, of T steps and A numbers of an action.
      prompt: Tokens of the prompt that it was played with; None without one.

    Returns:
      `probabilities`, uint8 (T, A, CELLS), of each cell in 1/255, with the numbers in the order of `save_rollout`;
      `cells`, (A,), the number of cells of each, which divide its range from `low` to `high`, (A,), evenly: one for
      each value of a discrete action of at most CELLS values. For a task that observes an image, also `attention`,
      float32 (rows, columns), the weight of each patch of its first image, the mean over the heads of the last layer at
      the position that chooses the last action token; `attention_image`, that image; and `attention_step`, its step, in
      the middle of the episode. These are left out where images are read as codes.

    Raises:
      HeldOutError: The task has no observations, or a step does not fit into the context.
    """
    layout = agent.layout(episode.task)
    if not layout.has_observation:
        raise HeldOutError(f"{episode.task} has no observations, expected some that an action follows from.")
    steps = layout.encode_timesteps(episode)
    before = [] if prompt is None else [_hidden(agent, prompt.as_prompt(predict=False))]
    chances, cells = _action_chances(agent, episode.task, steps, before)
    columns, place = {}, 0
    for key, codec in layout.action_codecs:
        columns[key] = range(place, place + codec.token_count)
        place += codec.token_count
    order = [column for key in sorted(columns) for column in columns[key]]
    limits = [action_limits(codec) for _, codec in layout.action_codecs]
    low, high = (np.concatenate([limit[end] for limit in limits])[order] for end in (0, 1))
    chances = np.rint(255 * chances[:, order]).astype(np.uint8)
    found = {"probabilities": chances, "cells": cells[order], "low": low, "high": high}
    return found | _attention_map(agent, episode, steps, before)


def bin_probabilities(probabilities: np.ndarray, count: int) -> np.ndarray:
    """Return the probabilities of `count` ids (..., N) summed in min(count, CELLS) cells, (..., CELLS).

    The cell of id i is i times the number of cells over `count`, rounded down. Cells beyond the number are 0.
    """
    cells = min(count, CELLS)
    starts = -(-np.arange(cells) * count // cells)
    binned = np.zeros((*probabilities.shape[:-1], CELLS), np.float32)
    binned[..., :cells] = np.add.reduceat(probabilities[..., :count], starts, axis=-1)
    return binned


def _action_chances(
    agent: Agent, task: str, steps: Sequence[TokenSequence], before: Sequence[TokenSequence]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the probabilities in cells (T, A, CELLS) of all action tokens, and the numbers of cells (A,)."""
    ranges = agent.layout(task).action_ranges
    counts = (ranges[:, 1] - ranges[:, 0]).tolist()
    windows = plan_windows([len(step) for step in steps], _room(agent, before), _most_steps(agent, task))
    rows = [concatenate([*before, read_window(steps, one, hide=agent.decoding.one_pass)]) for one in windows]
    found = np.zeros((len(steps), len(ranges), CELLS), np.float32)
    for start in range(0, len(rows), ROWS):
        part, places = rows[start : start + ROWS], windows[start : start + ROWS]
        for window, chances in zip(places, _chances(agent, part, max(counts)), strict=True):
            chances = chances.reshape(window.stop - window.first, len(ranges), -1)
            for column, count in enumerate(counts):
                found[window.first : window.stop, column] = bin_probabilities(chances[:, column], count)
    return found, np.minimum(counts, CELLS)


def _chances(agent: Agent, rows: Sequence[TokenSequence], ids: int) -> list[np.ndarray]:
    """Return the probabilities (tokens, ids) at each token of each row whose loss mask is True."""
    asked = ask_actions(rows, agent.contract.tokenization.patch)
    found = np.asarray(_probabilities(agent.graph, agent.params, asked.batch, asked.before, asked.ranges, ids))
    return [found[number, :count] for number, count in enumerate(asked.counts)]


@functools.partial(jax.jit, static_argnames=("graph", "ids"))
def _probabilities(
    graph: nnx.GraphDef, params: nnx.State, batch: WindowBatch, before: jax.Array, ranges: jax.Array, ids: int
) -> jax.Array:
    """Return the probabilities (B, K, ids) of the ids from the low end of `ranges` (B, K, 2) after `before` (B, K)."""
    model = nnx.merge(graph, params)
    logits = model.logits(jnp.take_along_axis(model(batch), before[..., None], axis=1))
    chosen = ranges[..., :1] + jnp.arange(ids)[None, None]
    found = jnp.take_along_axis(logits, jnp.minimum(chosen, logits.shape[-1] - 1), axis=-1)
    return jax.nn.softmax(jnp.where(chosen < ranges[..., 1:], found, -jnp.inf), axis=-1)


def _attention_map(
    agent: Agent, episode: Episode, steps: Sequence[TokenSequence], before: Sequence[TokenSequence]
) -> dict[str, np.ndarray]:
    number = len(steps) // 2
    step = steps[number]
    layout = agent.layout(episode.task)
    keys = [key for _, key, _ in layout.observation_columns if isinstance(layout.spec.observation.get(key), Image)]
    if not keys or not len(step.patch_slots):
        return {}
    limit, first, room = _most_steps(agent, episode.task), number, _room(agent, before)
    while first and sum(map(len, steps[first - 1 : number + 1])) <= room and (not limit or number - first + 1 < limit):
        first -= 1
    window = [_hidden(agent, one) for one in steps[first : number + 1]]
    row = concatenate([*before, *window])
    length = len(row) - 1  # the last action token is what is chosen there
    batch = batch_windows([row.slice(0, length)], agent.contract.tokenization.patch)
    weights = np.asarray(_attention_of_last(agent.graph, agent.params, batch, jnp.asarray(length - 1)))
    image = np.asarray(episode.observation[keys[0]][number])
    slots, intervals = len(row) - len(step) + step.patch_slots, step.patch_intervals
    corners = np.flatnonzero((intervals[:, [0, 2]] == 0).all(axis=1))  # the first patch of each image
    own = slice(0, corners[1] if len(corners) > 1 else len(slots))
    rows = len(np.unique(intervals[own, 0]))
    return {
        "attention": weights[slots[own]].reshape(rows, -1).astype(np.float32),
        "attention_image": image if image.shape[-1] == 3 else np.repeat(image[..., :1], 3, axis=-1),
        "attention_step": np.array(number),
    }


@functools.partial(jax.jit, static_argnames="graph")
def _attention_of_last(graph: nnx.GraphDef, params: nnx.State, batch: WindowBatch, query: jax.Array) -> jax.Array:
    """Return the weights (T,) of one position in the last layer, the mean over its heads, of a single row."""
    return attention_weights(nnx.merge(graph, params), batch)[0, :, query].mean(axis=0)


def _hidden(agent: Agent, tokens: TokenSequence) -> TokenSequence:
    """Return the tokens with zeros in place of actions, if all of them come from one run of the network."""
    if not agent.decoding.one_pass:
        return tokens
    return tokens.replace(token_ids=np.where(tokens.action_range[:, 1] > 0, 0, tokens.token_ids))


def _room(agent: Agent, before: Sequence[TokenSequence]) -> int:
    """Return the number of tokens that the context has for timesteps."""
    return (agent.decoding.context or agent.context) - sum(map(len, before))


def _most_steps(agent: Agent, task: str) -> int | None:
    limits = agent.memory_steps.get(task), agent.decoding.memory_steps
    return min((limit for limit in limits if limit is not None), default=None)
