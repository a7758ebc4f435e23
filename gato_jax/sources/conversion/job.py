"""Recordings of others become one dataset of ours, shard by shard: what a kill interrupts goes on where it was."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_jax.episodes import TaskSpec, dataset_name, open_dataset
from gato_jax.episodes.atomic_writes import locked_folder, replace_folder
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.record_files import FILE_FORMATS, FileFormat
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import check_place
from gato_jax.sources.conversion.dataset import REJECTED_FILE, assemble_dataset
from gato_jax.sources.conversion.filters import Filter
from gato_jax.sources.conversion.manifest import HEADER_FILE, OF_OTHERS, ConversionError, Manifest, read_header
from gato_jax.sources.conversion.pipeline import check_options, run_shards
from gato_jax.sources.conversion.recording import Recording, Transform
from gato_jax.sources.conversion.refusals import require_few, require_limits
from gato_jax.sources.conversion.shards import SHARD_EPISODES, plan_shards
from gato_jax.sources.conversion.survey import apply_filters
from gato_jax.sources.reader import EpisodeReader, Rejection

_SCHEMA = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """A finished conversion.

    Attributes:
      directory: of the dataset, `.../NAME/VERSION`.
      episodes: how many it holds, of all splits. steps: those that hold an action that was taken.
      rejected: what is damaged and therefore left out.
      filtered: {name of a filter: how many episodes it left out that those before it kept}.
      kept: whether it was there already, made from the same data in the same way.
    """

    directory: Path
    episodes: int
    steps: int
    rejected: tuple[Rejection, ...]
    filtered: Mapping[str, int]
    kept: bool = dataclasses.field(default=False, compare=False)


def convert(
    readers: Sequence[EpisodeReader],
    output: str | Path,
    *,
    file_format: FileFormat = "array_record",
    filters: Sequence[Filter] = (),
    max_rejected: float = 0.1,
    transform: Transform | None = None,
    shard_episodes: int = SHARD_EPISODES,
    version: str = "1.0.0",
    overwrite: bool = False,
    beam_options: Sequence[str] = (),
    source: str | None = None,
) -> Conversion:
    """Writes the episodes of one task to `output/NAME/version`, or goes on with it where it was interrupted.

    What is written depends on the arguments alone, not on the workers nor on interruptions. Until all is there, it lies
    in a folder beside, `VERSION.converting`. Asked for again, a finished conversion is kept as it is.

    Args:
      readers: one for each split; they pickle, for every worker opens files of its own.
      output: the folder of the datasets. Every worker has to see it.
      file_format: of the record files.
      filters: each judges all splits together.
      max_rejected: the share of episodes that may be rejected, from 0 to 1.
      transform: what is done to each episode; filters judge them as they were recorded.
      shard_episodes: at most, in one record file.
      version: of the dataset.
      overwrite: whether another dataset, finished or not, is replaced.
      beam_options: options of Apache Beam, as `--runner=DataflowRunner`.
      source: by which the readers were opened, KIND:WHERE, for whoever asks where the dataset comes from.

    Raises:
      ConversionError: the readers contradict each other, a continuous action has no finite limits, a filter cannot
        judge this recording, or a conversion in this place, finished or not, is of other data or has other settings.
      TooManyRejectedError: a ConversionError; all that are rejected are listed in `VERSION.converting`.
      StoreError: another dataset is there, another process writes it, a split would be empty, or the disk refuses.
    """
    splits = _by_split(readers)
    spec = transform.spec if transform else readers[0].spec
    require_limits(spec)
    if not 0 <= max_rejected <= 1:
        raise ConversionError(f"max_rejected is {max_rejected}; it is a share of the episodes, from 0 to 1")
    directory = Path(output) / dataset_name(spec.name) / version
    if file_format not in FILE_FORMATS:
        raise ConversionError(f"no file format {file_format!r}; write {' or '.join(FILE_FORMATS)}")
    manifest = Manifest(directory, file_format)
    settings = {
        "file_format": file_format,
        "shard_episodes": shard_episodes,
        "filters": {one.name: vars(one) for one in filters},
        "transform": transform and transform.fingerprint,
        "reviewed": transform is not None and transform.reviewed,
        "source": source,
    }
    header = _header(spec, splits, settings)
    held = read_header(directory)
    if not overwrite and held == header:
        if manifest.folder.exists():  # killed after the last rename
            with _locked(manifest):
                shutil.rmtree(manifest.folder)
        return dataclasses.replace(_finished(directory, splits), kept=True)
    check_place(directory, spec, overwrite or held is not None)
    if held is not None and not overwrite:
        require_same(
            header, held, problem=f"{directory}: already there, made {OF_OTHERS}", holder=HEADER_FILE,
            remedy="name another output, or replace it (--overwrite)", error=ConversionError,
        )  # fmt: skip
    check_options(beam_options)
    recording = Recording(readers=splits, manifest=manifest, transform=transform)
    with _locked(manifest):
        manifest.begin(header, anew=overwrite)
        _write(recording, header, filters, max_rejected, beam_options)
        with disk_errors(directory):
            replace_folder(manifest.dataset, directory)
            shutil.rmtree(manifest.folder)
    return _finished(directory, splits)


@contextlib.contextmanager
def _locked(manifest: Manifest) -> Iterator[None]:
    """Keep other processes out of the folder in which the dataset is made."""
    with contextlib.ExitStack() as stack:
        with disk_errors(manifest.directory):
            stack.enter_context(locked_folder(manifest.folder))
        yield


def _write(
    recording: Recording,
    header: Mapping[str, Any],
    filters: Sequence[Filter],
    max_rejected: float,
    beam_options: Sequence[str],
):
    """Does what is left to do until the manifest's folder holds a whole dataset."""
    readers, manifest = recording.readers, recording.manifest
    shards = [
        shard
        for split, reader in readers.items()
        for shard in plan_shards(recording.spec, split, reader.lengths, header["shard_episodes"])
    ]
    left_out, filtered = apply_filters(recording, shards, filters, beam_options) if filters else ({}, {})
    recording = dataclasses.replace(recording, left_out=left_out)
    entries = run_shards(recording.convert, "convert", shards, manifest, beam_options)
    rejected = [one for reader in readers.values() for one in getattr(reader, "rejected", ())]
    episodes = sum(map(len, readers.values())) + len(rejected)
    rejected += [one for entry in entries.values() for one in entry.rejected]
    require_few(rejected, filtered, episodes, max_rejected, manifest)
    assemble_dataset(manifest, header, recording.spec, entries, rejected, filtered)


