"""What a verb reads: one dataset by the name a person gives it, or the mixture that a training config names."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gato_jax.verbs.flags import UsageError

if TYPE_CHECKING:  # the verbs load in a moment
    from gato_jax.batching import Mixture, TokenRecords
    from gato_jax.sources import EpisodeReader
    from gato_jax.tokenization.codecs.image import ImageTokenizer
    from gato_jax.training import TrainConfig


def open_data(where: str, split: str = "train") -> EpisodeReader:
    """A dataset's folder, or any source as KIND:WHERE."""
    from gato_jax.sources import open_source

    if where.startswith("tokens:"):
        raise UsageError(f"{where} can be trained on alone; name the dataset that it was made from")
    return open_source(where if ":" in where and not pathlib.Path(where).exists() else f"recorded:{where}", split)


def read_config(config: Any, workdir: pathlib.Path) -> TrainConfig:
    """The config's training part, with {workdir} in its paths filled in."""
    from gato_jax.training import TrainConfig

    fields = {key: value for key, value in config.to_dict().items() if key != "experiment"}
    if isinstance(fields.get("image_tokenizer"), str):
        fields["image_tokenizer"] = fields["image_tokenizer"].replace("{workdir}", str(workdir))
    return TrainConfig.from_mapping(fields)


def open_image_tokenizer(config: TrainConfig, workdir: pathlib.Path) -> ImageTokenizer | None:
    """The tokenizer that the config names, of which the run keeps a copy: its checkpoints need it beside them."""
    if config.image_tokenizer is None:
        return None
    from gato_jax.tokenization.image_tokenizer import ImageTokenizer

    tokenizer, copy = ImageTokenizer.load(pathlib.Path(config.image_tokenizer)), workdir / "image_tokenizer"
    if not (copy / "image_tokenizer.json").exists():  # it is written last
        tokenizer.save(copy)
    elif (kept := ImageTokenizer.load(copy)).fingerprint != tokenizer.fingerprint:
        raise UsageError(
            f"{copy} is the image tokenizer {kept.fingerprint}, the config names {tokenizer.fingerprint} in "
            f"{config.image_tokenizer}; name another --workdir, or that copy"
        )
    return tokenizer


def open_mixture(
    config: TrainConfig, workdir: pathlib.Path, open_reader: Callable[[str], EpisodeReader] | None = None
) -> Mixture:
    """The datasets of the config, tokenized into WORKDIR/records unless they are there, under their weights.

    `open_reader` gives the episodes of a source that is no tokens; None gives all that it has.
    """
    from gato_jax.batching import Mixture, MixtureEntry
    from gato_jax.training import require_same_model

    require_same_model(config, workdir)
    images = open_image_tokenizer(config, workdir)
    entries = []
    for dataset in config.datasets:
        source = dataset.source.replace("{workdir}", str(workdir))
        entries.append(
            MixtureEntry(
                records=_open_records(source, workdir, config, images, open_reader),
                weight=dataset.weight,
                window=dataset.window,
                prompt_share=dataset.prompt_share,
                prompt_steps=dataset.prompt_steps,
                loss_weight=dataset.loss_weight,
            )
        )
    return Mixture(tuple(entries), config.batch_size, config.context, config.seed, config.predict_prompts)


def _open_records(source: str, workdir: pathlib.Path, config: TrainConfig, images, open_reader) -> TokenRecords:
    """Of `tokens:DIR` those that are there, of any other source those that are made here."""
    from gato_jax.batching import TokenRecords, write_records
    from gato_jax.episodes import dataset_name
    from gato_jax.sources import open_source
    from gato_jax.tokenization import Contract

    settings = config.model.tokenization
    kind, _, where = source.partition(":")
    if kind == "tokens" and not where:
        raise UsageError("datasets: tokens: names no folder; give the one that gato export wrote")
    if kind == "tokens":
        records = TokenRecords.open(pathlib.Path(where))
        contract = records.contract
        Contract.of(settings, [records.spec], contract.action_limits).require_equal(contract, where)
        return records
    reader = (open_reader or open_source)(source)
    directory = workdir / "records" / dataset_name(reader.spec.name)
    return write_records(directory, reader.spec, reader, reader.fingerprint, settings, images)
