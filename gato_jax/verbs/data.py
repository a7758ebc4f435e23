"""Opening of the dataset that a flag names, for several verbs, and of the tokenization of a config."""

from __future__ import annotations

import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

from etils import epy

from gato_jax.runtime.paths import SCHEMES, as_path, split_name
from gato_jax.verbs.flags import UsageError

with epy.lazy_imports():
    from gato_jax import sources, tokenization, training
    from gato_jax.tokenization import image_tokenizer


def open_data(source: str, split: str = "train") -> sources.EpisodeReader:
    """Open one split of a dataset, given the folder of an RLDS dataset of gato_jax, or a source as KIND:PATH.

    A source that exists as a path is a folder, even with a colon in its name; so is an address such as gs://BUCKET/FOLDER.

    Raises:
      UsageError: The source is an export of tokens, which holds no episodes.
      SourceError, DatasetError: The dataset is missing or damaged.
    """
    if source.startswith("tokens:"):
        raise UsageError(f"{source} can be trained on alone; name the dataset that it was made from")
    is_folder = ":" not in source or source.partition("://")[0] in SCHEMES or pathlib.Path(source).exists()
    return sources.open_source(f"recorded:{source}" if is_folder else source, split)


def read_tokenization(config: Any) -> tuple[tokenization.Tokenization, image_tokenizer.ImageTokenizer | None]:
    """Return the tokenization and the image tokenizer of a config, or the paper's and None without a config.

    Raises:
      UsageError: The config's image tokenizer is in the workdir of a run.
    """
    if config is None:
        return tokenization.Tokenization(), None
    if "{workdir}" in (config.get("image_tokenizer") or ""):
        raise UsageError(
            f"--config.image_tokenizer is {config.image_tokenizer}, but there is no workdir with --data. Name a folder."
        )
    run = training.TrainConfig.from_mapping(config)
    images = None if run.image_tokenizer is None else image_tokenizer.ImageTokenizer.load(as_path(run.image_tokenizer))
    return run.model.tokenization, images


def join_paths(parts: Sequence[str]) -> Iterator[str]:
    """Yield the datasets that a comma-separated flag names, where parts that make an existing path are one dataset.

    A path with a comma that does not exist, or with spaces beside the comma, is one part if it is in double quotes.

    Args:
      parts: The parts between the commas.
    """
    start = 0
    while start < len(parts):
        stops = range(len(parts), start + 1, -1)
        stop = next((stop for stop in stops if _is_path(",".join(parts[start:stop]))), start + 1)
        yield ",".join(parts[start:stop])
        start = stop


def _is_path(source: str) -> bool:
    kind, _, path = source.partition(":")
    return any(
        pathlib.Path(split_name(one)[0]).exists() for one in (source, path if kind.isidentifier() else "") if one
    )
