"""Conditions that end a conversion: actions without limits, and too many damaged episodes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.episodes.action_extents import NO_LIMIT, ActionExtent, coarse_limits
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.sources.conversion.dataset import write_rejected
from gato_jax.sources.conversion.manifest import ConversionError, Manifest
from gato_jax.sources.reader import Rejection


class TooManyRejectedError(ConversionError):
    """A conversion that ended without a dataset, because too many episodes are damaged. Converted shards are kept.

    Attributes:
      rejected: the damaged episodes.
      filtered: {name of a filter: number of episodes that it dropped and all filters before it kept}.
    """

    def __init__(self, message: str, rejected: Sequence[Rejection], filtered: Mapping[str, int]):
        super().__init__(message)
        self.rejected, self.filtered = tuple(rejected), filtered


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
    episodes: int,
    max_rejected: float,
    manifest: Manifest,
):
    """Raise an error if too many episodes are damaged, after writing a list of these to disk.

    Nothing is written if the damaged episodes are at most `max_rejected * episodes`.

    Args:
      rejected: the damaged episodes.
      filtered: {name of a filter: number of episodes that it dropped}, for the list.
      episodes: number of all episodes, damaged and filtered ones included.
      max_rejected: share of episodes that may be damaged, in [0, 1].
      manifest: gives the work folder, in which the list is the file `rejected.json`.

    Raises:
      TooManyRejectedError: more than `max_rejected * episodes` are damaged. The message gives the most frequent reason.
      StoreError: the disk is full or not writable.
    """
    if len(rejected) <= max_rejected * episodes:
        return
    with disk_errors(manifest.directory):
        listed = write_rejected(manifest.folder, rejected, filtered)
    [(reason, times)] = Counter(one.reason for one in rejected).most_common(1)
    location = next(one.location for one in rejected if one.reason == reason)
    are = "is" if len(rejected) == 1 else "are"
    few = f" (one of {episodes} is already more)" if 0 < max_rejected * episodes < 1 else ""
    raise TooManyRejectedError(
        f"{manifest.directory}: {len(rejected)} of {episodes} episodes {are} rejected, expected at most a share of "
        f"{max_rejected:g}{few}. The most frequent reason, in {times}, is: {reason} (first at {location}). All are "
        f"listed in {listed}. Correct the recording, or raise max_rejected (--max_rejected), and run again: converted "
        "shards are kept.",
        rejected,
        filtered,
    )
