"""What is known of token records without reading one: their episodes, and the tokens of each timestep.

The arrays lie in DIR/index_NAME.npy and are mapped, not loaded, so a process holds only what it looks at, however large
the dataset. What is asked of all of them at once, the densest timestep, is computed when they are written.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
import zlib
from typing import Any

import numpy as np
from jaxtyping import Int

DTYPES = {
    "episode_steps": np.int32,
    "episode_provenance": np.int32,
    "first_step": np.int64,
    "step_tokens": np.int32,
    "step_patches": np.int32,
    "step_targets": np.int32,
    "first_token": np.int64,
    "chunk_first": np.int64,
}
_CHUNK = 1 << 24


class RecordIndexError(ValueError):
    """An index that is damaged; the message names the file."""


@dataclasses.dataclass(frozen=True)
class StepMaxima:
    """The most that one timestep has: tokens, patches, targets, and of the last two the most for each token."""

    tokens: int
    patches: int
    targets: int
    patches_per_token: float
    targets_per_token: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordIndex:
    """The index of E episodes of S timesteps.

    Attributes:
      episode_steps: (E,) timesteps of each episode; first_step: (E,) the index of its first.
      episode_provenance: (E,) which of the dataset's provenances is its own.
      step_tokens, step_patches, step_targets: (S,) of each timestep, episodes one after the other.
      first_token: (S,) the index of its first token, counted over the whole dataset.
      chunk_first: (C,) the first timestep of each chunk, which is a record.
    """

    episode_steps: Int[np.ndarray, " E"]
    episode_provenance: Int[np.ndarray, " E"]
    first_step: Int[np.ndarray, " E"]
    step_tokens: Int[np.ndarray, " S"]
    step_patches: Int[np.ndarray, " S"]
    step_targets: Int[np.ndarray, " S"]
    first_token: Int[np.ndarray, " S"]
    chunk_first: Int[np.ndarray, " C"]

    @classmethod
    def of(cls, counts: list[np.ndarray], chunks: list[int], provenances: list[int]) -> RecordIndex:
        """The index of episodes.

        Args:
          counts: (3, T) of each episode: tokens, patches and targets of its timesteps.
          chunks: timesteps of each chunk.
          provenances: which of the dataset's is that of each episode.
        """
        tokens, patches, targets = np.concatenate(counts, axis=1)
        steps = np.array([episode.shape[1] for episode in counts], np.int64)
        arrays = {
            "episode_steps": steps, "episode_provenance": provenances, "first_step": np.cumsum(steps) - steps,
            "step_tokens": tokens, "step_patches": patches, "step_targets": targets,
            "first_token": np.cumsum(tokens, dtype=np.int64) - tokens, "chunk_first": np.cumsum(chunks) - chunks,
        }  # fmt: skip
        return cls(**{name: np.asarray(array, DTYPES[name]) for name, array in arrays.items()})

    def write(self, folder: pathlib.Path) -> dict[str, int]:
        """Writes the arrays and returns the checksum of each, which `open` asks for."""
        for name in DTYPES:
            np.save(_path(folder, name), getattr(self, name), allow_pickle=False)
        return {name: _checksum(_path(folder, name)) for name in DTYPES}

    @classmethod
    def open(cls, folder: pathlib.Path, checksums: dict[str, Any]) -> RecordIndex:
        """Maps what `write` wrote. Raises RecordIndexError, naming the file that is not as it was written."""
        arrays = {}
        for name in DTYPES:
            path = _path(folder, name)
            try:
                if (found := _checksum(path)) != (written := checksums.get(name)):
                    raise ValueError(f"its checksum is {found}, it was written with {written}")
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except (OSError, ValueError) as error:
                raise RecordIndexError(f"{path}: {error}") from None
        return cls(**arrays)

    @property
    def nbytes(self) -> int:
        """Of all arrays."""
        return sum(getattr(self, name).nbytes for name in DTYPES)

    @functools.cached_property
    def maxima(self) -> StepMaxima:
        """Of a timestep; looks at all of them."""
        tokens = np.maximum(self.step_tokens, 1)
        return StepMaxima(
            *(int(array.max()) for array in (self.step_tokens, self.step_patches, self.step_targets)),
            *(float((array / tokens).max()) for array in (self.step_patches, self.step_targets)),
        )


def _path(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"index_{name}.npy"


def _checksum(path: pathlib.Path) -> int:
    value = 0
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            value = zlib.crc32(chunk, value)
    return value
