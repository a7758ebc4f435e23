"""Opening of a mixture: its datasets are found, tokenized unless they are in the cache, and weighed."""

from __future__ import annotations

import dataclasses
import logging
import pathlib
from collections.abc import Mapping, Sequence

from gato_jax import episodes
from gato_jax.batching.admission import require_admissible
from gato_jax.batching.cache import cached_records
from gato_jax.batching.dataset_config import AdmissionConfig, DatasetConfig, Missing, MixtureError, Weighting
from gato_jax.batching.held_out_tasks import (
    describe_kept_out,
    describe_kept_out_episodes,
    held_out_by_name,
    held_out_by_spec,
    held_out_episodes,
)
from gato_jax.batching.mixture import Mixture
from gato_jax.batching.records import TokenRecords
from gato_jax.batching.task_texts import task_texts_of
from gato_jax.batching.weights import weigh
from gato_jax.runtime.bucket_copies import local_copy
from gato_jax.runtime.paths import as_path, split_name
from gato_jax.sources import EpisodeReader, Fields, NoSplitError, open_source
from gato_jax.sources.instructions import PhrasedEpisodes, Review
from gato_jax.sources.rlds import missing_tfds
from gato_jax.tokenization import Contract, Tokenization
from gato_jax.tokenization.codecs.image import ImageTokenizer

HELD_OUT_SPLITS = ("validation", "test")  # in the order of preference

_TFDS_KINDS = ("rlds", "tfds_text")  # their location may be a name that TFDS knows, see find_tfds_folder
_LISTED = 12  # datasets that are named one by one when they are skipped

_log = logging.getLogger(__name__)


def open_mixture(
    datasets: Mapping[str, DatasetConfig],
    tokenization: Tokenization,
    *,
    batch_size: int,
    context: int,
    seed: int,
    predict_prompts: bool = False,
    weighting: Weighting = "by_hand",
    admission: AdmissionConfig | None = None,
    missing: Missing = "error",
    held_out_tasks: Sequence[str] = (),
    image_tokenizer: ImageTokenizer | None = None,
    readers: Mapping[str, EpisodeReader] | None = None,
) -> Mixture:
    """Open the datasets of a config as one mixture; a dataset that is not in the cache yet is tokenized now.

    Args:
      datasets: {name: where the dataset is and how it is sampled}.
      tokenization: Settings of all codecs.
      batch_size: Rows of a batch.
      context: Positions of a row.
      seed: Seed of the run.
      predict_prompts: Whether the targets of prompts count in the loss.
      weighting: How the weights of the datasets become shares of the rows (see `weigh`).
      admission: The licences and kinds of data that the mixture may hold; None for all.
      missing: What to do about a dataset that is not on disk, or of kind `unavailable`: `error`, or `skip`, which logs
        it and gives its weight to the others in proportion to theirs.
      held_out_tasks: Full names of tasks whose data are kept out, in any spelling (see `spelled_task`): a dataset as a
        whole by its names, and the episodes of other datasets one by one (see `held_out_episodes`). The log names the
        datasets, whose weight goes to the others in proportion to theirs, and the numbers of episodes.
      image_tokenizer: The tokenizer whose codes stand for images, if `tokenization` names one.
      readers: {name: episodes} of datasets that are already open; their sources are not opened. Such a dataset counts
        as on disk. The export of a dataset of kind `tokens` is read instead of its reader.

    Raises:
      AdmissionError: `admission` refuses a dataset, or the share of a kind of data is too large.
      MixtureError: With `missing="error"`, a dataset without a reader is of kind `unavailable`; with `missing="skip"`,
        no dataset is on disk; all datasets are of held-out tasks; a source is `tokens:` without a folder; `datasets` is
        empty; a timestep is longer than the context; or two datasets of one task have different TaskSpecs.
      CacheError: The cache cannot be used.
      SourceError, DatasetError, RecordsError, TokenizationError, ContractError: A dataset cannot be read or tokenized,
        or, with `missing="error"`, is not on disk.
    """
    records, kept_out = _open_all(datasets, tokenization, missing, held_out_tasks, image_tokenizer, readers or {})
    present = {name: datasets[name] for name in records}
    weights = weigh(present, records, weighting)
    weighed = {name: dataclasses.replace(dataset, weight=weights[name]) for name, dataset in present.items()}
    run = {"batch_size": batch_size, "context": context, "seed": seed, "predict_prompts": predict_prompts}
    mixture = Mixture(datasets=weighed, records=records, kept_out=kept_out, **run)
    require_admissible(mixture, admission or AdmissionConfig())
    return mixture


