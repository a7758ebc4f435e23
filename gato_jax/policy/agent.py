"""A trained agent, restored from a run's checkpoint: params and the contract they were trained under."""

from __future__ import annotations

import dataclasses
import difflib
import pathlib

from flax import nnx

from gato_jax.checkpoints import CheckpointStore
from gato_jax.episodes import TaskSpec
from gato_jax.model import ModelConfig
from gato_jax.tokenization import Contract, Layout


class UnknownTaskError(ValueError):
    """A task that the agent was not trained on; the message names the nearest that it was."""


@dataclasses.dataclass(frozen=True)
class Agent:
    """Attributes:

    context: tokens that the agent may look at.
    memory_steps: {task: timesteps it was trained to look back on}; None for as many as fit the context.
    step: of the training run.
    """

    model: ModelConfig
    graph: nnx.GraphDef
    params: nnx.State
    contract: Contract
    context: int
    memory_steps: dict[str, int | None]
    step: int

    @classmethod
    def restore(cls, workdir: pathlib.Path) -> Agent:
        """The newest checkpoint of a run."""
        store = CheckpointStore(workdir, read_only=True)
        checkpoint = store.restore_agent()
        store.close()
        run = checkpoint.run
        return cls(
            checkpoint.model, checkpoint.graph, checkpoint.params, checkpoint.contract,
            context=run["context"], memory_steps=run["window_steps"], step=checkpoint.step,
        )  # fmt: skip

    def layout(self, task: str) -> Layout:
        if task not in self.contract.tasks:
            near = difflib.get_close_matches(task, self.contract.tasks, 3, 0.4) or sorted(self.contract.tasks)
            raise UnknownTaskError(f"the agent was not trained on {task!r}; nearest: {', '.join(near)}")
        return Layout(self.contract.tasks[task], self.contract.tokenization)

    def require_task(self, spec: TaskSpec):
        """Raises ContractError unless this is the very task that the agent was trained on."""
        trained = self.layout(spec.name).spec
        settings = self.contract.tokenization
        Contract.of(settings, [spec]).require_equal(Contract.of(settings, [trained]), "the checkpoint")
