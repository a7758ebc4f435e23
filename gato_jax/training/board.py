"""Copies of the metrics for viewers: TensorBoard events, and Weights & Biases if a run asks for it."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.util
import logging
import pathlib
import time
import uuid
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gato_jax.batching import Mixture
from gato_jax.runtime.paths import is_bucket
from gato_jax.tokenization import decode
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.sequence import concatenate
from gato_jax.training.config import ConfigError, TrainConfig
from gato_jax.training.event_file import EventFile

_log = logging.getLogger(__name__)

_HIDDEN = ("step", "tokens", "seconds")
_IMAGES = 16


class Board:
    """Writer of TensorBoard events that hold exactly the lines of metrics.jsonl, and of Weights & Biases.

    A process that is killed leaves events of steps that the run then does again, and lacks those that it did not write
    in time. Therefore the events of earlier processes are replaced by those of the lines that are kept. For the same
    reason, events that cannot be written do not end a run: a warning says so, and no more are written in this process.

    Args:
      workdir: Folder of the run, whose subfolder `tensorboard` gets the events.
      config: Config of the run.
      lines: The lines of metrics.jsonl.
      images: {name: image (H, W, 3) of uint8} of the first batch, shown at step 0.

    Raises:
      OSError: The events of the lines cannot be written.
    """

    def __init__(
        self,
        workdir: pathlib.Path,
        config: TrainConfig,
        lines: Sequence[Mapping[str, Any]],
        images: Mapping[str, np.ndarray],
    ):
        self._folder = folder = workdir / "tensorboard"
        replaced = list(folder.glob("events.out.tfevents.*")) if folder.is_dir() else []
        self._events: EventFile | None = EventFile(folder)
        for name, image in images.items():
            self._events.add_image(f"first_batch/{name}", image, 0, time.time())
        began = time.time() - (lines[-1]["seconds"] if lines else 0.0)
        for line in lines:
            _add_scalars(self._events, line, began + line["seconds"])
        self._events.flush()
        for file in replaced:
            file.unlink()
        self._wandb = None if jax.process_index() else _start_wandb(config, workdir)

    def add(self, line: Mapping[str, Any]):
        """Add a line of metrics.jsonl."""
        with self._writing() as events:
            if events is not None:
                _add_scalars(events, line, time.time())
                events.flush()
        if self._wandb is not None:
            self._wandb.log({name: value for name, value in line.items() if name != "step"}, step=line["step"])

    def flush(self):
        """Pass on all events."""
        with self._writing() as events:
            if events is not None:
                events.flush()

    def close(self):
        """Write what is left and close the files."""
        with self._writing() as events:
            if events is not None:
                events.close()
        if self._wandb is not None:
            self._wandb.finish()

    @contextlib.contextmanager
    def _writing(self) -> Iterator[EventFile | None]:
        """Yield the events, None if there are none any more; a failure to write them is their end."""
        try:
            yield self._events
        except OSError as error:
            self._events = None
            _log.warning(
                "no more TensorBoard events are written to %s: %s. The run goes on, and metrics.jsonl has all lines; "
                "the events are made from them when the run is next continued.",
                self._folder,
                error.strerror or error,
            )


def _add_scalars(events: EventFile, line: Mapping[str, Any], seconds: float):
    for name, value in line.items():
        if name not in _HIDDEN:
            events.add_scalar(name, value, line["step"], seconds)


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
    run = importlib.import_module("wandb").init(
        project=config.wandb,
        id=file.read_text(),
        resume="allow",
        name=workdir.name,
        dir=None if is_bucket(workdir) else str(workdir),  # its own files are on a disk
        config=dataclasses.asdict(config),
    )
    _log.info("Weights & Biases: %s", run.url)
    return run


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
