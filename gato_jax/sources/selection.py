"""Some episodes of a recording: a draw from its best ones, the smaller within the larger (paper, appendix E)."""

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
    """Episodes that cannot be selected; the message names the task, the numbers and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Selection:
    """N episodes of a recording, in the order in which they were drawn; itself an EpisodeReader.

    Attributes:
      reader: what they are of.
      numbers: (N,) their positions there.
      returns: (N,) undiscounted.
      kept: how many, the best, they were drawn from.
    """

    reader: EpisodeReader
    numbers: np.ndarray
    returns: np.ndarray
    kept: int

    @property
    def spec(self) -> TaskSpec:
        return self.reader.spec

    @property
    def split(self) -> str:
        return self.reader.split

    @property
    def lengths(self) -> np.ndarray:
        return self.reader.lengths[self.numbers]

    @property
    def fingerprint(self) -> str:
        said = f"{self.reader.fingerprint} {self.numbers.tolist()}"
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def to_json(self) -> dict[str, Any]:
        """Which episodes, and of what."""
        data = {"fingerprint": self.reader.fingerprint, "episodes": len(self.reader), "kept": self.kept}
        pairs = zip(self.numbers.tolist(), self.returns.tolist(), strict=True)
        return {"data": data, "selection": [{"episode": number, "return": value} for number, value in pairs]}

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, position: SupportsIndex) -> Episode:
        return self.reader[int(self.numbers[position])]

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))


def select(reader: EpisodeReader, *, episodes: int, keep_best: int, series: int) -> Selection:
    """As many episodes as asked for, drawn from the best by return; see `draw`.

    Raises:
      SelectionError: the recording has fewer, or an episode's return is no number.
    """
    name = reader.spec.name
    if len(reader) < episodes:
        raise SelectionError(
            f"{name}: {episodes} episodes are asked for and the recording has {len(reader)}; record more, or ask for "
            f"{len(reader)} at most"
        )
    returns = episode_returns(reader)
    if not np.isfinite(returns).all():
        number = int(np.argmin(np.isfinite(returns)))
        raise SelectionError(f"{name}: the return of episode {number} is {returns[number]}; mend its rewards")
    numbers = draw(returns, reader.fingerprint, episodes=episodes, keep_best=keep_best, series=series)
    return Selection(reader=reader, numbers=numbers, returns=returns[numbers], kept=min(keep_best, len(reader)))


def draw(
    returns: Float[np.ndarray, " M"], fingerprint: str, *, episodes: int, keep_best: int, series: int
) -> Int[np.ndarray, " N"]:
    """The numbers of `episodes` of M, drawn without replacement from the `keep_best` of the highest return.

    Of equal returns the lower number comes first. The draw is a function of `series` and the data's fingerprint, and a
    smaller one is the beginning of a larger one: the 10 are among the 100.
    """
    best = np.argsort(-returns, kind="stable")[:keep_best]
    data = int.from_bytes(hashlib.sha256(fingerprint.encode()).digest()[:8])
    return np.random.default_rng((series, data)).permutation(best)[:episodes]


def episode_returns(reader: EpisodeReader) -> Float[np.ndarray, " M"]:
    """Undiscounted returns of all episodes: of our own recordings from their sidecar, of others by reading them."""
    if isinstance(reader, EpisodeDataset):
        return reader.returns
    return np.array([episode.episode_return for episode in reader], np.float64)
