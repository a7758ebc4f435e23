"""One compiled step of the agent: the observation is prefilled, then each action token is decoded.

With A action tokens, the network is run A times: the first run reads the last action token of the timestep before
together with the observation, and each further run reads one action token. The last one is left to the next timestep.
With `one_pass`, all action tokens come from the first run (paper, appendix G).

Action ranges and counts are arrays, so that one program serves a batch whose environments play different tasks. It
is compiled once for each of the few padded sizes (see `shapes`). Environments may be idle; they stay as they are.

Axes:
    B environments   T observation positions, padded   P patches, padded   A action tokens, padded   V ids
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

from gato_jax.model.einsum import einsum_f32
from gato_jax.model.gato import Gato
from gato_jax.policy.cache import DecodeState, advance, forget, open_timestep
from gato_jax.policy.network import Network
from gato_jax.policy.rings import commit
from gato_jax.policy.sampling import Sampling, choose


class Observation(NamedTuple):
    """Tokens and patches of one timestep's observation in B environments.

    Attributes:
      token_ids: (B, T) ids, padded.
      local_position: (B, T) position of each token within its timestep.
      real: (B, T) True where there is a token, False for padding, which follows the tokens, and where nothing is seen.
      patches: (1, P, p, p, C) pixels of the image patches of all environments together, padded.
      patch_slots: (1, P) index of each patch's token in the flattened (B T) positions; B T for padding.
      patch_intervals: (1, P, 4) row low, row high, column low, column high of each patch, in 1/128 of its image.
    """

    token_ids: Int[Array, "B T"]
    local_position: Int[Array, "B T"]
    real: Bool[Array, "B T"]
    patches: UInt8[Array, "1 P p p C"]
    patch_slots: Int[Array, "1 P"]
    patch_intervals: Int[Array, "1 P 4"]


class ActionTokens(NamedTuple):
    """The action tokens of the task in each environment, and its memory.

    Attributes:
      ranges: (B, A, 2) range [low, high) of valid ids of each token; (0, 1) for padding.
      count: (B,) number of tokens, at least 1 and at most A.
      position: (B,) local position that all of them share.
      memory_steps: (B,) maximum number of timesteps in the attention window, besides the prompt.
    """

    ranges: Int[Array, "B A 2"]
    count: Int[Array, " B"]
    position: Int[Array, " B"]
    memory_steps: Int[Array, " B"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class ActSettings:
    """Settings that are compile-time constants of `act`.

    Attributes:
      context: Maximum number of tokens in the attention window, see `cache.open_timestep`.
      sampling: The way to choose a token.
      one_pass: Whether all action tokens come from one run of the network, which reads zeros in their place.
      loop: Loop over the runs of the network for single action tokens: `while`, a loop on the device, of as many runs
        as the longest action has tokens; `unrolled`, A - 1 runs one after the other in the program.
    """

    context: int
    sampling: Sampling
    one_pass: bool = False
    loop: Literal["while", "unrolled"] = "while"


@functools.partial(jax.jit, static_argnames=("graph", "settings"), donate_argnames="state")
def act(
    graph: nnx.GraphDef,
    network: Network,
    state: DecodeState,
    observation: Observation,
    actions: ActionTokens,
    active: Bool[Array, " B"],
    fresh: Bool[Array, " B"],
    keys: Key[Array, " B"],
    settings: ActSettings,
) -> tuple[Int[Array, "B A"], DecodeState]:
    """Choose the action of one timestep in each environment that is active.

    Args:
      graph: Structure of the model.
      network: Arrays of the agent.
      state: Decode state before this timestep; its buffers are donated.
      observation: Tokens and patches of the observation.
      actions: Action tokens to choose.
      active: Environments that observe something; the others are idle.
      fresh: Environments in which an episode begins at this timestep.
      keys: Random key of each environment's episode. The numbers of the timestep and of the token are folded in, so the
        samples of an episode do not depend on the other environments.
      settings: Compile-time constants.

    Returns:
      Ids (B, A) of the action tokens, each within its range, those of padding and idle environments undefined; and the
      decode state that includes this timestep.
    """
    model = nnx.merge(graph, network.params)
    state = forget(state, fresh & active)
    actions = actions._replace(count=jnp.where(active, actions.count, 1))
    columns = open_timestep(state, observation.real, actions.count, settings.context, actions.memory_steps, active)
    step_keys = jax.vmap(jax.random.fold_in)(keys, state.next_timestep)
    run = functools.partial(advance, model, network.relative_keys)
    choose = functools.partial(_choose_token, network, actions, step_keys, settings.sampling)
    method = _choose_in_one_pass if settings.one_pass else _choose_one_by_one
    chosen, state = method(model, run, choose, state, columns, observation, actions, settings)
    last_id = jnp.take_along_axis(chosen, actions.count[:, None] - 1, axis=1)[:, 0]
    return chosen, commit(state, columns, last_id, active)


def _choose_one_by_one(
    model, run, choose, state: DecodeState, columns, observation: Observation, actions: ActionTokens, settings
) -> tuple[Int[Array, "B A"], DecodeState]:
    """Return the ids of the action tokens, chosen one after the other, and the state with all columns.

    Args:
      model: The model.
      run: `advance` with the arguments before `state`.
      choose: `_choose_token` with the arguments before `hidden`.
      state: State before the timestep.
      columns: Columns of the timestep.
      observation: The observation.
      actions: Action tokens to choose.
      settings: Compile-time constants.
    """
    before = _embed_action(model, jnp.maximum(state.last_id, 0), actions.position)[:, None]
    x = jnp.concatenate([before, embed_observation(model, observation)], axis=1)
    hidden, state = run(state, columns, x, 0, observation.real.sum(axis=1, keepdims=True))
    length, (environments, count, _) = observation.real.shape[1], actions.ranges.shape
    chosen = jnp.zeros((environments, count), jnp.int32).at[:, 0].set(choose(hidden[:, 0], 0))
    only = jnp.zeros((environments, 1), jnp.int32)

    def next_token(index, carry):
        chosen, layers = carry
        x = _embed_action(model, chosen[:, index - 1], actions.position)[:, None]
        hidden, after = run(state._replace(layers=layers), columns, x, length + index, only)
        return chosen.at[:, index].set(choose(hidden[:, 0], index)), after.layers

    carry = chosen, state.layers
    if settings.loop == "while":
        carry = jax.lax.fori_loop(1, actions.count.max(), next_token, carry)
    else:
        for index in range(1, count):
            carry = next_token(index, carry)
    return carry[0], state._replace(layers=carry[1])


def _choose_in_one_pass(
    model, run, choose, state: DecodeState, columns, observation: Observation, actions: ActionTokens, settings
) -> tuple[Int[Array, "B A"], DecodeState]:
    """Return the same as `_choose_one_by_one`, where zeros are read in place of all action tokens."""
    length, (environments, count, _) = observation.real.shape[1], actions.ranges.shape
    zero = _embed_action(model, None, actions.position)[:, None]
    zeros = jnp.broadcast_to(zero, (environments, count - 1, zero.shape[-1]))
    x = jnp.concatenate([zero, embed_observation(model, observation), zeros], axis=1)
    later = jnp.broadcast_to(length + 1 + jnp.arange(count - 1)[None], (environments, count - 1))
    wanted = jnp.concatenate([observation.real.sum(axis=1, keepdims=True), later], axis=1)
    hidden, state = run(state, columns, x, 0, wanted)
    return jax.vmap(choose, in_axes=(1, 0), out_axes=1)(hidden, jnp.arange(count)), state


def embed_observation(model: Gato, observation: Observation) -> Float[Array, "B T D"]:
    """Return the embeddings of the tokens and patches of an observation."""
    return model.embedding(
        observation.token_ids,
        observation.local_position,
        observation.patches,
        observation.patch_slots,
        observation.patch_intervals,
    )


def _embed_action(model, ids: Int[Array, " B"] | None, position: Int[Array, " B"]) -> Float[Array, "B D"]:
    """Return the embeddings of one action token in each environment; without ids, zero plus the local position."""
    local = model.embedding.local[position]
    return local if ids is None else model.embedding.tokens[ids] + local


def _choose_token(
    network: Network,
    actions: ActionTokens,
    keys: Key[Array, " B"],
    sampling: Sampling,
    hidden: Float[Array, "B D"],
    index: int | Int[Array, ""],
) -> Int[Array, " B"]:
    """Return the id of action token `index` in each environment, given the hidden vector of the token before it."""
    low, high = jnp.moveaxis(jax.lax.dynamic_index_in_dim(actions.ranges, index, 1, keepdims=False)[..., None], 1, 0)
    valid = (network.head_ids[None] >= low) & (network.head_ids[None] < high)
    token_keys = jax.vmap(jax.random.fold_in, (0, None))(keys, index)
    return network.head_ids[choose(einsum_f32("BD,VD->BV", hidden, network.head), valid, token_keys, sampling)]
