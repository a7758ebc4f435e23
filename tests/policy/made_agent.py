"""An agent with random parameters, and two ways to compute what it thinks: step by step, and all at once."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from gato_jax.batching.batch import collate
from gato_jax.model import ModelConfig, graphdef
from gato_jax.policy import Agent
from gato_jax.policy.batches import UNLIMITED, batch_observations
from gato_jax.policy.cache import advance, count_columns, empty_state, forget, open_timestep, resize
from gato_jax.policy.rings import commit
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


def attentive(agent: Agent) -> Agent:
    """The agent with larger params of attention, so that what it has read decides what it chooses."""
    agent.params["embedding"]["tokens"][...] *= 50.0
    for block in agent.params["blocks"].values():
        block["attention"]["out"][...] *= 20.0
    return agent


def steps_of(spec, seed: int, steps: int) -> list[TokenSequence]:
    """The timesteps of a random episode, observation and action."""
    return Layout(spec, Tokenization()).encode_timesteps(random_episode(spec, seed, steps))


class StepByStep:
    """Follows given timesteps through the ring, as `act` does with those it chooses."""

    def __init__(self, agent: Agent, environments: int, actions: int):
        network = agent.network("float32", [(0, 1)])
        self.actions, self.last = actions, None
        self.state = empty_state(agent.model, environments, agent.context, 0)
        steps = next(iter(agent.memory_steps.values()))
        memory_steps = jnp.full(environments, UNLIMITED if steps is None else steps)

        def embed(model, ids, local):
            return (model.embedding.tokens[ids] + model.embedding.local[local])[:, None]

        @jax.jit
        def follow(params, state, observation, tail, fresh):
            model = nnx.merge(agent.graph, params)
            state = forget(state, fresh)
            length = observation.real.shape[1]
            count = jnp.full(len(fresh), actions)
            columns = open_timestep(state, observation.real, count, agent.context, memory_steps)
            vectors = model.embedding(*(getattr(observation, name) for name in observation._fields if name != "real"))
            before = (
                model.embedding.tokens[jnp.maximum(state.last_id, 0)] + model.embedding.local[tail.local_position[:, 0]]
            )
            x = jnp.concatenate([before[:, None], vectors], axis=1)
            everywhere = jnp.broadcast_to(jnp.arange(length + 1)[None], x.shape[:2])
            run = functools.partial(advance, model, network.relative_keys)
            seen, state = run(state, columns, x, 0, everywhere)
            hidden, written, only = [], columns, jnp.zeros((len(fresh), 1), int)
            for column in range(actions):
                at = length + 1 + column
                if column + 1 == actions:  # the last one is only looked at here, and written with the next timestep
                    real, position = columns.real.at[:, at].set(True), columns.position.at[:, at].add(1)
                    columns = columns._replace(real=real, position=position)
                vector = embed(model, tail.token_ids[:, column], tail.local_position[:, column])
                done, state = run(state, columns, vector, at, only)
                hidden.append(done)
            state = commit(state, written, tail.token_ids[:, actions - 1])
            return seen, jnp.concatenate(hidden, axis=1), state

        self.follow = lambda *args: follow(agent.params, *args)

    def __call__(self, steps: Sequence[TokenSequence], fresh: Sequence[bool]) -> list[np.ndarray]:
        """(L, D) hidden vectors of each environment's timestep."""
        heads = [step.slice(0, len(step) - self.actions) for step in steps]
        tails = [step.slice(len(step) - self.actions, len(step)) for step in steps]
        observation, tail = batch_observations(heads, 16), batch_observations(tails, 16)
        columns = observation.real.shape[1] + self.actions + 1
        state = self.state if count_columns(self.state) == columns else resize(self.state, columns)
        seen, done, self.state = self.follow(state, observation, tail, np.array(fresh))
        if self.last is not None:
            going_on = ~np.array(fresh)
            np.testing.assert_allclose(seen[going_on, 0], self.last[going_on], rtol=1e-4, atol=1e-4)
        self.last = np.asarray(done[:, -1])
        return [np.concatenate([seen[b, 1 : 1 + len(head)], done[b]]) for b, head in enumerate(heads)]


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
