"""Log of the sizes of recorded images, and of the sizes to which they are brought."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Sequence

from gato_jax.episodes import Image
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, RecordedEpisodes

_log = logging.getLogger(__name__)
_TRIED = 3  # episodes, of which the first may be damaged
_FITS = {
    "resize": "stretched, without regard to the aspect ratio",
    "pad": "padded with black",
    "crop": "cropped to the aspect ratio",
}
_logged: set[tuple[str, tuple[int, int], Image]] = set()


def log_image_size(camera: str, recorded: tuple[int, int], modality: Image):
    """Log the recorded size of a camera, the size of its modality and the fit, once in each process.

    Args:
      camera: name of the task and of the observation.
      recorded: height and width of the recorded images in pixels.
      modality: the modality that they are brought to.
    """
    key = camera, recorded, modality
    if key in _logged:
        return
    _logged.add(key)
    target = modality.height, modality.width
    change = "recorded"
    if recorded != target:
        same_ratio = recorded[0] * target[1] == recorded[1] * target[0]
        change = f"{modality.height} x {modality.width}, " + (
            "with the same aspect ratio" if same_ratio else _FITS[modality.fit]
        )
    _log.info("%s: images of %d x %d (height x width), read as %s", camera, *recorded, change)


def log_image_sizes(readers: Sequence[EpisodeReader]):
    """Read one episode of each recording with images, so that the sizes of its cameras are in the log of this process.

    Workers, which read all episodes, have no log. A recording whose first three episodes are damaged has no lines.
    """
    for reader in readers:
        if not isinstance(reader, RecordedEpisodes):
            continue
        if not any(isinstance(modality, Image) for modality in reader.spec.observation.values()):
            continue
        for position in itertools.islice(range(len(reader)), _TRIED):
            try:
                reader[position]
                break
            except EpisodeRejected:  # it is listed when it is converted
                continue
