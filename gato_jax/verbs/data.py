"""What a verb reads: one dataset by the name a person gives it, or the mixture that a training config names."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from gato_jax.verbs.flags import UsageError

UNAVAILABLE = "unavailable"

if TYPE_CHECKING:  # the verbs load in a moment
    from gato_jax.batching import DatasetConfig, Mixture, TokenRecords
    from gato_jax.sources import EpisodeReader, Fields
    from gato_jax.tokenization.codecs.image import ImageTokenizer
    from gato_jax.training import TrainConfig


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
    from gato_jax.batching import Mixture, weigh
    from gato_jax.batching.admission import require_admissible
    from gato_jax.training import require_same_model

    require_same_model(config, workdir)
    images = open_image_tokenizer(config, workdir)
    datasets = _available(config)
    records = {name: _open_records(dataset, workdir, config, images, open_reader) for name, dataset in datasets.items()}
    weights = weigh(datasets, records, config.weighting)
    datasets = {name: dataclasses.replace(dataset, weight=weights[name]) for name, dataset in datasets.items()}
    mixture = Mixture(
        datasets=datasets,
        records=records,
        batch_size=config.batch_size,
        context=config.context,
        seed=config.seed,
        predict_prompts=config.predict_prompts,
    )
    require_admissible(mixture, config.admission)
    return mixture


def _available(config: TrainConfig) -> dict[str, DatasetConfig]:
    """The datasets that are to be read; says which are left out, why, and what becomes of their weight."""
    available = {name: dataset for name, dataset in config.datasets.items() if dataset.kind != UNAVAILABLE}
    missing = [dataset for name, dataset in config.datasets.items() if name not in available]
    total = sum(dataset.weight for dataset in config.datasets.values())
    for dataset in missing:
        print(f"left out, {dataset.weight / total:.2%} of the weight: {dataset.location}")
    if not available:
        raise UsageError("no dataset of the config is available; record, convert or name one (config.datasets)")
    if missing:
        share = sum(dataset.weight for dataset in missing) / total
        print(f"{share:.2%} of the weight goes to the other {len(available)} datasets, as theirs is")
    return available


def _open_records(
    dataset: DatasetConfig, workdir: pathlib.Path, config: TrainConfig, images, open_reader
) -> TokenRecords:
    """Of `tokens:DIR` those that are there, of any other source those that are made here."""
    from gato_jax.batching import TokenRecords, write_records
    from gato_jax.episodes import dataset_name
    from gato_jax.sources import open_source
    from gato_jax.tokenization import Contract

    settings, source = config.model.tokenization, dataset.source
    kind, where = dataset.kind, dataset.location
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
