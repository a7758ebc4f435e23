"""Sampling of images from recorded datasets, for example to train an image tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np

from gato_jax.episodes import Episode, Image
from gato_jax.sources.reader import EpisodeReader, SourceError


def sample_images(
    readers: Sequence[EpisodeReader],
    limit: int,
    episodes: Callable[[EpisodeReader], Iterable[Episode]] = iter,
) -> list[np.ndarray]:
    """Return up to `limit` images, spread evenly over all steps and cameras of all datasets.

    Every episode of every dataset is read. A damaged episode raises EpisodeRejected unless `episodes` leaves it out.

    Args:
      readers: The datasets.
      limit: The largest number of images; if there are fewer, all are returned.
      episodes: Returns the episodes of a reader. A progress bar may be added here.

    Returns:
      Images, uint8 (height, width, channels), in the order of datasets, episodes, observation keys and steps. Their
      sizes may differ from key to key.

    Raises:
      SourceError: One of the datasets observes no images.
    """
    keys = [[key for key, kind in reader.spec.observation.items() if isinstance(kind, Image)] for reader in readers]
    for reader, image_keys in zip(readers, keys, strict=True):
        if not image_keys:
            raise SourceError(f"cannot sample images: {reader.spec.name} observes no images. Leave it out.")
    total = sum(int(reader.lengths.sum()) * len(image_keys) for reader, image_keys in zip(readers, keys, strict=True))
    taken, seen = [], 0
    for reader, image_keys in zip(readers, keys, strict=True):
        for episode in episodes(reader):
            for image in (image for key in image_keys for image in episode.observation[key]):
                seen += 1
                if seen * limit // total > len(taken) or total <= limit:
                    taken.append(image)
    return taken
