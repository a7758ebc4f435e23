"""What every source gives: episodes at random, with their spec and lengths known before any is read."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, SupportsIndex, runtime_checkable

import numpy as np

from gato_jax.episodes import Episode, Provenance, TaskSpec


class SourceError(ValueError):
    """A recording that cannot be read; the message names where it should be and the remedy."""


class EpisodeRejected(SourceError):
    """One episode that is not as it should be; the others of its recording are none the worse."""

    def __init__(self, where: str, reason: str):
        super().__init__(f"{where}: {reason}")
        self.where, self.reason = where, reason

    def __reduce__(self):  # across processes
        return EpisodeRejected, (self.where, self.reason)


class Rejection(NamedTuple):
    """A part of a recording that is left out, and why."""

    where: str
    reason: str


@runtime_checkable
class EpisodeReader(Protocol):
    """Episodes of one task and one split: what `gato_jax.episodes.EpisodeDataset` and every source here are."""

    @property
    def spec(self) -> TaskSpec: ...
    @property
    def split(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, position: SupportsIndex) -> Episode: ...
    def __iter__(self) -> Iterator[Episode]: ...

    @property
    def lengths(self) -> np.ndarray:
        """(N,) int64, steps of each episode."""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes when the data change."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedEpisodes:
    """Episodes of one step that are made when they are asked for, as captions and dialogues are.

    Attributes:
      items: one for each episode; their reprs are the content that the fingerprint covers.
      make: the observation and action of an item's one step, {key: value} each.
      content: what else the episodes depend on, for the fingerprint: a font's digest.
    """

    spec: TaskSpec
    split: str
    provenance: Provenance
    items: tuple[Any, ...]
    make: Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]
    content: str = ""

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, position: SupportsIndex) -> Episode:
        observation, action = self.make(self.items[position])
        yes = np.ones(1, bool)
        return Episode(
            task=self.spec.name,
            observation={key: _one_step(value) for key, value in observation.items()},
            action={key: _one_step(value) for key, value in action.items()},
            reward=np.zeros(1, np.float32),
            discount=np.zeros(1, np.float32),
            is_first=yes,
            is_last=yes,
            is_terminal=yes,
            provenance=self.provenance,
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        return np.ones(len(self.items), np.int64)

    @property
    def fingerprint(self) -> str:
        said = repr((self.spec.to_json(), self.split, self.content, self.items))
        return hashlib.sha256(said.encode()).hexdigest()[:16]


def _one_step(value: Any) -> np.ndarray:
    return np.array([value], dtype=object) if isinstance(value, str) else np.asarray(value)[None]


def chosen(split: str, is_held_out: bool) -> bool:
    """Whether an item is of this split. Raises SourceError for a split other than train and test."""
    if split not in ("train", "test"):
        raise SourceError(f"no split {split!r}; it has train, test")
    return is_held_out == (split == "test")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordedEpisodes:
    """One split of a recording of others, each episode read when it is asked for; itself an EpisodeReader.

    Attributes:
      places: where each of the N episodes lies, as `read` takes it.
      lengths: (N,) int64, steps of each episode.
      read: a place to its episode; it pickles, for every process opens files of its own. Raises EpisodeRejected.
      rejected: the parts of the recording that were seen to be damaged when it was opened, and are in no place.
    """

    spec: TaskSpec
    split: str
    places: Sequence[Any]
    lengths: np.ndarray
    fingerprint: str
    read: Callable[[Any], Episode]
    rejected: tuple[Rejection, ...] = ()

    def __len__(self) -> int:
        return len(self.places)

    def __getitem__(self, position: SupportsIndex) -> Episode:
        """The episode at `position`; negative counts from the end. Raises EpisodeRejected where it is damaged."""
        return self.read(self.places[range(len(self))[position]])

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"RecordedEpisodes({self.spec.name}, {self.split}, {len(self)} episodes, {len(self.rejected)} rejected)"


_ENDS = 1 << 16


def fingerprint_of(files: Iterable[Path], *about: Any) -> str:
    """Sixteen hexadecimal digits over names, sizes and both ends of files, and over what else is given."""
    digest = hashlib.sha256(repr(about).encode())
    for file in files:
        size = file.stat().st_size
        digest.update(f"{file.name} {size}".encode())
        with file.open("rb") as content:
            digest.update(content.read(_ENDS))
            content.seek(max(size - _ENDS, 0))
            digest.update(content.read(_ENDS))
    return digest.hexdigest()[:16]


def within(root: Path, name: str, *, through_links: bool = False) -> Path:
    """The path of what a recording calls `name`. Raises SourceError where that is outside of its folder, `root`.

    `through_links`: a link may lead out of it, as all of those in the cache of Hugging Face's hub do.
    """
    real = (lambda path: Path(os.path.abspath(path))) if through_links else Path.resolve
    path = real(root / name)
    if not path.is_relative_to(real(root)):
        raise SourceError(f"{root}: it names {name!r}, which lies outside of its folder; such a recording is not read")
    return path
