"""Conditions that end a conversion: actions without limits, and too many damaged episodes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.episodes.action_extents import NO_LIMIT, ActionExtent, coarse_limits
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.sources.conversion.dataset import write_rejected
from gato_jax.sources.conversion.manifest import ConversionError, Manifest
from gato_jax.sources.conversion.shard_worker import ShardWorker
from gato_jax.sources.reader import Omission, Rejection

_TRIED = 20  # episodes of each split that are tried before a conversion begins


class TooManyRejectedError(ConversionError):
    """A conversion that ended without a dataset, because too many episodes are damaged. Converted shards are kept.

    Attributes:
      rejected: the damaged episodes.
      filtered: {name of a filter: number of episodes that it dropped and all filters before it kept}.
      left_out: what the recording holds and is not read.
    """

    def __init__(
        self,
        message: str,
        rejected: Sequence[Rejection],
        filtered: Mapping[str, int],
        left_out: Sequence[Omission] = (),
    ):
        super().__init__(message)
        self.rejected, self.filtered, self.left_out = tuple(rejected), filtered, tuple(left_out)


def require_limits(spec: TaskSpec):
    """Raise ConversionError if a continuous action has no limits, or a low that is not below its high.

    The largest float32 and its like, with which some libraries say that there is no limit, count as infinite.

    Training scales actions by the limits to [-1, 1].
    """
    for key, modality in spec.action.items():
        if not isinstance(modality, Continuous):
            continue
        low, high = modality.limits
        usable = (np.abs(low) < NO_LIMIT) & (np.abs(high) < NO_LIMIT) & (low < high)
        if not usable.all():
            first = int(usable.argmin())
            raise ConversionError(
                f"{spec.name}: action {key!r} has limits {low[first]:g} and {high[first]:g} at element {first}, "
                "expected finite limits, low below high. Set both in the fields."
            )


def require_usable_limits(spec: TaskSpec, extents: Sequence[ActionExtent], min_bins: int, manifest: Manifest):
    """Raise ConversionError if the limits of an action leave too few bins to the data, after emptying the work folder.

    The work folder is emptied because other limits make another conversion.

    Args:
      spec: the task.
      extents: extents of all continuous actions of the accepted episodes.
      min_bins: number of bins, of 1,024, that must be left to each element that varies; 0 accepts any limits.
      manifest: gives the work folder.

    Raises:
      ConversionError: the limits of an action leave fewer bins.
      StoreError: the disk is full or not writable.
    """
    if not min_bins or not (coarse := coarse_limits(spec, extents, min_bins=min_bins)):
        return
    with disk_errors(manifest.directory):
        manifest.clear()
    raise ConversionError(f"{'. '.join(coarse)} in the fields, or accept the limits (--min_action_bins=0).")


def require_few_rejections(
    rejected: Sequence[Rejection],
    filtered: Mapping[str, int],
    left_out: Sequence[Omission],
    episodes: int,
    max_rejected: float,
    manifest: Manifest,
):
    """Raise an error if too many episodes are damaged, after writing a list of these to disk.

    Nothing is written if the damaged episodes are at most `max_rejected * episodes`.

    Args:
      rejected: the damaged episodes.
      filtered: {name of a filter: number of episodes that it dropped}, for the list.
      left_out: what the recording holds and is not read, for the list.
      episodes: number of all episodes that the recording promises, damaged and filtered ones included.
      max_rejected: share of episodes that may be damaged, in [0, 1].
      manifest: gives the work folder, in which the list is the file `rejected.json`.

    Raises:
      TooManyRejectedError: more than `max_rejected * episodes` are damaged. The message gives the most frequent reason.
      StoreError: the disk is full or not writable.
    """
    lost = sum(one.episodes for one in rejected)
    if lost <= max_rejected * episodes:
        return
    with disk_errors(manifest.directory):
        listed = write_rejected(manifest.folder, rejected, filtered, left_out)
    reason, times = count_by_reason(rejected)[0]
    location = next(one.location for one in rejected if one.reason == reason)
    are = "is" if lost == 1 else "are"
    few = f" (one of {episodes} is already more)" if 0 < max_rejected * episodes < 1 else ""
    raise TooManyRejectedError(
        f"{manifest.directory}: {lost} of {episodes} episodes {are} rejected, expected at most a share of "
        f"{max_rejected:g}{few}. The most frequent reason, in {times}, is: {reason} (first at {location}). All are "
        f"listed in {listed}. Correct the recording, or raise max_rejected (--max_rejected), and run again: converted "
        "shards are kept.",
        rejected,
        filtered,
        left_out,
    )


def count_by_reason(rejected: Iterable[Rejection]) -> list[tuple[str, int]]:
    """Return (reason, number of episodes) of each reason of the rejections, the most frequent first."""
    counts: Counter[str] = Counter()
    for one in rejected:
        counts[one.reason] += one.episodes
    return counts.most_common()


def require_readable(worker: ShardWorker, directory: Path):
    """Raise an error if none of several episodes, spread over the recording, can be read; nothing is written.

    One episode that can be read is enough, and the first that is tried usually is.

    Raises:
      TooManyRejectedError: none can be read, in most cases because the fields do not suit the recording.
    """
    rejected: list[Rejection] = []
    worker = dataclasses.replace(worker, workspace=None)  # an episode outside of it can be read
    for split, reader in worker.readers.items():
        for position in np.unique(np.linspace(0, len(reader) - 1, min(_TRIED, len(reader))).astype(int)).tolist():
            if worker.is_valid(split, position, rejected):
                return
    if not rejected:
        return
    reason, _ = count_by_reason(rejected)[0]
    location = next(one.location for one in rejected if one.reason == reason)
    raise TooManyRejectedError(
        f"{directory}: none of {len(rejected)} episodes that were tried can be read. The most frequent reason is: "
        f"{reason} (first at {location}). Correct the fields or the recording; nothing was written.",
        rejected,
        {},
    )
