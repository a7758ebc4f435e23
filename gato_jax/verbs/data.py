"""Opening of the dataset that a flag names, for several verbs."""

from __future__ import annotations

import pathlib

from etils import epy

from gato_jax.verbs.flags import UsageError

with epy.lazy_imports():
    from gato_jax import sources


def open_data(source: str, split: str = "train") -> sources.EpisodeReader:
    """Open one split of a dataset, given the folder of one of our own, or KIND:WHERE.

    Raises:
      UsageError: The source is an export of tokens, which holds no episodes.
      SourceError, DatasetError: The dataset is missing or damaged.
    """
    if source.startswith("tokens:"):
        raise UsageError(f"{source} can be trained on alone; name the dataset that it was made from")
    is_folder = ":" not in source or pathlib.Path(source).exists()
    return sources.open_source(f"recorded:{source}" if is_folder else source, split)
