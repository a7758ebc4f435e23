"""The index of token records: their episodes, and the tokens, patches and targets of each timestep.

The arrays are in DIR/index_NAME.npy and mapped into memory, so a process holds only the pages that it reads, however
large the dataset. The maxima over all timesteps are computed once, when the records are written.
"""

from __future__ import annotations

import dataclasses
import functools
import pathlib
from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from gato_jax.batching.record_files import FileState, RecordFileError, check_file

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


@dataclasses.dataclass(frozen=True)
class StepMaxima:
    """Maxima over all timesteps of a dataset.

    Attributes:
      tokens, patches, targets: Maximum number of them in a timestep.
      patches_per_token, targets_per_token: Maximum of that number divided by the number of tokens of the timestep.
    """

    tokens: int
    patches: int
    targets: int
    patches_per_token: float
    targets_per_token: float


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordIndex:
    """The index of E episodes of S timesteps in C chunks.

    Attributes:
      episode_steps: (E,) timesteps of each episode.
      episode_provenance: (E,) index of the episode's provenance among those of the dataset.
      first_step: (E,) index of the first timestep of each episode.
      step_tokens, step_patches, step_targets: (S,) number of them in each timestep, one episode after the other.
      first_token: (S,) index of the first token of each timestep, counted over the whole dataset.
      chunk_first: (C,) index of the first timestep of each chunk. A chunk is one record, which holds one or more
        timesteps of one episode.

    Indices of timesteps count over the whole dataset.
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
    def build(
        cls,
        sizes: Int[np.ndarray, "3 S"],
        episode_steps: Int[np.ndarray, " E"],
        chunk_steps: Int[np.ndarray, " C"],
        provenances: Int[np.ndarray, " E"],
    ) -> RecordIndex:
        """Build the index in memory, its arrays cast to `DTYPES`.

        Args:
          sizes: (3, S) tokens, patches and targets of each timestep.
          episode_steps: (E,) timesteps of each episode.
          chunk_steps: (C,) timesteps of each chunk.
          provenances: (E,) index of the provenance of each episode.
        """
        tokens, patches, targets = sizes
        arrays = {
            "episode_steps": episode_steps, "episode_provenance": provenances,
            "first_step": np.cumsum(episode_steps) - episode_steps,
            "step_tokens": tokens, "step_patches": patches, "step_targets": targets,
            "first_token": np.cumsum(tokens, dtype=np.int64) - tokens,
            "chunk_first": np.cumsum(chunk_steps) - chunk_steps,
        }  # fmt: skip
        return cls(**{name: np.asarray(array, DTYPES[name]) for name, array in arrays.items()})

    def write(self, folder: pathlib.Path) -> dict[str, FileState]:
        """Write the arrays into an existing folder as index_NAME.npy, and return {file name: state of the file}."""
        states = {}
        for name in DTYPES:
            path = _path(folder, name)
            np.save(path, getattr(self, name), allow_pickle=False)
            states[path.name] = FileState.of(path, checksum=True)
        return states

    @classmethod
    def open(cls, folder: pathlib.Path, states: Mapping[str, FileState], *, verify: bool = False) -> RecordIndex:
        """Map the arrays that `write` wrote into memory, read-only.

        Args:
          folder: The folder of the records.
          states: What `write` returned. A file of the same size and time is taken for unchanged. The checksum is
            computed only for a file of the same size and another time, such as a copy.
          verify: Whether to compute the checksums of all files.

        Raises:
          RecordFileError: A file is missing, cannot be read, is not in `states`, or has another size or checksum.
        """
        arrays = {}
        for name in DTYPES:
            path = _path(folder, name)
            check_file(path, states.get(path.name), always=verify)
            try:
                arrays[name] = np.load(path, mmap_mode="r", allow_pickle=False)
            except Exception as error:  # NumPy raises several for a header that was changed
                raise RecordFileError(f"{path} cannot be read ({error})") from None
        return cls(**arrays)

    @property
    def nbytes(self) -> int:
        """Size of all arrays in bytes."""
        return sum(getattr(self, name).nbytes for name in DTYPES)

    @functools.cached_property
    def maxima(self) -> StepMaxima:
        """Maxima over all timesteps, of which there must be at least one; all of them are read."""
        tokens = np.maximum(self.step_tokens, 1)
        return StepMaxima(
            *(int(array.max()) for array in (self.step_tokens, self.step_patches, self.step_targets)),
            *(float((array / tokens).max()) for array in (self.step_patches, self.step_targets)),
        )


def _path(folder: pathlib.Path, name: str) -> pathlib.Path:
    return folder / f"index_{name}.npy"
