"""Steps that were skipped because their loss or gradient was not finite: their rows on disk, and the end of the run."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax

from gato_jax.batching import Mixture
from gato_jax.checkpoints import CheckpointStore
from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.training.config import TrainConfig
from gato_jax.training.lines import keep_lines

FILE = "skipped_steps.jsonl"


class NonFiniteLossError(RuntimeError):
    """Losses or gradients that are NaN or infinite, so that a run ends.

    The message names the step, the last good checkpoint and the command that goes on from it.
    """


class SkippedSteps:
    """Record of the steps of a run that were skipped, in WORKDIR/skipped_steps.jsonl.

    A line has `step`, counted from 1, `loss`, `gradient_norm` and `update_norm` as text, and `rows`: for each row of
    the batch its number in the run, which `gato inspect --row` takes, the name of its dataset, and the numbers of its
    episodes.

    Args:
      workdir: Folder of the run.
      config: Config of the run.
      mixture: The rows of the run.
      first_step: Step that the run continues from; lines of later steps are dropped.
      in_a_row: Number of steps right before `first_step` that were skipped.

    Attributes:
      in_a_row: Number of steps, up to the latest, that were skipped one after the other.
    """

    def __init__(
        self, workdir: pathlib.Path, config: TrainConfig, mixture: Mixture, first_step: int, in_a_row: int = 0
    ):
        self.in_a_row = in_a_row
        self._last_good = first_step - in_a_row - 1  # newest step whose checkpoint may be gone back to
        self._path, self._config, self._mixture = workdir / FILE, config, mixture
        if self._path.exists() and not jax.process_index():
            keep_lines(self._path, first_step)

    def add(self, step: int, metrics: Mapping[str, Any], store: CheckpointStore, command: str | None):
        """Add the metrics of one step.

        Args:
          step: Index of the step, counted from 0.
          metrics: The metrics that the training step returned, on the host.
          store: The checkpoints of the run.
          command: Command that goes on with the run, for the message of the error; None if there is none.

        Raises:
          NonFiniteLossError: This step and those before it, `max_skipped_steps` together, were all skipped.
        """
        if metrics["finite"]:
            self.in_a_row = 0
            return
        if not self.in_a_row:
            self._last_good = step - 1  # params that give no finite loss were saved, if at all, right before this step
        self.in_a_row += 1
        if not jax.process_index():
            self._write(step, metrics)
        if self.in_a_row >= self._config.max_skipped_steps:
            store.wait()
            raise NonFiniteLossError(self._describe_end(step, metrics, store, command))

    def _write(self, step: int, metrics: Mapping[str, Any]):
        first = step * self._mixture.batch_size
        rows = []
        for row in range(first, first + self._mixture.batch_size):
            plan = self._mixture.plan(row)
            episodes = sorted({piece.episode for segment in plan.segments for piece in segment})
            rows.append({"row": row, "dataset": self._mixture.names[plan.dataset], "episodes": episodes})
        norms = {name: str(float(metrics[name])) for name in ("loss", "gradient_norm", "update_norm")}
        file = AppendedFile(self._path)
        file.write(f"{json.dumps({'step': step + 1, **norms, 'rows': rows})}\n".encode())
        file.close()

    def _describe_end(self, step: int, metrics: Mapping[str, Any], store: CheckpointStore, command: str | None) -> str:
        first, size = step - self.in_a_row + 1, self._mixture.batch_size
        steps, rate = store.steps(), self._config.optimizer.peak_learning_rate
        good = max((one for one in steps if one <= self._last_good), default=None)
        suspicious = [str(store.directory / str(one)) for one in steps if one > self._last_good]
        again = f"{command} --config.optimizer.peak_learning_rate={rate / 2:g}" if command else "train again"
        if suspicious:
            again = f"rm -r {' '.join(suspicious)} && {again}"
        where = (
            "There is no good checkpoint to go back to"
            if good is None
            else f"The last good checkpoint is {store.directory / str(good)}"
        )
        return (
            f"loss is {float(metrics['loss'])}, gradient norm {float(metrics['gradient_norm'])} and update norm "
            f"{float(metrics['update_norm'])} at step {step + 1}; "
            f"{self.in_a_row} steps in a row were not finite, expected fewer than max_skipped_steps. Their rows are "
            f"{first * size} to {(step + 1) * size - 1}, listed in {self._path}; gato inspect --row={first * size} "
            f"shows them. {where}; lower the learning rate, whose peak is {rate:g}, and go on from there: {again}"
        )
