"""A trained agent, restored from a run's checkpoint: params and the contract they were trained under."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib

from flax import nnx

from gato_jax.checkpoints import restore_agent
from gato_jax.episodes import TaskSpec
from gato_jax.model import ModelConfig
from gato_jax.tokenization import Contract, Layout
from gato_jax.tokenization.image_tokenizer import ImageTokenizer


class UnknownTaskError(ValueError):
    """A task that the agent was not trained on; the message names the nearest that it was."""


@dataclasses.dataclass(frozen=True)
class Agent:
    """Attributes:

    context: tokens that the agent may look at.
    memory_steps: {task: timesteps it was trained to look back on}; None for as many as fit the context.
    step: of the training run.
    image_tokenizer: where images are codes, the one that makes them.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    params: nnx.State
    contract: Contract
    context: int
    memory_steps: dict[str, int | None]
    step: int
    image_tokenizer: ImageTokenizer | None = None

    @classmethod
    def restore(cls, path: pathlib.Path) -> Agent:
        """Of a run's folder the newest checkpoint; or what `gato export` wrote into a .safetensors file.

        Raises:
          CheckpointError, ImageTokenizerError: there is none, or it is damaged.
        """
        checkpoint = restore_agent(path)
        run, images = checkpoint.run, None
        if checkpoint.contract.tokenization.image_tokenizer is not None:  # a file has none
            images = ImageTokenizer.load(path / "image_tokenizer")
        return cls(
            checkpoint.model, checkpoint.graph, checkpoint.params, checkpoint.contract,
            context=run["context"], memory_steps=run["memory_steps"], step=checkpoint.step,
            image_tokenizer=images,
        )  # fmt: skip

    def layout(self, task: str) -> Layout:
        if task not in self.contract.tasks:
            near = difflib.get_close_matches(task, self.contract.tasks, 3, 0.4) or sorted(self.contract.tasks)
            raise UnknownTaskError(f"the agent was not trained on {task!r}; nearest: {', '.join(near)}")
        return self.contract.layout(task, self.image_tokenizer)

    def require_task(self, spec: TaskSpec):
        """Raises ContractError unless this is the very task that the agent was trained on."""
        trained = self.layout(spec.name).spec
        settings = self.contract.tokenization
        Contract.of(settings, [spec]).require_equal(Contract.of(settings, [trained]), "the checkpoint")
