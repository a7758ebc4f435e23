"""Conversion of a recording into a dataset of gato_jax, shard by shard. An interrupted conversion continues."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import TaskSpec, dataset_name, open_dataset
from gato_jax.episodes.action_extents import MIN_BINS, merge_extents
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.record_files import FILE_FORMATS, FileFormat
from gato_jax.episodes.store import TFDS_FILE
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.episodes.writer import check_destination, local_root
from gato_jax.runtime import writer_lock
from gato_jax.runtime.atomic_writes import remove_if_empty, replace_folder
from gato_jax.sources.conversion.conditions import (
    require_few_rejections,
    require_limits,
    require_readable,
    require_usable_limits,
)
from gato_jax.sources.conversion.dataset import REJECTED_FILE, assemble_dataset, read_clipped, write_actions
from gato_jax.sources.conversion.filters import Filter
from gato_jax.sources.conversion.manifest import (
    HEADER_FILE,
    OTHER_INPUTS,
    ConversionError,
    Manifest,
    ShardEntry,
    read_header,
)
from gato_jax.sources.conversion.pipeline import check_options, run_shards
from gato_jax.sources.conversion.shard_worker import ShardWorker, Transform
from gato_jax.sources.conversion.shards import SHARD_EPISODES, Shard, plan_shards
from gato_jax.sources.conversion.survey import apply_filters
from gato_jax.sources.embodiments import EmbodimentSelector
from gato_jax.sources.image_sizes import log_image_sizes
from gato_jax.sources.reader import EpisodeReader, Omission, Rejection, find_omissions

_SCHEMA = 2


@dataclasses.dataclass(frozen=True, kw_only=True)
class Conversion:
    """The result of a finished conversion.

    Attributes:
      directory: folder of the dataset, `.../NAME/VERSION`.
      episodes: number of episodes in all splits.
      steps: number of steps at which an action was taken, in all splits.
      rejected: the damaged episodes, which are not in the dataset.
      filtered: {name of a filter: number of episodes that it dropped and all filters before it kept}.
      left_out: files, folders, fields, streams and episodes that the recording holds and that were not read.
      splits: {split: number of episodes}. A split of which nothing is left has 0 and is not in the dataset.
      clipped: elements of actions that lie outside of their limits, as `clipped_actions` describes them.
      reused: whether the same dataset existed already, so that nothing was converted. Comparisons ignore it.
    """

    directory: Path
    episodes: int
    steps: int
    rejected: tuple[Rejection, ...]
    filtered: Mapping[str, int]
    left_out: tuple[Omission, ...] = ()
    splits: Mapping[str, int] = dataclasses.field(default_factory=dict)
    clipped: tuple[Mapping[str, Any], ...] = ()
    reused: bool = dataclasses.field(default=False, compare=False)


def convert(
    readers: Sequence[EpisodeReader],
    output: str | Path,
    *,
    file_format: FileFormat = "array_record",
    filters: Sequence[Filter] = (),
    selector: EmbodimentSelector | None = None,
    max_rejected: float = 0.1,
    min_action_bins: int = MIN_BINS,
    transform: Transform | None = None,
    shard_episodes: int = SHARD_EPISODES,
    version: str = "1.0.0",
    overwrite: bool = False,
    beam_options: Sequence[str] = (),
    source: str | None = None,
) -> Conversion:
    """Convert the episodes of one task to the dataset `output/NAME/version`.

    NAME is `dataset_name` of the task. The result depends on the arguments only, not on the number of workers. Until it
    is complete, it is in the folder `VERSION.converting` beside, from which an interrupted conversion continues. A
    finished conversion with the same data and settings is returned as it is, unless `overwrite` is set. `max_rejected`
    and `beam_options` do not count as settings.

    Args:
      readers: one reader for each split. They must be picklable, because every worker opens the files itself.
      output: folder of the datasets. It must be visible to all workers.
      file_format: format of the record files.
      filters: filters, each of which judges the episodes of all splits together.
      selector: conditions on the robot. Episodes that leave its workspace are dropped, and counted as the last filter,
        `select`.
      max_rejected: share of episodes that may be damaged, in [0, 1]. Damaged episodes are left out of the dataset.
      min_action_bins: number of the 1,024 bins between the limits of an action that must be left to each element that
        varies; 0 accepts any limits. It does not count as a setting.
      transform: change to make to each episode. Filters judge episodes before it.
      shard_episodes: maximum number of episodes in a record file. Large episodes make smaller files.
      version: version of the dataset.
      overwrite: whether to replace any dataset of the task in the same place, also one with the same data and settings,
        and any unfinished conversion with other data or settings.
      beam_options: options of Apache Beam, such as `--runner=DataflowRunner`.
      source: KIND:WHERE that the readers were opened with, recorded as the origin of the dataset. It counts as one of
        the settings.

    Returns:
      Folder and counts of the dataset.

    Raises:
      ConversionError: the readers contradict each other, a continuous action has no finite limits with low below high
        or leave too few bins to the data, `max_rejected` or `file_format` has a wrong value, the recording lacks a
        property that a filter judges by, Beam refuses an option, a finished conversion is damaged, or `overwrite` is
        false and a conversion of other data or with other settings is in the same place.
      TooManyRejectedError: a larger share of the episodes than `max_rejected` is damaged. They are listed in
        `VERSION.converting/rejected.json`. Or none of several episodes that are tried first can be read, in most cases
        because the fields do not suit the recording; then nothing is written.
      FolderInUseError: another process is converting there.
      StoreError: the folder of the dataset holds something that no conversion wrote, and `overwrite` is false; it holds
        a dataset of another task or no dataset at all; all splits would be empty; or the disk is full or not writable.
    """
    splits = _index_by_split(readers)
    spec = transform.spec if transform else readers[0].spec
    require_limits(spec)
    if selector is not None and (reasons := selector.mismatches(readers[0].spec)):
        raise ConversionError(f"{spec.name}: no episode is selected: {'; '.join(reasons)}.")
    log_image_sizes(readers)
    if not 0 <= max_rejected <= 1:
        raise ConversionError(f"max_rejected is {max_rejected}, expected a share of the episodes in [0, 1]")
    directory = local_root(output) / dataset_name(spec.name) / version
    if file_format not in FILE_FORMATS:
        raise ConversionError(f"file_format is {file_format!r}, expected {' or '.join(FILE_FORMATS)}")
    manifest = Manifest(directory, file_format)
    settings = {
        "file_format": file_format,
        "shard_episodes": shard_episodes,
        "filters": {one.name: vars(one) for one in filters},
        "transform": transform and transform.fingerprint,
        "reviewed": transform is not None and transform.reviewed,
        "source": source,
        **({} if selector is None else {"select": dataclasses.asdict(selector)}),
    }
    header = _describe(spec, splits, settings)
    if _is_there(directory, spec, header, overwrite):
        if manifest.folder.exists():  # a process was killed after the last rename
            with _locked(manifest), disk_errors(directory):
                manifest.clear()
        return dataclasses.replace(_read_result(directory, splits), reused=True)
    check_options(beam_options)
    workspace = None if selector is None else selector.workspace
    worker = ShardWorker(readers=splits, manifest=manifest, transform=transform, workspace=workspace)
    require_readable(worker, directory)
    with _locked(manifest):
        if _is_there(directory, spec, header, overwrite):  # another process has finished it since
            return dataclasses.replace(_read_result(directory, splits), reused=True)
        manifest.begin(header, restart=overwrite)
        _convert_all(worker, header, filters, max_rejected, min_action_bins, beam_options)
        with disk_errors(directory):
            replace_folder(manifest.dataset, directory)
            manifest.clear()
    return _read_result(directory, splits)


def _is_there(directory: Path, spec: TaskSpec, header: Mapping[str, Any], overwrite: bool) -> bool:
    """Return whether the same conversion is finished and to be kept.

    Raises:
      ConversionError: a conversion with another header is there, and `overwrite` is false.
      StoreError: the folder holds something that may not be replaced, see `check_destination`.
    """
    held = read_header(directory)
    if not overwrite and held == header:
        return True
    check_destination(directory, spec, overwrite or held is not None)
    if held is not None and not overwrite:
        require_same(
            header, held, problem=f"{directory}: exists already, made {OTHER_INPUTS}", holder=HEADER_FILE,
            remedy="choose another output, or replace it (--overwrite)", error=ConversionError,
        )  # fmt: skip
    return False


@contextlib.contextmanager
def _locked(manifest: Manifest) -> Iterator[None]:
    """Be the only writer of the work folder during the block, and remove the folder after it if nothing is left in it.

    Raises:
      FolderInUseError: another process is converting there.
      StoreError: the disk is full or not writable.
    """
    try:
        with contextlib.ExitStack() as stack:
            with disk_errors(manifest.directory):
                stack.enter_context(writer_lock(manifest.folder))
            yield
    finally:
        remove_if_empty(manifest.folder)


def _convert_all(
    worker: ShardWorker,
    header: Mapping[str, Any],
    filters: Sequence[Filter],
    max_rejected: float,
    min_action_bins: int,
    beam_options: Sequence[str],
):
    """Filter the episodes, convert all unfinished shards and assemble the dataset in the work folder.

    Args:
      worker: the readers and the work folder, without exclusions.
      header: description of the data and the settings, from `_describe`.
      filters: the filters.
      max_rejected: share of episodes that may be damaged, in [0, 1].
      min_action_bins: number of bins that the limits of actions must leave to the data (see `convert`).
      beam_options: options of Apache Beam.

    Raises:
      TooManyRejectedError: too many episodes are damaged.
      ConversionError: the recording lacks a property that a filter judges by.
      StoreError: all splits would be empty, or the disk is full or not writable.
    """
    readers, manifest = worker.readers, worker.manifest
    shards = [
        shard
        for split, reader in readers.items()
        for shard in plan_shards(worker.spec, split, reader.lengths, header["shard_episodes"])
    ]
    excluded, filtered = apply_filters(worker, shards, filters, beam_options) if filters else ({}, {})
    worker = dataclasses.replace(worker, excluded=excluded)
    entries = run_shards(worker.convert, "convert", shards, manifest, beam_options)
    if worker.workspace is not None:
        filtered = {**filtered, "select": _count_outside(entries, excluded)}
        if filtered["select"] and not any(entry.rows for entry in entries.values()):
            with disk_errors(manifest.directory):
                manifest.clear()  # another workspace would be refused beside it
            box = f"of {worker.workspace.key!r}, low {worker.workspace.low}, high {worker.workspace.high}"
            raise ConversionError(
                f"{worker.spec.name}: all {filtered['select']} episodes leave the workspace {box}. Widen it (--select)."
            )
    rejected = [one for reader in readers.values() for one in getattr(reader, "rejected", ())]
    episodes = sum(map(len, readers.values())) + sum(one.episodes for one in rejected)
    rejected += [one for entry in entries.values() for one in entry.rejected]
    left_out = find_omissions([*readers.values()])
    require_few_rejections(rejected, filtered, left_out, episodes, max_rejected, manifest)
    actions = merge_extents(extent for entry in entries.values() for extent in entry.actions)
    require_usable_limits(worker.spec, actions, min_action_bins, manifest)
    assemble_dataset(manifest, header, worker.spec, entries, rejected, filtered, left_out)
    with disk_errors(manifest.directory):
        write_actions(manifest.dataset, worker.spec, actions)


def _count_outside(entries: Mapping[Shard, ShardEntry], excluded: Mapping[str, np.ndarray]) -> int:
    """Return the number of episodes that are valid but outside of the workspace.

    Args:
      entries: the entries of all shards after their conversion.
      excluded: as in ShardWorker.
    """
    count = 0
    for shard, entry in entries.items():
        dropped = excluded[shard.split][shard.start : shard.stop].sum() if shard.split in excluded else 0
        count += shard.stop - shard.start - int(dropped) - len(entry.positions) - len(entry.rejected)
    return count


def _index_by_split(readers: Sequence[EpisodeReader]) -> dict[str, EpisodeReader]:
    """Return {split: reader} in order.

    Raises:
      ConversionError: `readers` is empty, two readers have the same split, or their tasks differ.
    """
    splits = {reader.split: reader for reader in readers}
    if not readers or len(splits) < len(readers):
        raise ConversionError(f"the splits are {[reader.split for reader in readers]}, expected one or more, each once")
    first, *others = readers
    for other in others:
        if other.spec != first.spec:
            raise ConversionError(
                f"split {other.split!r} has another task spec than split {first.split!r}. Convert it separately."
            )
    return splits


def _describe(spec: TaskSpec, splits: Mapping[str, EpisodeReader], settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return, as a JSON object, a description of everything that the dataset depends on.

    A conversion continues only if the description is the same. It holds the settings, the task, and the fingerprint and
    number of episodes of each split.
    """
    read = {split: {"fingerprint": reader.fingerprint, "episodes": len(reader)} for split, reader in splits.items()}
    return json.loads(json.dumps({"schema": _SCHEMA, **settings, "splits": read, "task": spec.to_json()}))


def _read_result(directory: Path, splits: Collection[str]) -> Conversion:
    """Read the result of a finished conversion of these splits, or raise ConversionError if its folder is damaged.

    Its `episodes` and `steps` count these splits, but `rejected` and `filtered` cover all splits of the dataset.
    """
    try:
        held = {entry["name"] for entry in json.loads((directory / TFDS_FILE).read_text())["splits"]}
        by_split = {split: open_dataset(directory, split) for split in splits if split in held}
        datasets = by_split.values()
        for dataset in datasets:
            dataset.verify()
        omitted = json.loads((directory / REJECTED_FILE).read_text())
        return Conversion(
            directory=directory,
            episodes=sum(map(len, datasets)),
            steps=sum(int(dataset.acting_lengths.sum()) for dataset in datasets),
            rejected=tuple(map(Rejection.from_json, omitted["rejected"])),
            filtered=omitted["filtered"],
            left_out=tuple(map(Omission.from_json, omitted.get("left_out", ()))),
            splits={split: len(by_split[split]) if split in held else 0 for split in splits},
            clipped=read_clipped(directory),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(
            f"{directory}: the converted dataset is damaged ({describe_error(error)}). Convert it again (--overwrite)."
        ) from None
