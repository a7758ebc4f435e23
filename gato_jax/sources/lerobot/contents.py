"""The content of LeRobot datasets that is not read."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from gato_jax.sources.contents import FoundField, unnamed_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import find_files, unread_files
from gato_jax.sources.lerobot.entries import LeRobotEpisode
from gato_jax.sources.lerobot.metadata import LeRobotMetadata
from gato_jax.sources.parquet.table import read_schema
from gato_jax.sources.reader import Omission, Rejection


def describe_feature_list(metadata: LeRobotMetadata) -> list[FoundField]:
    """Return the features that info.json declares."""
    kinds = {"string": "text", "video": "image", "image": "image"}
    return [
        FoundField(path=name, kind=kinds.get(one.dtype, one.dtype), shape=one.shape, note=f"a {one.dtype}")
        for name, one in metadata.features.items()
    ]


def find_left_out(
    metadata: LeRobotMetadata, split: str, fields: Fields, read: Collection[str], episodes: Sequence[LeRobotEpisode]
) -> list[Omission]:
    """List the episodes, files and features of a dataset, and columns of its first file, that are not read.

    Args:
      metadata: metadata of the dataset.
      split: name of the split.
      fields: the fields that are read.
      read: columns that are read although no field names them.
      episodes: the episodes that are read.
    """
    root = metadata.root
    others = [episode for episode in metadata.episodes if episode.index not in metadata.splits[split]]
    omissions = []
    for episode in others:
        splits = tuple(name for name, part in metadata.splits.items() if episode.index in part)
        reason = f"it is in {', '.join(map(repr, splits))}" if splits else "it is in no split of info.json"
        omissions.append(Omission(f"{root}: episode {episode.index}", f"{reason}, not in {split!r}", splits))
    known = {root / "README.md", root / "meta/info.json"}
    for episode in metadata.episodes:
        known |= {episode.data, *(video.file for name, video in episode.videos.items())}
    if episodes:
        file = episodes[0].data
        undeclared = set(read_schema(file, str(file)).names) - metadata.features.keys()
        reason = "info.json does not declare this column"
        omissions += [Omission(f"{file}: {name}", reason) for name in sorted(undeclared)]
    found = find_files(root, lambda file: file in known or file.is_relative_to(root / "meta"))
    omissions += found.left_out
    omissions += unread_files(root, found.others, "no episode of the metadata names it", found.files)
    return [*omissions, *unnamed_fields(str(root), describe_feature_list(metadata), fields, ("task_index", *read))]


def missing_episodes(metadata: LeRobotMetadata, split: str) -> list[Rejection]:
    """Return a rejection of the episodes that a split promises and that the metadata do not list, if there are any."""
    promised = metadata.splits[split]
    listed = sum(episode.index in promised for episode in metadata.episodes)
    lost = len(promised) - listed - len(metadata.rejected)  # a damaged entry is rejected by itself
    if lost <= 0:
        return []
    problem = (
        f"split {split!r} is {promised.start}:{promised.stop}, but {lost} of these episodes are not in its metadata"
    )
    return [Rejection(f"{metadata.root / 'meta'}", f"{problem}. Download it again.", lost)]
