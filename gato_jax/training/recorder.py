"""The metrics of all steps on their way from the devices to the files of a run, one step late."""

from __future__ import annotations

import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gato_jax.batching import Mixture
from gato_jax.checkpoints import CheckpointStore
from gato_jax.training.config import TrainConfig
from gato_jax.training.metrics import MetricsLog
from gato_jax.training.skipped_steps import SkippedSteps


class Recorder:
    """Receiver of the metrics of each step.

    The metrics of a step are fetched when the next step is on its way, so that the device does not wait for the host.

    Args:
      config: Config of the run.
      mixture: The rows of the run.
      workdir: Folder of the run.
      store: The checkpoints of the run.
      first_step: Step that the run continues from.
      held: State of the loader in the checkpoint of that step, with the items of `state`; {} without a checkpoint.
      images: {name: image} of the first batch.
      command: Command that goes on with the run, for messages.
    """

    def __init__(
        self,
        config: TrainConfig,
        mixture: Mixture,
        workdir: pathlib.Path,
        store: CheckpointStore,
        first_step: int,
        held: Mapping[str, Any],
        *,
        images: Mapping[str, np.ndarray],
        command: str | None,
    ):
        self._store, self._command = store, command
        self._skipped = SkippedSteps(workdir, config, mixture, first_step, held.get("skipped_in_a_row", 0))
        self._log = MetricsLog(workdir, mixture.names, config, first_step, window=held.get("window", ()), images=images)
        self._next = first_step  # index of the step whose metrics are fetched next
        self._pending: Mapping[str, Any] | None = None

    @property
    def in_a_row(self) -> int:
        """Number of steps, up to the latest one fetched, that were skipped one after the other."""
        return self._skipped.in_a_row

    @property
    def state(self) -> dict[str, Any]:
        """State of the recorder in JSON, with which a run that goes on writes the lines that it would have written."""
        self._log.sync()
        return {"window": self._log.window, "skipped_in_a_row": self.in_a_row}

    def add(self, metrics: Mapping[str, Any], progress: tqdm):
        """Take the metrics of the next step, still on the devices, and fetch those of the step before.

        Raises:
          NonFiniteLossError: Too many steps in a row were not finite.
        """
        self.fetch(progress)
        self._pending = metrics

    def fetch(self, progress: tqdm, evaluate: Callable[[], Mapping[str, float]] | None = None):
        """Fetch the metrics of the latest step and write its line if one is due; do nothing if that is done.

        Args:
          progress: Progress bar, which shows loss and speed.
          evaluate: Function that evaluates the agent after this step; None if no evaluation is due.

        Raises:
          NonFiniteLossError: Too many steps in a row were not finite.
        """
        if self._pending is None:
            return
        step, metrics = self._next, jax.device_get(self._pending)
        self._pending, self._next = None, step + 1
        self._skipped.add(step, metrics, self._store, self._command)
        self._log.add(step, metrics, progress, evaluate)

    def close(self) -> dict[str, Any]:
        """Close the files and return the last line of metrics.jsonl, {} if there is none."""
        return self._log.close()
