"""The Parquet files of a split, by the naming conventions of the Hugging Face Hub."""

from __future__ import annotations

import collections
import re
from pathlib import Path
from typing import NamedTuple

from gato_jax.sources.files import find_files, has_suffix, unread_files
from gato_jax.sources.reader import NoSplitError, Omission, Rejection, SourceError

_SHARD = re.compile(r"(?P<split>[\w.]+?)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?")
_SPLITS = ("train", "validation", "valid", "val", "dev", "test", "eval")


class SplitFiles(NamedTuple):
    """The Parquet files of a split, sorted by path; those that are links which are refused; and what is not read."""

    files: list[Path]
    rejected: list[Rejection]
    left_out: list[Omission]


def list_split_files(path: Path, split: str) -> SplitFiles:
    """Return the Parquet files of a split.

    The split of a file named as a shard is the beginning of its name, as in `train-00000-of-00002.parquet`. Otherwise
    it is the first common split name among the names of the file and of its folders below `path`, innermost first, as
    in `test/0000.parquet`. If none of these is a common name, the split is "train". Common names are train, validation,
    valid, val, dev, test and eval.

    Args:
      path: a file with any extension, or a folder that holds `*.parquet` files at any depth.
      split: name of the split.

    Raises:
      SourceError: there is no file or no such split, or a file name ends in `-of-N`, and one of the shards 0 to N - 1
        is not in its folder.
    """
    found = find_files(path, has_suffix(".parquet"))
    if not (files := found.files):
        raise SourceError(
            f"{path}: no *.parquet file at or below this path. Give the path of a recording. "
            f"{found.rejected[0] if found.rejected else ''}".rstrip()
        )
    splits = collections.defaultdict(list)
    for file in files:
        splits[_split_name(file, path)].append(file)
    if split not in splits:
        raise NoSplitError(f"{path}: no split {split!r}; it has {', '.join(sorted(splits))}")
    _require_all_shards(splits[split])
    left_out = [*found.left_out, *unread_files(path, found.others, "a recording is *.parquet", files)]
    for name, others in splits.items():
        if name != split:
            left_out += [
                Omission(str(file), f"it belongs to split {name!r}, not to {split!r}", (name,)) for file in others
            ]
    refused = [one for one in found.rejected if _split_name(Path(one.location), path) == split]
    return SplitFiles(files=splits[split], rejected=refused, left_out=left_out)


def is_shard(file: Path) -> bool:
    """Return whether a file is named as one of N parts of a table, such as `train-00000-of-00002.parquet`."""
    return _SHARD.fullmatch(file.stem) is not None


def _split_name(file: Path, path: Path) -> str:
    """Return the split of a file at or below `path`, by the rules of `list_split_files`."""
    if shard := _SHARD.fullmatch(file.stem):
        return shard["split"]
    folders = file.relative_to(path).parts[:-1] if file != path else ()
    return next((name for name in (file.stem, *reversed(folders)) if name in _SPLITS), "train")


def _require_all_shards(files: list[Path]) -> None:
    """Raise SourceError if a folder lacks one of the N shards that names such as `train-00000-of-0000N` announce."""
    found = collections.defaultdict(set)
    for file in files:
        if shard := _SHARD.fullmatch(file.stem):
            found[file.parent, int(shard["count"])].add(int(shard["number"]))
    for (folder, count), numbers in found.items():
        if missing := sorted(set(range(count)) - numbers):
            raise SourceError(f"{folder}: shard {missing[0]} of {count} is missing. Download it.")
