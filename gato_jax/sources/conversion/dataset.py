"""Finished shards to one dataset: files are renamed, not rewritten, and described as TFDS and our store do it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_jax.episodes import StoreError, TaskSpec, rlds_format
from gato_jax.episodes.tfds_writer import disk_errors, write_description
from gato_jax.episodes.writer import write_sidecars
from gato_jax.sources.conversion.manifest import HEADER_FILE, Manifest, ShardEntry, write_json
from gato_jax.sources.conversion.shards import Shard
from gato_jax.sources.reader import Rejection

REJECTED_FILE = "rejected.json"
_FILE_NAME = "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}"


def assemble_dataset(
    manifest: Manifest,
    header: Mapping[str, Any],
    spec: TaskSpec,
    entries: Mapping[Shard, ShardEntry],
    rejected: Sequence[Rejection],
    filtered: Mapping[str, int],
):
    """Makes `manifest.dataset` a whole dataset. Killed in the middle, it is called again and goes on.

    Raises:
      StoreError: a split would be empty, or the disk refuses.
    """
    directory, final = manifest.directory, manifest.final_files(entries)
    held = {split: [shard for shard in final if shard.split == split] for split in header["splits"]}
    for split, shards in held.items():
        if not shards:
            raise StoreError(f"{directory}: split {split!r} would hold no episodes; leave the split out")
    with disk_errors(directory):
        for shard, file in final.items():
            if (finished := manifest.record_file(shard)).exists():
                os.replace(finished, file)
        for file in set(manifest.dataset.iterdir()) - set(final.values()):  # of a shard that was done anew since
            shutil.rmtree(file) if file.is_dir() else file.unlink()
    write_description(
        manifest.dataset,
        directory,
        rlds_format.features(spec),
        {split: _sizes([entries[shard] for shard in shards]) for split, shards in held.items()},
        file_format=manifest.file_format,
        file_name=_FILE_NAME,
    )
    rows = {split: [row for shard in shards for row in entries[shard].rows] for split, shards in held.items()}
    files = {split: [final[shard] for shard in shards] for split, shards in held.items()}
    write_sidecars(manifest.dataset, directory, spec, rows, files)
    with disk_errors(directory):
        write_rejected(manifest.dataset, rejected, filtered)
        write_json(manifest.dataset / HEADER_FILE, header)


def write_rejected(folder: Path, rejected: Sequence[Rejection], filtered: Mapping[str, int]) -> Path:
    """Lists what is left out, and returns the file."""
    file = folder / REJECTED_FILE
    write_json(file, {"rejected": [rejection.to_json() for rejection in rejected], "filtered": dict(filtered)})
    return file


def _sizes(entries: Sequence[ShardEntry]) -> tuple[list[int], int]:
    """How many records each file has, and the bytes of all records."""
    return [len(entry.rows) for entry in entries], sum(entry.record_bytes for entry in entries)