def _open_all(
    datasets: Mapping[str, DatasetConfig],
    tokenization: Tokenization,
    missing: Missing,
    held_out_tasks: Sequence[str],
    image_tokenizer: ImageTokenizer | None,
    readers: Mapping[str, EpisodeReader],
) -> tuple[dict[str, TokenRecords], dict[str, str]]:
    """Return the records of the datasets that a mixture is made of, and {dataset: reason} of those that are kept out.

    The names of a dataset are looked at before it is opened, its task before it is tokenized. The arguments and errors
    are those of `open_mixture`.
    """
    reasons = {name: held_out_by_name(name, dataset, held_out_tasks) for name, dataset in datasets.items()}
    kept_out = {name: reason for name, reason in reasons.items() if reason is not None}
    left = {name: dataset for name, dataset in datasets.items() if name not in kept_out}
    records: dict[str, TokenRecords] = {}
    for name, dataset in (_present_datasets(left, missing, set(readers)) if left else {}).items():
        reader, reason = readers.get(name), None
        if held_out_tasks and dataset.kind != "tokens":
            reader = reader or open_episodes(dataset, phrased=False)
            reason = held_out_by_spec(reader.spec, held_out_tasks)
        if reason is None:
            opened = open_records(name, dataset, tokenization, image_tokenizer, reader=reader)
            opened, reason = _without_held_out(name, dataset, opened, held_out_tasks, image_tokenizer)
            records |= {} if reason else {name: opened}
        kept_out |= {name: reason} if reason else {}
    if kept_out:
        _log.warning("%s", describe_kept_out(kept_out, datasets))
    if kept_out and not records:
        raise MixtureError(
            f"all {len(kept_out)} datasets that are there are of held-out tasks. Name other datasets, or change "
            "config.held_out_tasks."
        )
    return records, kept_out


def _without_held_out(
    name: str,
    dataset: DatasetConfig,
    records: TokenRecords,
    tasks: Sequence[str],
    image_tokenizer: ImageTokenizer | None,
) -> tuple[TokenRecords, str | None]:
    """Return the records without the episodes of held-out tasks, and why the whole dataset is kept out, None if not.

    The log says how many episodes are kept out of a dataset that is not kept out as a whole.
    """
    if not tasks:
        return records, None
    if reason := held_out_by_spec(records.spec, tasks):
        return records, reason
    held_out, reasons = held_out_episodes(
        records, tasks, phrasings=_phrasings(dataset, records.spec.instructions), image_tokenizer=image_tokenizer
    )
    if held_out.all():
        return records, next(iter(reasons))
    if not held_out.any():
        return records, None
    _log.warning("%s", describe_kept_out_episodes(name, reasons, records.episodes))
    return records.select_episodes(~held_out), None


def open_records(
    name: str,
    dataset: DatasetConfig,
    tokenization: Tokenization,
    image_tokenizer: ImageTokenizer | None = None,
    *,
    reader: EpisodeReader | None = None,
) -> TokenRecords:
    """Return the token records of one dataset: the export that it names, or else those of the cache.

    Args:
      name: Name of the dataset, for messages and the description in the cache.
      dataset: Where it is.
      tokenization: Settings of all codecs; an export must have been made under the same.
      image_tokenizer: The tokenizer whose codes stand for images, if the settings name one.
      reader: Its training episodes if they are open already, without the copies that `dataset.phrasings` asks for.
        None to open its source. Not used for an export.

    Raises:
      MixtureError: The source is `tokens:` without a folder.
      RecordsError: The export is missing, damaged or of another version.
      ContractError: The export has another tokenization.
      CacheError: The cache cannot be used.
      SourceError: The source cannot be opened (see `gato_jax.sources.open_source`).
      RecordsError, TokenizationError: The episodes cannot be tokenized (see `write_records`).
    """
    if dataset.kind == "tokens":
        if not dataset.location:
            raise MixtureError(
                f"{name}: source is tokens:, expected tokens:DIR. Name the folder that gato export wrote."
            )
        records = TokenRecords.open(local_copy(as_path(dataset.location)), verify_index=True)
        contract = records.contract
        texts = task_texts_of(records.spec, tokenization)
        wanted = Contract.of(tokenization, [records.spec], contract.action_limits, texts)
        wanted.require_equal(contract, dataset.location)
        return records
    reader = _add_phrasings(reader, dataset) if reader else open_episodes(dataset)
    return cached_records(reader, tokenization, image_tokenizer, origin=f"{name}, {dataset.source}")


def open_held_out(
    name: str, dataset: DatasetConfig, tokenization: Tokenization, image_tokenizer: ImageTokenizer | None = None
) -> TokenRecords | None:
    """Return the token records of the held-out split of a dataset, `validation` or else `test`; None if it has neither.

    An export has none. Nor has a dataset under actions="rt_2", whose limits are measured on the data, so that the
    held-out actions would be other tokens.

    Args:
      name: Name of the dataset, for the description in the cache.
      dataset: Where it is.
      tokenization: Settings of all codecs.
      image_tokenizer: The tokenizer whose codes stand for images, if the settings name one.

    Raises:
      CacheError, SourceError, DatasetError, RecordsError, TokenizationError: The split cannot be read or tokenized.
    """
    if dataset.kind == "tokens" or tokenization.actions == "rt_2":
        return None
    for split in HELD_OUT_SPLITS:
        try:
            reader = open_episodes(dataset, split)
        except (episodes.NoSplitError, NoSplitError):
            continue
        if len(reader):
            return cached_records(reader, tokenization, image_tokenizer, origin=f"{name}, {dataset.source}, {split}")
    return None


