"""Which Parquet files are of a split, by the names that Hugging Face's hub gives them."""

from __future__ import annotations

import collections
import re
from pathlib import Path

from gato_jax.sources.reader import SourceError

_SHARD = re.compile(r"(?P<split>[\w.]+?)-(?P<number>\d{5})-of-(?P<count>\d{5})(-[0-9a-f]+)?")
_SPLITS = ("train", "validation", "valid", "val", "dev", "test", "eval")


def files_of_split(where: Path, split: str) -> list[Path]:
    """The files of a split, in order.

    A file is of the split with which its name begins, `train-00000-of-00002.parquet`; or which is its name, or that of
    the nearest folder which has the name of one, `test/0000.parquet`; or else of `train`.

    Args:
      where: a file, or a folder that holds them at any depth.
      split: which.

    Raises:
      SourceError: there is none, or of the shards, which say how many they are, one is missing.
    """
    files = [where] if where.is_file() else sorted(where.rglob("*.parquet"))
    if not files:
        raise SourceError(f"{where}: no Parquet files there; name a folder with *.parquet in it, or one such file")
    splits = collections.defaultdict(list)
    for file in files:
        splits[_split_of(file, where)].append(file)
    if split not in splits:
        raise SourceError(f"{where}: no split {split!r}; it has {', '.join(sorted(splits))}")
    _require_all_shards(splits[split])
    return splits[split]


def _split_of(file: Path, where: Path) -> str:
    if shard := _SHARD.fullmatch(file.stem):
        return shard["split"]
    folders = file.relative_to(where).parts[:-1] if file != where else ()
    return next((name for name in (file.stem, *reversed(folders)) if name in _SPLITS), "train")


def _require_all_shards(files: list[Path]) -> None:
    there = collections.defaultdict(set)
    for file in files:
        if shard := _SHARD.fullmatch(file.stem):
            there[file.parent, int(shard["count"])].add(int(shard["number"]))
    for (folder, count), numbers in there.items():
        if missing := sorted(set(range(count)) - numbers):
            raise SourceError(f"{folder}: of {count} shards number {missing[0]} is missing; download it as well")
