"""A trained agent, restored from a run's checkpoint: parameters and the contract they were trained under."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import pathlib
from collections.abc import Sequence

import jax
import numpy as np
from flax import nnx

from gato_jax.checkpoints import restore_agent
from gato_jax.episodes import TaskSpec
from gato_jax.model import ModelConfig
from gato_jax.policy.decoding import DEFAULT, Decoding
from gato_jax.policy.network import Network, prepare_network
from gato_jax.policy.shapes import Shape, choose_shapes, fit_shape, round_up, task_shape
from gato_jax.tokenization import Contract, Layout
from gato_jax.tokenization.image_tokenizer import ImageTokenizer

_SAMPLED_VALUES = 1024  # of each parameter, in the digest


class UnknownTaskError(ValueError):
    """A task that the agent was not trained on; the message names the nearest that it was trained on, or all."""


@dataclasses.dataclass(frozen=True)
class Agent:
    """A trained agent: its parameters, and what they were trained to read and write.

    Attributes:
      model: Sizes of the network.
      graph: Structure of the network, which `params` are merged into.
      params: Parameters of the network.
      contract: Tasks and tokenization that the parameters were trained on.
      context: Maximum number of tokens that the agent may look at, those of the current timestep included.
      memory_steps: {task: number of timesteps, the current one included, that it was trained to look at}; None for as
        many as fit into the context.
      step: Training step of the parameters.
      image_tokenizer: Tokenizer of images, where the agent reads them as codes; None otherwise.
      decoding: How the network is run when the agent acts.
      name: Name of the run's folder, or of the file without its suffix, for the provenance of the agent's episodes.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    params: nnx.State
    contract: Contract
    context: int
    memory_steps: dict[str, int | None]
    step: int
    image_tokenizer: ImageTokenizer | None = None
    decoding: Decoding = DEFAULT
    name: str = ""

    @classmethod
    def restore(cls, path: pathlib.Path, *, decoding: Decoding = DEFAULT) -> Agent:
        """Return the agent of the newest checkpoint of a run, or of an exported file.

        Args:
          path: Folder of a run, or a .safetensors file that `gato export` wrote.
          decoding: How the network is run when the agent acts.

        Raises:
          CheckpointError: There is no checkpoint, or it is damaged.
          ImageTokenizerError: The image tokenizer of the run is missing or damaged.
        """
        checkpoint = restore_agent(path)
        run, images = checkpoint.run, None
        if checkpoint.contract.tokenization.image_tokenizer is not None:  # a file has none
            images = ImageTokenizer.load(path / "image_tokenizer")
        agent = cls(
            checkpoint.model, checkpoint.graph, checkpoint.params, checkpoint.contract,
            context=run["context"], memory_steps=run["memory_steps"], step=checkpoint.step,
            image_tokenizer=images, decoding=decoding, name=path.resolve().stem,
        )  # fmt: skip
        # On a mesh, even of one device, the sharding of the decode state changes in the first calls of `act`, and each
        # program is compiled three times.
        return agent.on_one_device() if jax.device_count() == 1 else agent

    def on_one_device(self) -> Agent:
        """Return the agent with its params on one device of this process, where it acts faster than on a mesh."""
        return dataclasses.replace(self, params=jax.device_put(self.params, jax.local_devices()[0]))

    def network(self, dtype: str, spans: Sequence[tuple[int, int]], context: int | None = None) -> Network:
        """Return the arrays of the agent, prepared for acting; they are kept for the next call.

        Args:
          dtype: Dtype of the computation, `float32` or `bfloat16`; norms stay in float32.
          spans: Ranges [low, high) of the ids that an action token may have.
          context: Number of tokens in the attention window. Default: the agent's context.
        """
        key = context or self.context, dtype, tuple(spans)
        if key not in self._networks:
            self._networks[key] = prepare_network(self.graph, self.params, *key)
        return self._networks[key]

    def bucket(self, task: str) -> Shape:
        """Return the padded sizes that a control task is run at, where no task of larger sizes is beside it.

        Raises:
          UnknownTaskError: The agent was not trained on the task.
          ValueError: The action of the task is text.
        """
        loops, shape = self.decoding.loops, task_shape(self.layout(task))
        if shape is None:
            raise ValueError(f"{task}: the action is text, expected a control task. Leave the task out.")
        return fit_shape(self.shapes(loops=loops), shape, loops=loops)

    def shapes(self, *, loops: bool) -> tuple[Shape, ...]:
        """Return the padded sizes that all tasks of the agent are run at, by rising cost; see `choose_shapes`.

        Args:
          loops: As `Decoding.loops`.
        """
        if loops not in self._shapes:
            found = {task_shape(self.layout(task)) for task in self.contract.tasks}
            rounded = [round_up(shape, loops=loops) for shape in found if shape is not None]
            self._shapes[loops] = choose_shapes(rounded)
        return self._shapes[loops]

    @functools.cached_property
    def _shapes(self) -> dict[bool, tuple[Shape, ...]]:
        return {}

    @functools.cached_property
    def _networks(self) -> dict[tuple, Network]:
        return {}

    @functools.cached_property
    def digest(self) -> str:
        """Sixteen hexadecimal digits that differ between agents that act differently, e.g. of two training runs.

        They are a hash of the network's sizes, the contract, the memory, up to 1,024 values of each parameter, and of
        the settings of decoding that are not the default ones.
        """
        settings = [dataclasses.asdict(self.model), self.contract.to_json(), self.context, self.memory_steps, self.step]
        settings += [self.decoding.to_json()] if self.decoding != DEFAULT else []
        images = self.image_tokenizer.fingerprint if self.image_tokenizer is not None else ""
        digest = hashlib.sha256(json.dumps([*settings, images], sort_keys=True).encode())
        for path, leaf in jax.tree.leaves_with_path(self.params):
            values = np.asarray(leaf).reshape(-1)
            stride = -(-len(values) // _SAMPLED_VALUES) or 1
            digest.update(f"{jax.tree_util.keystr(path)} {leaf.dtype} {leaf.shape}".encode())
            digest.update(np.ascontiguousarray(values[::stride]).tobytes())
        return digest.hexdigest()[:16]

    def layout(self, task: str) -> Layout:
        """Return the layout of a task's timesteps as tokens.

        Raises:
          UnknownTaskError: The agent was not trained on this task.
        """
        if task not in self.contract.tasks:
            near = ", ".join(difflib.get_close_matches(task, self.contract.tasks, 3, 0.7))
            known = f"nearest: {near}" if near else f"its tasks: {', '.join(sorted(self.contract.tasks))}"
            raise UnknownTaskError(f"the agent was not trained on {task!r}; {known}")
        return self.contract.layout(task, self.image_tokenizer)

    def require_task(self, spec: TaskSpec):
        """Check that a TaskSpec equals the one of that name that the agent was trained on.

        Raises:
          UnknownTaskError: The agent was not trained on a task of that name.
          ContractError: The two differ in anything that the contract holds.
        """
        trained = self.layout(spec.name).spec
        settings = self.contract.tokenization
        Contract.of(settings, [spec]).require_equal(Contract.of(settings, [trained]), "the checkpoint")
