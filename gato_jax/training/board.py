"""Copies of the metrics for viewers: TensorBoard events, and Weights & Biases if a run asks for it."""

from __future__ import annotations

import dataclasses
import importlib
import importlib.util
import pathlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.batching import Mixture
from gato_jax.tokenization import decode
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.sequence import concatenate
from gato_jax.training.bucket_events import summary_writer
from gato_jax.training.config import ConfigError, TrainConfig

_HIDDEN = ("step", "tokens", "seconds")
_IMAGES = 16


class Board:
    """Writer of TensorBoard events that hold exactly the lines of metrics.jsonl, and of Weights & Biases.

    A process that is killed leaves events of steps that the run then does again, and lacks those that it did not write
    in time. Therefore the events of earlier processes are replaced by those of the lines that are kept.

    Args:
      workdir: Folder of the run, whose subfolder `tensorboard` gets the events.
      config: Config of the run.
      lines: The lines of metrics.jsonl.
      images: {name: image (H, W, 3) of uint8} of the first batch, shown at step 0.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        config: TrainConfig,
        lines: Sequence[Mapping[str, Any]],
        images: Mapping[str, np.ndarray],
    ):
        folder = workdir / "tensorboard"
        replaced = list(folder.glob("events.out.tfevents.*")) if folder.is_dir() else []
        self._writer = summary_writer(folder, filename_suffix=f".{uuid.uuid4().hex[:8]}")
        for name, image in images.items():
            self._writer.add_image(f"first_batch/{name}", image, 0, dataformats="HWC")
        began = time.time() - (lines[-1]["seconds"] if lines else 0.0)
        for line in lines:
            self._add_scalars(line, began + line["seconds"])
        self._writer.flush()
        for file in replaced:
            file.unlink()
        self._wandb = None if jax.process_index() else _start_wandb(config, workdir)

    def add(self, line: Mapping[str, Any]):
        """Add a line of metrics.jsonl."""
        self._add_scalars(line, time.time())
        self._writer.flush()
        if self._wandb is not None:
            self._wandb.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])

    def flush(self):
        """Pass on all events."""
        self._writer.flush()

    def close(self):
        """Write what is left and close the files."""
        self._writer.close()
        if self._wandb is not None:
            self._wandb.finish()

    def _add_scalars(self, line: Mapping[str, Any], seconds: float):
        for name, value in line.items():
            if name not in _HIDDEN:
                self._writer.add_scalar(name, value, line["step"], walltime=seconds)


def require_wandb(config: TrainConfig):
    """Check that the package wandb is installed if the config asks for it.

    Raises:
      ConfigError: It is not.
    """
    if config.wandb is not None and importlib.util.find_spec("wandb") is None:
        raise ConfigError(
            f"wandb is {config.wandb!r}, and the package wandb is not installed. Run pip install wandb, or set "
            "config.wandb to None."
        )


def _start_wandb(config: TrainConfig, workdir: pathlib.Path) -> Any:
    """Return the run of Weights & Biases that belongs to a folder, None without config.wandb.

    Its id is in the folder, so that a run that goes on adds to the same curves.
    """
    if config.wandb is None:
        return None
    file = workdir / "wandb_id"
    if not file.exists():
        file.write_text(uuid.uuid4().hex[:8])
    return importlib.import_module("wandb").init(
        project=config.wandb,
        id=file.read_text(),
        resume="allow",
        name=workdir.name,
        dir=str(workdir),
        config=dataclasses.asdict(config),
    )


def first_images(mixture: Mixture, image_tokenizer: ImageTokenizer | None = None) -> dict[str, np.ndarray]:
    """Return images (H, W, 3) of uint8, by name, that the agent reads in the first batch: at most one for each row.

    An image is that of the first timestep of the row, as it comes back from its tokens. There are at most 16.

    Args:
      mixture: The rows of the run.
      image_tokenizer: The tokenizer whose codes stand for images; None if images are patches.
    """
    images: dict[str, np.ndarray] = {}
    for row in range(mixture.batch_size):
        for name, image in _row_images(mixture, row, image_tokenizer):
            images[name] = image
        if len(images) >= _IMAGES:
            break
    return images


def _row_images(mixture: Mixture, row: int, image_tokenizer: ImageTokenizer | None) -> Iterator[tuple[str, np.ndarray]]:
    plan = mixture.plan(row)
    dataset = mixture.names[plan.dataset]
    records, first = mixture.records[dataset], plan.segments[0][0]
    if records.maxima.patches == 0 and image_tokenizer is None:
        return
    layout = records.contract.layout(records.spec.name, image_tokenizer)
    timestep = records.timesteps(first.start, first.start + 1)
    for key, values in decode(layout, concatenate(timestep)).observation.items():
        if values.dtype == np.uint8 and values.ndim == 4:
            yield f"row_{row}/{dataset}/{key}", values[0]
