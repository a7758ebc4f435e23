"""Choice of the feature by which the steps of an RLDS episode are counted."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from gato_jax.sources.reader import SourceError
from gato_jax.sources.rlds.tfds_dataset import dataset_parser

_USUAL = ("is_first", "is_last", "is_terminal", "discount", "reward")


def find_step_counter(directory: str) -> tuple[str, int]:
    """Return the path of a feature that every step has, such as `steps/is_first`, and its number of values for a step.

    The flags of RLDS are preferred. A dataset without them is counted by any other feature of fixed size.

    Args:
      directory: Folder of the dataset.

    Raises:
      SourceError: The description of the dataset cannot be read, the dataset has no steps, or no feature of the steps
        has a fixed size.
    """
    features = dataset_parser(directory).features
    steps = getattr(features["steps"], "feature", None) if "steps" in features else None
    if not hasattr(steps, "items"):
        raise SourceError(
            f"cannot open {directory}: it has no steps, only {', '.join(features)}. Give a dataset of episodes in RLDS."
        )
    sizes = dict(_sizes(steps))
    usual = [name for name in _USUAL if name in sizes]
    if not sizes:
        raise SourceError(f"cannot open {directory}: no feature of its steps has a fixed size, by which to count them.")
    name = (usual or sorted(sizes, key=lambda name: (sizes[name], name)))[0]
    return f"steps/{name}", sizes[name]


def _sizes(features: Any, prefix: str = "") -> Iterator[tuple[str, int]]:
    """Yield path and number of stored values of each feature that has the same number at each step."""
    for name, feature in features.items():
        if hasattr(feature, "items"):
            yield from _sizes(feature, f"{prefix}{name}/")
        elif hasattr(feature, "feature"):
            continue  # a sequence, whose length may differ from step to step
        elif type(feature).__name__ in ("Image", "Text") or getattr(feature, "_encoded_to_bytes", False):
            yield f"{prefix}{name}", 1  # one encoded file
        elif all(feature.shape) and None not in feature.shape:
            yield f"{prefix}{name}", math.prod(feature.shape)
