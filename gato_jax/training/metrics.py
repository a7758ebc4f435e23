"""Metrics of a run: the lines of metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
import pathlib
import time
from typing import Any

import jax
import numpy as np
from tqdm import tqdm

from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.training.bucket_events import summary_writer
from gato_jax.training.config import TrainConfig
from gato_jax.training.optimizer import learning_rate


class NonFiniteLossError(RuntimeError):
    """A loss or gradient that is NaN or infinite. The message names the step; the last checkpoint is from before it."""


class MetricsLog:
    """Writer of metrics.jsonl and of TensorBoard events, with one line for every `log_every` steps and their mean loss.

    A line has `step`, counted from 1, `loss`, `gradient_norm` and `loss/NAME`, the mean loss of the targets of each
    dataset that had some, as means since the line before; further `learning_rate`, `tokens_per_second`, and `tokens`
    and `seconds` since the beginning of the run. The last step of the run has a line, too. Every process but the first
    writes into a folder of its own, `process_N`.

    Args:
      workdir: Folder of the run.
      datasets: Names of the datasets, in the order of their indices.
      config: Config of the run.
      first_step: Step that the run continues from; later lines of an interrupted run are dropped.
    """

    def __init__(self, workdir: pathlib.Path, datasets: list[str], config: TrainConfig, first_step: int):
        self.datasets, self.config = datasets, config
        if jax.process_index():
            workdir = workdir / f"process_{jax.process_index()}"
            workdir.mkdir(exist_ok=True)
        self.path = workdir / "metrics.jsonl"
        self.schedule = learning_rate(config.optimizer, config.steps)
        earlier = [line for line in self._lines() if line["step"] <= first_step]
        with atomic_file(self.path) as partial:
            partial.write_text("".join(json.dumps(line) + "\n" for line in earlier))
        self.seconds_before = earlier[-1]["seconds"] if earlier else 0.0
        self.last = earlier[-1] if earlier else {}
        self.file = AppendedFile(self.path)
        self.board = summary_writer(workdir / "tensorboard", purge_step=first_step + 1)
        self.started = self.previous = time.monotonic()
        self.window: list[dict] = []

    def add(self, step: int, metrics: dict, progress: tqdm):
        """Add the metrics of one step, and write a line after every `log_every` steps and after the last one.

        The class describes the means and other numbers of a line.

        Args:
          step: Index of the step, counted from 0.
          metrics: The metrics that the training step returned.
          progress: Progress bar, which shows loss and speed of the latest line.

        Raises:
          NonFiniteLossError: The loss or the gradient norm of this step, with or without a line, is NaN or infinite.
        """
        metrics = jax.device_get(metrics)
        loss, norm = metrics["loss"], metrics["gradient_norm"]
        if not np.isfinite([loss, norm]).all():  # a gradient that is not finite would be in the next checkpoint
            raise NonFiniteLossError(
                f"loss is {loss} and gradient norm {norm} at step {step + 1}; lower the learning rate and run again"
            )
        self.window.append(metrics)
        if (step + 1) % self.config.log_every and step + 1 != self.config.steps:
            return
        now = time.monotonic()
        tokens = len(self.window) * self.config.batch_size * self.config.context
        sums, counts = (np.sum([m[name] for m in self.window], axis=0) for name in ("sums", "counts"))
        line = {
            "step": step + 1,
            "loss": float(np.mean([m["loss"] for m in self.window], dtype=np.float64)),
            "gradient_norm": float(np.mean([m["gradient_norm"] for m in self.window])),
            "learning_rate": float(np.asarray(self.schedule(step))),
            "tokens_per_second": tokens / (now - self.previous),
            "tokens": (step + 1) * self.config.batch_size * self.config.context,
            "seconds": self.seconds_before + now - self.started,
        }
        line |= {f"loss/{n}": float(s / c) for n, s, c in zip(self.datasets, sums, counts, strict=True) if c}
        self.file.write(f"{json.dumps(line)}\n".encode())
        self.file.flush()
        for name, value in line.items():
            if name not in ("step", "tokens", "seconds"):
                self.board.add_scalar(name, value, step + 1)
        progress.set_postfix(loss=f"{line['loss']:.3f}", tokens_s=f"{line['tokens_per_second']:.0f}", refresh=False)
        self.window, self.previous, self.last = [], now, line

    def sync(self):
        """Write all lines and events to the disk or bucket, so that they are there before a checkpoint is."""
        self.file.sync()
        self.board.flush()

    def close(self) -> dict[str, Any]:
        """Close the files and return the last line of metrics.jsonl, {} if there is none."""
        self.file.close()
        self.board.close()
        return self.last

    def _lines(self) -> list[dict]:
        text = self.path.read_text() if self.path.exists() else ""
        return [
            json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")
        ]  # the last one is incomplete if a process was killed
