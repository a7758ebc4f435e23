"""Initial states of a run: new params, an image trunk from a file, or the params of another run."""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import jax.numpy as jnp
from flax import nnx

from gato_jax.checkpoints import CheckpointError, load_resnet50, model_to_json, restore_agent
from gato_jax.episodes.differences import require_same
from gato_jax.runtime.paths import as_path
from gato_jax.tokenization import Contract
from gato_jax.training.config import TrainConfig
from gato_jax.training.finetuning import digest
from gato_jax.training.program import Program
from gato_jax.training.resume import newest_description
from gato_jax.training.step import TrainState

# Settings of the model that an agent's params do not depend on.
_REGULARISATION = ("tokenization", "dropout", "stochastic_depth", "freeze_image_trunk", "bin_init")

Start = Callable[[Program, jax.Array], TrainState]


def from_scratch(program: Program, key: jax.Array) -> TrainState:
    """Return a state with new random params, of which each device makes its own part, at step 0."""
    return program.init(key)


def from_params(params: nnx.State) -> Start:
    """Return a function that starts a run at step 0 with the given params and a new state of the optimizer.

    The moving average of the params, if the run keeps one, begins as a copy of them. The first step donates the params,
    so they cannot be used afterwards.
    """

    def start(program: Program, key: jax.Array) -> TrainState:
        state = program.to_stored(program.init(key))
        placed = jax.tree.map(lambda new, old: jax.device_put(new, old.sharding), params, program.stored.params)
        average = None if state.average is None else jax.tree.map(jnp.copy, placed)
        return program.from_stored(state._replace(params=placed, average=average))

    return start


class FromAgent:
    """Start of a run at step 0 with the params that another agent acts with.

    Args:
      source: Folder of the agent's run, or file that `gato export` wrote.
      config: Config of the new run.

    Attributes:
      origin: Source, step and digest of the params, as JSON.

    Raises:
      CheckpointError: There is no agent, it is damaged, or its model is another one.
      ContractError: Its tokenization is another one.
    """

    def __init__(self, source: str, config: TrainConfig):
        self._source = source
        self._agent = restore_agent(as_path(source))
        self.origin = {"source": source, "step": self._agent.step, "params": digest(self._agent.params)}
        held = Contract(self._agent.contract.tokenization, {})
        Contract(config.model.tokenization, {}).require_equal(held, source)
        wanted, known = (
            {name: value for name, value in model_to_json(model).items() if name not in _REGULARISATION}
            for model in (config.model, self._agent.model)
        )
        require_same(
            wanted, known, problem=f"init_from is {source}, an agent of another model", holder="its checkpoint",
            remedy="Set these in config.model, or leave init_from out.", error=CheckpointError,
        )  # fmt: skip

    def require_contract(self, contract: Contract):
        """Check that the tasks that both have are the same tasks.

        Raises:
          ContractError: Specs or action limits of a task differ; the message shows the differences.
        """
        common = contract.tasks.keys() & self._agent.contract.tasks.keys()
        mine, theirs = (
            Contract.of(
                one.tokenization,
                [one.tasks[name] for name in sorted(common)],
                {name: limits for name, limits in one.action_limits.items() if name in common},
                {name: text for name, text in one.task_texts.items() if name in common},
            )
            for one in (contract, self._agent.contract)
        )
        mine.require_equal(theirs, self._source)

    def __call__(self, program: Program, key: jax.Array) -> TrainState:
        """Return the state at step 0."""
        return from_params(self._agent.params)(program, key)


def choose_start(config: TrainConfig, workdir: pathlib.Path) -> Start:
    """Return the start that a config asks for; no file is read if the folder has a checkpoint to go on from.

    Raises:
      CheckpointError, ContractError: The agent of `init_from` cannot be read or does not fit (see `FromAgent`).
      WeightsError: `image_trunk_weights` cannot be read (see `with_image_trunk`).
    """
    if newest_description(workdir) is None:
        if config.init_from is not None:
            return FromAgent(config.init_from, config)
        if config.image_trunk_weights is not None:
            return with_image_trunk(as_path(config.image_trunk_weights))
    return from_scratch


def with_image_trunk(path: pathlib.Path) -> Start:
    """Return a function that starts a run with new params and torchvision's weights in the ResNet-50.

    The file is read by this call, not when the run starts. The model must have image_trunk=resnet_50.

    Args:
      path: Local safetensors file of the weights.

    Raises:
      WeightsError: The file has not these weights (see `load_resnet50`).
    """
    weights = load_resnet50(path)

    def start(program: Program, key: jax.Array) -> TrainState:
        params = nnx.to_pure_dict(program.to_stored(program.init(key)).params)
        params["embedding"]["patch"]["resnet"] = weights
        like = jax.tree.map(lambda leaf: leaf, program.stored.params)
        nnx.replace_by_pure_dict(like, params)
        return from_params(like)(program, key)

    return start
