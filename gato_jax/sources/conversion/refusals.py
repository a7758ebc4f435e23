"""What ends a conversion: actions that cannot be trained on, and a recording of which too much is damaged."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from gato_jax.episodes import Continuous, TaskSpec
from gato_jax.episodes.tfds_writer import disk_errors
from gato_jax.sources.conversion.dataset import write_rejected
from gato_jax.sources.conversion.manifest import ConversionError, Manifest
from gato_jax.sources.reader import Rejection


class TooManyRejectedError(ConversionError):
    """More episodes are damaged than may be. What is converted is kept, and no dataset is made.

    Attributes:
      rejected, filtered: as in Conversion.
    """

    def __init__(self, message: str, rejected: Sequence[Rejection], filtered: Mapping[str, int]):
        super().__init__(message)
        self.rejected, self.filtered = tuple(rejected), filtered


def require_limits(spec: TaskSpec):
    """Refuses continuous actions that cannot be scaled to [-1, 1], as training does; observations need no limits."""
    for key, modality in spec.action.items():
        if not isinstance(modality, Continuous):
            continue
        low, high = modality.limits
        usable = np.isfinite(low) & np.isfinite(high) & (low < high)
        if not usable.all():
            first = int(usable.argmin())
            raise ConversionError(
                f"{spec.name}: action {key!r} has the limits {low[first]:g} and {high[first]:g} at element {first}; "
                "training needs finite ones, low below high: give both in the fields"
            )


def require_few(
    rejected: Sequence[Rejection],
    filtered: Mapping[str, int],
    episodes: int,
    max_rejected: float,
    manifest: Manifest,
):
    """Refuses a recording of so many episodes of which more than a share is damaged; lists these in the work folder.

    Raises:
      TooManyRejectedError: naming the most frequent reason and the list.
      StoreError: the disk refuses.
    """
    if len(rejected) <= max_rejected * episodes:
        return
    with disk_errors(manifest.directory):
        listed = write_rejected(manifest.folder, rejected, filtered)
    [(reason, times)] = Counter(one.reason for one in rejected).most_common(1)
    where = next(one.location for one in rejected if one.reason == reason)
    are = "is" if len(rejected) == 1 else "are"
    few = f" (one of {episodes} is already more)" if 0 < max_rejected * episodes < 1 else ""
    raise TooManyRejectedError(
        f"{manifest.directory}: {len(rejected)} of {episodes} episodes {are} rejected, more than a share of "
        f"{max_rejected:g}{few}; the most frequent reason, of {times}, is: {reason} (first at {where}); all are listed "
        f"in {listed}; mend the recording, or raise max_rejected (--max_rejected) and run again: what is converted is "
        "kept",
        rejected,
        filtered,
    )