def open_episodes(dataset: DatasetConfig, split: str = "train", *, phrased: bool = True) -> EpisodeReader:
    """Open the episodes of a split of a dataset, each `phrasings` times with different instructions.

    With `phrasings=1`, or if `phrased` is False, the episodes are those of the source, with their own instructions (see
    `PhrasedEpisodes`).

    Raises:
      SourceError: The source cannot be opened (see `gato_jax.sources.open_source`), or the file of `fields` or `review`
        is missing or not valid, or the episodes cannot be phrased.
    """
    fields = None if dataset.fields is None else Fields.read(dataset.fields)
    reader = open_source(dataset.source, split, fields=fields)
    return _add_phrasings(reader, dataset) if phrased else reader


def _add_phrasings(reader: EpisodeReader, dataset: DatasetConfig) -> EpisodeReader:
    if dataset.phrasings == 1:
        return reader
    phrasings = _phrasings(dataset, reader.spec.instructions)
    return PhrasedEpisodes(reader=reader, phrasings=phrasings, copies=dataset.phrasings)


def _phrasings(dataset: DatasetConfig, own: tuple[str, ...] | None) -> tuple[tuple[str, ...], ...]:
    """Return the groups of phrasings of a dataset: those of its review, or else its task's `own` as one group.

    There are none without `dataset.phrasings`, the number of copies of each episode, above 1.
    """
    if dataset.phrasings == 1:
        return ()
    return Review.read(dataset.review).phrasings if dataset.review else (own,) if own else ()


def missing_reason(dataset: DatasetConfig) -> str | None:
    """Return why a dataset is not on disk; None if its path exists, or if only opening it can tell.

    The reason is a clause such as `data/babyai not found`, or the WHY of `unavailable:WHY`. Only opening can tell for
    an address such as gs://..., for a location without a slash, which may be a name, such as captions:emoji, and for a
    dataset with several configs of which none is named. The kinds `rlds` and `tfds_text` are an exception: their
    locations are always looked up, in TFDS_DATA_DIR too (see `find_tfds_folder`).
    """
    if dataset.kind == "unavailable":
        return dataset.location
    path = pathlib.Path(split_name(dataset.location)[0]).expanduser()
    if "://" in dataset.location:
        return None
    if dataset.kind in _TFDS_KINDS:
        return missing_tfds(path)
    if len(path.parts) < 2 or path.exists():  # a path of one part may be a name
        return None
    return f"{path} not found" + ("" if path.is_absolute() else f" in the working directory {pathlib.Path.cwd()}")


def _present_datasets(
    datasets: Mapping[str, DatasetConfig], missing: Missing, open_already: set[str]
) -> dict[str, DatasetConfig]:
    """Return the datasets to open, in the given order.

    With `skip`, these are the datasets for which `missing_reason` has no reason, and warnings name at most 12 of the
    others. With `error`, all datasets are returned: a path that does not exist is left to the reader of its kind, whose
    error names the nearest path. Names in `open_already` count as on disk.

    Raises:
      MixtureError: With `error`, a dataset that is not in `open_already` is of kind `unavailable`; with `skip`, no
        dataset is on disk.
    """
    reasons = {
        name: reason
        for name, dataset in datasets.items()
        if name not in open_already and (reason := missing_reason(dataset)) is not None
    }
    if missing == "error":
        for name, reason in reasons.items():
            if datasets[name].kind == "unavailable":
                raise MixtureError(
                    f"{name} is unavailable: {reason}. Remove it from config.datasets, or set config.missing to skip."
                )
        return dict(datasets)
    if datasets and len(reasons) == len(datasets):
        name, reason = next(iter(reasons.items()))
        raise MixtureError(
            f"none of the {len(datasets)} datasets of the config is there ({name}: {reason}). Record, convert or name "
            "one (config.datasets)."
        )
    if reasons:
        _log_skipped(datasets, reasons)
    return {name: dataset for name, dataset in datasets.items() if name not in reasons}


def _log_skipped(datasets: Mapping[str, DatasetConfig], reasons: Mapping[str, str]):
    total = sum(dataset.weight for dataset in datasets.values())
    share = sum(datasets[name].weight for name in reasons) / total
    _log.warning(
        "skipped %d of %d datasets; their %.2f%% of the weight goes to the others, in proportion to theirs",
        len(reasons), len(datasets), 100 * share,
    )  # fmt: skip
    heaviest = sorted(reasons, key=lambda name: -datasets[name].weight)
    for name in heaviest[:_LISTED]:
        _log.warning("  %s, %.2f%%: %s", name, 100 * datasets[name].weight / total, reasons[name])
    if len(reasons) > _LISTED:
        _log.warning("  and %d more", len(reasons) - _LISTED)