def _by_split(readers: Sequence[EpisodeReader]) -> dict[str, EpisodeReader]:
    splits = {reader.split: reader for reader in readers}
    if not readers or len(splits) < len(readers):
        raise ConversionError(f"the splits are {[reader.split for reader in readers]}; name one or more, each once")
    first, *others = readers
    for other in others:
        if other.spec != first.spec:
            raise ConversionError(
                f"split {other.split!r} has another spec than split {first.split!r}; convert it apart"
            )
    return splits


def _header(spec: TaskSpec, splits: Mapping[str, EpisodeReader], settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the result depends on, as JSON has it: a conversion goes on only where all of it is the same."""
    read = {split: {"fingerprint": reader.fingerprint, "episodes": len(reader)} for split, reader in splits.items()}
    return json.loads(json.dumps({"schema": _SCHEMA, **settings, "splits": read, "task": spec.to_json()}))


def _finished(directory: Path, splits: Iterable[str]) -> Conversion:
    """What a dataset says of how it was made. Raises ConversionError where it is not whole."""
    try:
        datasets = [open_dataset(directory, split) for split in splits]
        left = json.loads((directory / REJECTED_FILE).read_text())
        return Conversion(
            directory=directory,
            episodes=sum(map(len, datasets)),
            steps=sum(int(dataset.acting_lengths.sum()) for dataset in datasets),
            rejected=tuple(map(Rejection.from_json, left["rejected"])),
            filtered=left["filtered"],
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f"{directory}: was converted and is damaged since ({error}); convert it again (--overwrite)"
        ) from None
