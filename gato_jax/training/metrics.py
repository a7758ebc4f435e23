"""Metrics of a run: the lines of metrics.jsonl, and their copies in TensorBoard and Weights & Biases."""

from __future__ import annotations

import json
import pathlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from tqdm import tqdm

from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.training.board import Board
from gato_jax.training.config import TrainConfig
from gato_jax.training.lines import keep_lines
from gato_jax.training.optimizer import learning_rate

_MEANS = ("gradient_norm", "update_norm")


class MetricsLog:
    """Writer of metrics.jsonl, with one line for every `log_every` steps and one for each evaluation.

    A line has `step`, counted from 1, and means over the steps since the line before: `loss`, `gradient_norm`,
    `update_norm`, and `loss/NAME`, the mean loss of the targets of each dataset that had some. Steps that were skipped
    because they were not finite are in no mean; `skipped_steps` is their number. Further there are `parameter_norm`,
    `learning_rate`, `tokens_per_second`, and `tokens` and `seconds` since the beginning of the run, and the results of
    the evaluators. The last step of the run has a line, too. Every process but the first writes into a folder of its
    own, `process_N`.

    Args:
      workdir: Folder of the run.
      datasets: Names of the datasets, in the order of their indices.
      config: Config of the run.
      first_step: Step that the run continues from; later lines of an interrupted run are dropped.
      window: `window` of the log at that step: the steps since the last line.
      images: {name: image (H, W, 3) of uint8} to show in TensorBoard.

    Attributes:
      last: The last line, {} if there is none.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        datasets: list[str],
        config: TrainConfig,
        first_step: int,
        *,
        window: Sequence[Mapping[str, Any]] = (),
        images: Mapping[str, np.ndarray] | None = None,
    ):
        self.datasets, self.config = datasets, config
        if jax.process_index():
            workdir = workdir / f"process_{jax.process_index()}"
        path = workdir / "metrics.jsonl"
        # Computed before the first step: on the device, such a small program would wait for the steps before it.
        with jax.numpy_dtype_promotion("standard"):  # optax multiplies the whole numbers by fractions
            self.learning_rates = np.asarray(learning_rate(config.optimizer, config.steps)(jnp.arange(config.steps)))
        earlier = keep_lines(path, first_step)
        self.seconds_before = earlier[-1]["seconds"] if earlier else 0.0
        self.last = earlier[-1] if earlier else {}
        self.file = AppendedFile(path)
        self.board = Board(workdir, config, earlier, images or {})
        self.started = self.previous = time.monotonic()
        self._steps = [{name: np.asarray(value, np.float32) for name, value in step.items()} for step in window]
        self._restored = len(self._steps)

    @property
    def window(self) -> list[dict[str, Any]]:
        """The metrics of the steps since the last line, as JSON."""
        return [{name: np.asarray(value).tolist() for name, value in step.items()} for step in self._steps]

    def add(
        self,
        step: int,
        metrics: Mapping[str, Any],
        progress: tqdm,
        evaluate: Callable[[], Mapping[str, float]] | None = None,
    ):
        """Add the metrics of one step, and write a line if one is due after it.

        Args:
          step: Index of the step, counted from 0.
          metrics: The metrics that the training step returned, on the host.
          progress: Progress bar, which shows loss and speed of the latest line.
          evaluate: Function that evaluates the agent after this step, for which there is a line in any case; None if no
            evaluation is due.
        """
        self._steps.append(dict(metrics))
        done = step + 1
        if evaluate is None and done % self.config.log_every and done != self.config.steps:
            return
        now = time.monotonic()
        tokens_per_step = self.config.batch_size * self.config.context
        line = {"step": done, **self._means(), "learning_rate": float(self.learning_rates[step])}
        line |= {
            "tokens_per_second": (len(self._steps) - self._restored) * tokens_per_step / (now - self.previous),
            "tokens": done * tokens_per_step,
            "seconds": self.seconds_before + now - self.started,
        }
        self._write(line | dict(evaluate() if evaluate else {}))
        loss = f"{line['loss']:.3f}" if "loss" in line else "not finite"
        progress.set_postfix(loss=loss, tokens_s=f"{line['tokens_per_second']:.0f}", refresh=False)
        self._steps, self._restored = [], 0
        self.previous = time.monotonic()  # an evaluation is no training

    def sync(self):
        """Write all lines and events to the disk or bucket, so that they are there before a checkpoint is."""
        self.file.sync()
        self.board.flush()

    def close(self) -> dict[str, Any]:
        """Close the files and return the last line of metrics.jsonl, {} if there is none."""
        self.file.close()
        self.board.close()
        return self.last

    def _means(self) -> dict[str, Any]:
        """Return the part of a line that is computed from the steps of the window."""
        finite = [step for step in self._steps if step["finite"]]
        means: dict[str, Any] = {}
        if finite:
            means["loss"] = float(np.mean([step["loss"] for step in finite], dtype=np.float64))
            means |= {name: float(np.mean([step[name] for step in finite])) for name in _MEANS}
            means["parameter_norm"] = float(finite[-1]["parameter_norm"])
            sums, counts = (np.sum([step[name] for step in finite], axis=0) for name in ("sums", "counts"))
            means |= {f"loss/{n}": float(s / c) for n, s, c in zip(self.datasets, sums, counts, strict=True) if c}
        means["skipped_steps"] = len(self._steps) - len(finite)
        return means

    def _write(self, line: dict[str, Any]):
        self.file.write(f"{json.dumps(line)}\n".encode())
        self.file.flush()
        self.board.add(line)
        self.last = line
