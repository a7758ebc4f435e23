"""Random selection of episodes from the best ones of a recording, for fine-tuning (paper, appendix E)."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Iterator
from typing import Any, SupportsIndex

import numpy as np
from jaxtyping import Float, Int

from gato_jax.episodes import Episode, EpisodeDataset, TaskSpec
from gato_jax.sources.reader import EpisodeReader


class SelectionError(ValueError):
    """A selection that cannot be made. The message names the task, the numbers and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """N episodes of a recording, in the order in which they were drawn. It is an EpisodeReader itself.

    Attributes:
      reader: all episodes of the recording.
      positions: positions of the selected episodes in `reader`, (N,) int.
      returns: their undiscounted returns, (N,) float64.
      candidates: number of episodes, the best of the recording, that the selection was drawn from.
    """

    reader: EpisodeReader
    positions: np.ndarray
    returns: np.ndarray
    candidates: int

    @property
    def spec(self) -> TaskSpec:
        return self.reader.spec

    @property
    def split(self) -> str:
        return self.reader.split

    @property
    def lengths(self) -> np.ndarray:
        return self.reader.lengths[self.positions]

    @property
    def fingerprint(self) -> str:
        content = f"{self.reader.fingerprint} {self.positions.tolist()}"
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Return the fingerprint and size of the recording, and position and return of each selected episode.

        Returns:
          {"data": {"fingerprint", "episodes", "kept": `candidates`}, "selection": [{"episode", "return"}, ...]}, in the
          order of the draw.
        """
        data = {"fingerprint": self.reader.fingerprint, "episodes": len(self.reader), "kept": self.candidates}
        pairs = zip(self.positions.tolist(), self.returns.tolist(), strict=True)
        return {"data": data, "selection": [{"episode": position, "return": value} for position, value in pairs]}

    def __len__(self) -> int:
        return len(self.positions)

    def __getitem__(self, position: SupportsIndex) -> Episode:
        return self.reader[int(self.positions[position])]

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))


def select(reader: EpisodeReader, *, episodes: int, keep_best: int, series: int) -> Selection:
    """Select episodes at random and without replacement from those of the highest return.

    Args:
      reader: all episodes of the recording.
      episodes: number of episodes to select. Fewer are selected if `keep_best` is lower.
      keep_best: number of episodes of the highest return to draw from; all if the recording has fewer.
      series: seed of the draw.

    Raises:
      SelectionError: the recording has fewer than `episodes`, or a return is not finite.
    """
    name = reader.spec.name
    if len(reader) < episodes:
        raise SelectionError(
            f"{name}: episodes is {episodes}, expected at most {len(reader)}, the size of the recording. Select fewer, "
            "or record more."
        )
    returns = episode_returns(reader)
    if not np.isfinite(returns).all():
        number = int(np.argmin(np.isfinite(returns)))
        raise SelectionError(
            f"{name}: the return of episode {number} is {returns[number]}, expected a finite number. Correct its "
            "rewards."
        )
    positions = draw_from_best(returns, reader.fingerprint, episodes=episodes, keep_best=keep_best, series=series)
    candidates = min(keep_best, len(reader))
    return Selection(reader=reader, positions=positions, returns=returns[positions], candidates=candidates)


def draw_from_best(
    returns: Float[np.ndarray, " M"], fingerprint: str, *, episodes: int, keep_best: int, series: int
) -> Int[np.ndarray, " N"]:
    """Draw positions without replacement from the episodes of the highest return.

    For the same data, series and `keep_best`, a smaller draw is the beginning of a larger one, so that the curve of
    appendix E adds episodes to those it had before. If returns are equal, the lower position ranks higher.

    Args:
      returns: returns of all M episodes.
      fingerprint: fingerprint of the data, which seeds the draw together with `series`.
      episodes: number N of positions to draw.
      keep_best: number of episodes of the highest return to draw from; all M if it is larger.
      series: seed of the draw.

    Returns:
      Positions of the drawn episodes, in the order of the draw. Fewer than N if `keep_best` or M is lower.
    """
    best = np.argsort(-returns, kind="stable")[:keep_best]
    data = int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:8])
    return np.random.default_rng((series, data)).permutation(best)[:episodes]


def episode_returns(reader: EpisodeReader) -> Float[np.ndarray, " M"]:
    """Return the undiscounted returns of all M episodes, in order, as float64.

    An EpisodeDataset stores them. Other recordings are read in full, and a damaged episode raises EpisodeRejected.
    """
    if isinstance(reader, EpisodeDataset):
        return reader.returns
    return np.array([episode.episode_return for episode in reader], np.float64)
