"""What a verb reads: one dataset by the name a person gives it, or the mixture that a training config names."""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from gato_jax.verbs.flags import UsageError

UNAVAILABLE = "unavailable:"

if TYPE_CHECKING:  # the verbs load in a moment
    from gato_jax.batching import Mixture, TokenRecords
    from gato_jax.sources import EpisodeReader, Fields
    from gato_jax.tokenization.codecs.image import ImageTokenizer
    from gato_jax.training import DatasetConfig, TrainConfig


def open_data(where: str, split: str = "train") -> EpisodeReader:
    """A dataset's folder, or any source as KIND:WHERE."""
    from gato_jax.sources import open_source

    if where.startswith("tokens:"):
        raise UsageError(f"{where} can be trained on alone; name the dataset that it was made from")
    return open_source(where if ":" in where and not pathlib.Path(where).exists() else f"recorded:{where}", split)


def read_fields(file: str | None) -> Fields | None:
    """What the fields of a recording mean, where a file says so."""
    from gato_jax.sources import Fields

    return None if file is None else Fields.read(file)


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

    Raises:
      AdmissionError: the config's rules do not admit some of them.
    """
    from gato_jax.batching import Mixture, MixtureEntry, weigh
    from gato_jax.batching.admission import require_admissible
    from gato_jax.training import require_same_model

    require_same_model(config, workdir)
    images = open_image_tokenizer(config, workdir)
    datasets = _available(config)
    records = [_open_records(dataset, workdir, config, images, open_reader) for dataset in datasets]
    weights = weigh(records, [dataset.weight for dataset in datasets], config.weighting)
    entries = []
    for dataset, made, weight in zip(datasets, records, weights, strict=True):
        entries.append(
            MixtureEntry(
                records=made,
                weight=weight,
                window=dataset.window,
                prompt_share=dataset.prompt_share,
                prompt_steps=dataset.prompt_steps,
                pieces=dataset.pieces,
                loss_weight=dataset.loss_weight,
            )
        )
    mixture = Mixture(tuple(entries), config.batch_size, config.context, config.seed, config.predict_prompts)
    require_admissible(mixture, config.admission)
    return mixture


def _available(config: TrainConfig) -> list[DatasetConfig]:
    """The datasets that are to be read; says which are left out, why, and what becomes of their weight."""
    missing = [dataset for dataset in config.datasets if dataset.source.startswith(UNAVAILABLE)]
    total = sum(dataset.weight for dataset in config.datasets)
    for dataset in missing:
        print(f"left out, {dataset.weight / total:.2%} of the weight: {dataset.source.removeprefix(UNAVAILABLE)}")
    if len(missing) == len(config.datasets):
        raise UsageError("no dataset of the config is available; record, convert or name one (config.datasets)")
    if missing:
        share = sum(dataset.weight for dataset in missing) / total
        print(
            f"{share:.2%} of the weight goes to the other {len(config.datasets) - len(missing)} datasets, as theirs is"
        )
    return [dataset for dataset in config.datasets if dataset not in missing]


def _open_records(
    dataset: DatasetConfig, workdir: pathlib.Path, config: TrainConfig, images, open_reader
) -> TokenRecords:
    """Of `tokens:DIR` those that are there, of any other source those that are made here."""
    from gato_jax.batching import TokenRecords, write_records
    from gato_jax.episodes import dataset_name
    from gato_jax.sources import open_source
    from gato_jax.tokenization import Contract

    settings, source = config.model.tokenization, dataset.source.replace("{workdir}", str(workdir))
    kind, _, where = source.partition(":")
    if kind == "tokens" and not where:
        raise UsageError("datasets: tokens: names no folder; give the one that gato export wrote")
    if kind == "tokens":
        records = TokenRecords.open(pathlib.Path(where))
        contract = records.contract
        Contract.of(settings, [records.spec], contract.action_limits).require_equal(contract, where)
        return records
    reader = open_reader(source) if open_reader else open_source(source, fields=read_fields(dataset.fields))
    reader = _phrased(reader, dataset)
    directory = workdir / "records" / dataset_name(reader.spec.name)
    return write_records(directory, reader.spec, reader, reader.fingerprint, settings, images)


def _phrased(reader: EpisodeReader, dataset: DatasetConfig) -> EpisodeReader:
    """The episodes as often as the config says, each time with another phrasing of their instruction."""
    from gato_jax.sources.instructions import PhrasedEpisodes, Review

    if dataset.phrasings == 1:
        return reader
    own = reader.spec.instructions
    phrasings = Review.read(dataset.review).phrasings if dataset.review else (own,) if own else ()
    return PhrasedEpisodes(reader=reader, phrasings=phrasings, copies=dataset.phrasings)
