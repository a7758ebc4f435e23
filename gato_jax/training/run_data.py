"""The data of a training run: its mixture, and its copy of the image tokenizer."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping

from gato_jax.batching import Mixture, open_held_out, open_mixture
from gato_jax.runtime.paths import as_path
from gato_jax.sources import EpisodeReader
from gato_jax.tokenization.image_tokenizer import ImageTokenizer
from gato_jax.training.config import ConfigError, TrainConfig
from gato_jax.training.resume import require_same_model

_log = logging.getLogger(__name__)


def open_run_mixture(
    config: TrainConfig, workdir: pathlib.Path, readers: Mapping[str, EpisodeReader] | None = None
) -> Mixture:
    """Open the mixture that a run trains on.

    Args:
      config: Config of the run.
      workdir: Folder of the run, which gets a copy of the image tokenizer if the config names one.
      readers: {name: episodes} of datasets that are already open; their sources are not opened.

    Raises:
      CheckpointError, ContractError: The folder holds checkpoints of another model or tokenization.
      ConfigError, ImageTokenizerError: The image tokenizer cannot be used (see `open_image_tokenizer`).
      ValueError: A dataset cannot be used; the error is of one of the classes that `batching.open_mixture` raises.
    """
    require_same_model(config, workdir)
    return open_mixture(
        config.datasets,
        config.model.tokenization,
        batch_size=config.batch_size,
        context=config.context,
        seed=config.seed,
        predict_prompts=config.predict_prompts,
        weighting=config.weighting,
        admission=config.admission,
        missing=config.missing,
        held_out_tasks=config.held_out_tasks,
        image_tokenizer=open_image_tokenizer(config, workdir),
        readers=readers,
    )


def open_held_out_mixture(
    config: TrainConfig, mixture: Mixture, image_tokenizer: ImageTokenizer | None = None
) -> Mixture | None:
    """Open the held-out splits of the datasets of a run as a mixture of equal weights; None if no dataset has one.

    Rows are cut as those of training, under the seed of the run.

    Args:
      config: Config of the run.
      mixture: The mixture that the run trains on; only its datasets are opened.
      image_tokenizer: The image tokenizer of the run, if it has one.

    Raises:
      ValueError: A held-out split cannot be used (see `batching.open_held_out`).
    """
    records = {
        name: held_out
        for name, dataset in config.datasets.items()
        if name in mixture.datasets
        and (held_out := open_held_out(name, dataset, config.model.tokenization, image_tokenizer)) is not None
    }
    if not records:
        return None
    _log.info("held out of training: %s", ", ".join(f"{name} ({one.episodes})" for name, one in records.items()))
    return Mixture(
        datasets={name: dataclasses.replace(mixture.datasets[name], weight=1.0) for name in records},
        records=records, batch_size=config.batch_size, context=config.context, seed=config.seed,
        predict_prompts=config.predict_prompts,
    )  # fmt: skip


def open_image_tokenizer(config: TrainConfig, workdir: pathlib.Path) -> ImageTokenizer | None:
    """Return the image tokenizer that the config names, None if it names none.

    The run keeps a copy in WORKDIR/image_tokenizer, which is written if it is missing, because its checkpoints are of
    no use without it.

    Raises:
      ConfigError: The folder holds a copy of another image tokenizer.
      ImageTokenizerError: A file of the image tokenizer or of its copy is missing or damaged.
    """
    if config.image_tokenizer is None:
        return None
    tokenizer, copy = ImageTokenizer.load(as_path(config.image_tokenizer)), workdir / "image_tokenizer"
    if not (copy / "image_tokenizer.json").exists():  # the file that is written last
        tokenizer.save(copy)
    elif (present := ImageTokenizer.load(copy)).fingerprint != tokenizer.fingerprint:
        raise ConfigError(
            f"{copy} is the image tokenizer {present.fingerprint}, the config names {tokenizer.fingerprint} in "
            f"{config.image_tokenizer}; name another --workdir, or that copy"
        )
    return tokenizer
