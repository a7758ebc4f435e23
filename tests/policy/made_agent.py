"""An agent with random parameters, and two ways to compute what it thinks: step by step, and all at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.batching.batch import collate
from gato_jax.model import ModelConfig, graphdef
from gato_jax.policy import Agent
from gato_jax.policy.cache import advance, compute_relative_keys, empty_state, forget, open_window
from gato_jax.policy.policy import batch_observations
from gato_jax.tokenization import Contract, Layout, Tokenization, TokenSequence
from gato_jax.tokenization.sequence import concatenate
from tests.model.made_model import alive
from tests.tokenization.made_tasks import CAPTION, CONTROL, DIALOGUE, GRID, ROBOT, random_episode

MODEL = ModelConfig(
    layers=2, width=32, heads=2, head_size=8, hidden=48, patch_channels=32, patch_stride=8, stochastic_depth=0.0
)


TASK_TEXT_FIRST = Tokenization(task_text_first=True)
TASK_TEXT = "pick up the blue key"


def made_agent(
    *, context: int = 200, memory_steps: int | None = None, tokenization: Tokenization | None = None, **changes
) -> Agent:
    config = dataclasses.replace(MODEL, **changes)
    specs = (CAPTION, CONTROL, DIALOGUE, GRID, ROBOT)
    texts = {spec.name: TASK_TEXT for spec in specs} if tokenization == TASK_TEXT_FIRST else None
    contract = Contract.of(tokenization or Tokenization(), specs, task_texts=texts)
    return Agent(
        config, graphdef(config), alive(config), contract,
        context=context, memory_steps={spec.name: memory_steps for spec in specs}, step=1,
    )  # fmt: skip


def steps_of(spec, seed: int, steps: int) -> list[TokenSequence]:
    """The timesteps of a random episode, observation and action."""
    return Layout(spec, Tokenization()).encode_timesteps(random_episode(spec, seed, steps))


class StepByStep:
    """Follows given timesteps through the ring, as `act` does with those it chooses."""

    def __init__(self, agent: Agent, environments: int, actions: int, *, slots: int | None = None):
        model = nnx.merge(agent.graph, agent.params)
        relative_keys = compute_relative_keys(model, agent.context)
        memory_steps = next(iter(agent.memory_steps.values()))
        self.actions = actions
        self.state = empty_state(agent.model, environments, slots or agent.context)

        @jax.jit
        def follow(params, state, observation, tail, fresh):
            model = nnx.merge(agent.graph, params)
            state = forget(state, fresh)
            window = open_window(state, observation.real.sum(axis=1) + actions, agent.context, memory_steps)
            vectors = model.embedding(*(getattr(observation, name) for name in observation._fields if name != "real"))
            seen, state = advance(model, relative_keys, state, vectors, observation.real, window)
            hidden = []
            for column in range(actions):
                ids, local = tail.token_ids[:, column], tail.local_position[:, column]
                vector = (model.embedding.tokens[ids] + model.embedding.local[local])[:, None]
                done, state = advance(model, relative_keys, state, vector, jnp.ones((len(ids), 1), bool), window)
                hidden.append(done)
            return (seen, jnp.concatenate(hidden, axis=1)), state._replace(next_timestep=state.next_timestep + 1)

        self.follow = lambda *args: follow(agent.params, *args)

    def __call__(self, steps: Sequence[TokenSequence], fresh: Sequence[bool]) -> list[np.ndarray]:
        """(L, D) hidden vectors of each environment's timestep."""
        heads = [step.slice(0, len(step) - self.actions) for step in steps]
        tails = [step.slice(len(step) - self.actions, len(step)) for step in steps]
        observation, tail = batch_observations(heads, 16), batch_observations(tails, 16)
        (seen, done), self.state = self.follow(self.state, observation, tail, np.array(fresh))
        return [np.concatenate([seen[b, : len(head)], done[b]]) for b, head in enumerate(heads)]


class AllAtOnce:
    """The model itself over whole sequences, padded to one length so that it compiles once."""

    def __init__(self, agent: Agent, length: int = 200):
        compiled = jax.jit(lambda params, batch: nnx.merge(agent.graph, params)(batch))
        self.length, self.forward = length, lambda batch: compiled(agent.params, batch)

    def __call__(self, steps: Sequence[TokenSequence]) -> list[np.ndarray]:
        """(L, D) hidden vectors of each of these timesteps, one after the other."""
        sequence = concatenate(steps)
        batch = collate([sequence], [0], [0], context=self.length, patch=16, patch_budget=64)
        hidden = np.asarray(self.forward(jax.tree.map(jnp.asarray, batch)))[0, : len(sequence)]
        return np.split(hidden, np.cumsum([len(step) for step in steps])[:-1])
