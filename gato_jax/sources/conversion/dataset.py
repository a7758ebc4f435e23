"""Assembly of finished shards into a dataset, by renaming their files and writing the descriptions of TFDS."""

from __future__ import annotations

import dataclasses
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_jax.episodes import StoreError, TaskSpec, rlds_format
from gato_jax.episodes.action_extents import ActionExtent, clipped_actions
from gato_jax.episodes.tfds_writer import disk_errors, write_description
from gato_jax.episodes.writer import write_sidecars
from gato_jax.sources.conversion.manifest import HEADER_FILE, Manifest, ShardEntry, write_json
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import Omission, Rejection

REJECTED_FILE = "rejected.json"
ACTIONS_FILE = "actions.json"
_FILE_NAME = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def assemble_dataset(
    manifest: Manifest,
    header: Mapping[str, Any],
    spec: TaskSpec,
    entries: Mapping[Shard, ShardEntry],
    rejected: Sequence[Rejection],
    filtered: Mapping[str, int],
    left_out: Sequence[Omission],
):
    """Complete the unfinished dataset of a conversion whose shards are all finished.

    Record files in the work folder get their final names, descriptions are written beside them, and other files there
    are deleted. The folder is not moved to its final place. A call that was interrupted can be repeated.

    Args:
      manifest: work folder of the conversion.
      header: description of the data and the settings, whose `splits` names the splits.
      spec: the task.
      entries: the entries of all shards.
      rejected: the damaged episodes.
      filtered: {name of a filter: number of episodes that it dropped}.
      left_out: what the recording holds and is not read.

    Raises:
      StoreError: all splits would be empty, or the disk is full or not writable.
    """
    directory, final = manifest.directory, manifest.final_files(entries)
    shards_by_split = {split: [shard for shard in final if shard.split == split] for split in header["splits"]}
    shards_by_split = {split: shards for split, shards in shards_by_split.items() if shards}
    if not shards_by_split:
        splits = " and ".join(map(repr, header["splits"]))
        raise StoreError(f"{directory}: split {splits} would hold no episodes. Name a split that has some.")
    with disk_errors(directory):
        for shard, file in final.items():
            if (finished := manifest.record_file(shard)).exists():
                os.replace(finished, file)
        for file in set(manifest.dataset.iterdir()) - set(final.values()):  # left by an earlier attempt at a shard
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    write_description(
        manifest.dataset,
        directory,
        rlds_format.features(spec),
        {split: _count_records([entries[shard] for shard in shards]) for split, shards in shards_by_split.items()},
        file_format=manifest.file_format,
        file_name=_FILE_NAME,
    )
    rows = {
        split: [row for shard in shards for row in entries[shard].rows] for split, shards in shards_by_split.items()
    }
    files = {split: [final[shard] for shard in shards] for split, shards in shards_by_split.items()}
    write_sidecars(manifest.dataset, directory, spec, rows, files)
    with disk_errors(directory):
        write_rejected(manifest.dataset, rejected, filtered, left_out)
        write_json(manifest.dataset / HEADER_FILE, header)


def write_rejected(
    folder: Path, rejected: Sequence[Rejection], filtered: Mapping[str, int], left_out: Sequence[Omission]
) -> Path:
    """Write damaged episodes, counts of filtered ones and what is not read to `folder/rejected.json`.

    Returns:
      The path of the file.
    """
    file = folder / REJECTED_FILE
    lists = {"rejected": [one.to_json() for one in rejected], "left_out": [one.to_json() for one in left_out]}
    write_json(file, lists | {"filtered": dict(filtered)})
    return file


def write_actions(folder: Path, spec: TaskSpec, extents: Sequence[ActionExtent]):
    """Write the extents of actions, and those that are clipped, to `folder/actions.json`."""
    measured = [dataclasses.asdict(extent) for extent in extents]
    write_json(folder / ACTIONS_FILE, {"actions": measured, "clipped": clipped_actions(spec, extents)})


def read_clipped(folder: Path) -> tuple[dict[str, Any], ...]:
    """Return the actions outside of their limits that `write_actions` listed; () for a dataset without the file.

    Raises:
      OSError, ValueError, KeyError: the file cannot be read.
    """
    file = folder / ACTIONS_FILE
    return tuple(json.loads(file.read_text())["clipped"]) if file.exists() else ()


def _count_records(entries: Sequence[ShardEntry]) -> tuple[list[int], int]:
    """Return the number of records of each entry, in order, and the size of the records of all entries in bytes."""
    return [len(entry.rows) for entry in entries], sum(entry.record_bytes for entry in entries)
