"""The interface of all sources: episodes by index, whose task and lengths are known before any episode is read."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol, SupportsIndex, runtime_checkable

import numpy as np

from gato_jax.episodes import Episode, Provenance, TaskSpec
from gato_jax.episodes.errors import without_addresses
from gato_jax.runtime.content_digests import combine, content_digests


class SourceError(ValueError):
    """A recording that cannot be read or contradicts its fields, or an argument that does not suit it.

    The message names the problem and, in most cases, the path of the recording and the remedy. Addresses in memory,
    which errors of other packages show, are removed from it, so that the same problem has the same message.
    """

    def __init__(self, message: str):
        super().__init__(without_addresses(message))


class NoSplitError(SourceError):
    """A split that a recording does not have, or that has nothing in it."""


class EpisodeRejected(SourceError):
    """A damaged or contradictory episode, or a damaged file. Other episodes of its recording can still be read.

    The message is `LOCATION: REASON`.

    Attributes:
      location: path of the file or folder, in most formats followed by the number or the name of the episode.
      reason: the problem, in words.
    """

    def __init__(self, location: str, reason: str):
        super().__init__(f"{location}: {reason}")
        self.location, self.reason = location, without_addresses(reason)

    def __reduce__(self):
        """Make the error picklable, because worker processes return it to their parent."""
        return EpisodeRejected, (self.location, self.reason)


class Rejection(NamedTuple):
    """An episode, a file or a whole recording that is left out.

    Attributes:
      location: what is left out: a path, a path and the number or name of the episode, or the name of a task.
      reason: the problem, in words.
    """

    location: str
    reason: str

    def to_json(self) -> dict[str, str]:
        """Return {"where": location, "reason": reason}, which `from_json` reads."""
        return {"where": self.location, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Rejection:
        """Build a rejection from the JSON object that `to_json` returned, or raise KeyError if it lacks a key."""
        return cls(location=value["where"], reason=value["reason"])


@runtime_checkable
class EpisodeReader(Protocol):
    """The episodes of one task and one split, indexed from 0.

    `gato_jax.episodes.EpisodeDataset` and all readers of `gato_jax.sources` implement this protocol.
    """

    @property
    def spec(self) -> TaskSpec: ...
    @property
    def split(self) -> str: ...
    def __len__(self) -> int: ...
    def __getitem__(self, position: SupportsIndex) -> Episode: ...
    def __iter__(self) -> Iterator[Episode]: ...

    @property
    def lengths(self) -> np.ndarray:
        """Number of steps of each of the N episodes, (N,) int64. A final step without an action counts too."""
        ...

    @property
    def fingerprint(self) -> str:
        """Digest of the data and of the settings that they are read with, as 16 hexadecimal digits.

        It changes when any byte of these changes, and depends neither on the folder nor on times. The first access may
        read all files; see `gato_jax.runtime.content_digests`.
        """
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class GeneratedEpisodes:
    """Episodes of one step each that are generated on access, such as rendered captions and dialogues.

    The step has reward 0 and discount 0, and is first, last and terminal.

    Attributes:
      spec: the task.
      split: name of the split.
      provenance: provenance of every episode.
      items: one item for each episode. The fingerprint covers their `repr`.
      make: maps an item to the observation and the action of its one step, each a dict of arrays or strings without a
        time axis.
      content: digest of everything else that the episodes depend on, such as a font file. The fingerprint covers it.
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
        true = np.ones(1, bool)
        return Episode(
            task=self.spec.name,
            observation={key: _add_time_axis(value) for key, value in observation.items()},
            action={key: _add_time_axis(value) for key, value in action.items()},
            reward=np.zeros(1, np.float32),
            discount=np.zeros(1, np.float32),
            is_first=true,
            is_last=true,
            is_terminal=true,
            provenance=self.provenance,
        )

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    @property
    def lengths(self) -> np.ndarray:
        return np.ones(len(self.items), np.int64)

    @property
    def fingerprint(self) -> str:
        provenance = dataclasses.asdict(self.provenance)
        return combine([repr((self.spec.to_json(), self.split, self.content, provenance, self.items))])


def _add_time_axis(value: Any) -> np.ndarray:
    """Return one value of a step as an array (1, ...) of one step; a string becomes an object array (1,)."""
    return np.array([value], dtype=object) if isinstance(value, str) else np.asarray(value)[None]


def is_in_split(split: str, is_held_out: bool) -> bool:
    """Return whether an item belongs to `split`: held-out items form "test", all others form "train".

    Args:
      split: "train" or "test". There is no "validation".
      is_held_out: whether the item is held out from training.

    Raises:
      NoSplitError: `split` is neither "train" nor "test".
    """
    if split not in ("train", "test"):
        raise NoSplitError(f"no split {split!r}; it has train, test")
    return is_held_out == (split == "test")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RecordedEpisodes:
    """An EpisodeReader over one split of a recording in a foreign format. Each episode is read on access.

    Attributes:
      spec: the task.
      split: name of the split.
      addresses: location of each of the N episodes within the recording, in the form that `read` accepts.
      lengths: number of steps of each episode, (N,) int64, a final step without an action included.
      fingerprint: digest of the data and of the settings they are read with.
      read: reads the episode at one of the `addresses`, or raises EpisodeRejected. It must be picklable, because every
        worker process opens the files itself.
      rejected: files and episodes that were found damaged on opening. They have no address, and `len` does not count
        them. Further episodes may be rejected when they are read.
    """

    spec: TaskSpec
    split: str
    addresses: Sequence[Any]
    lengths: np.ndarray
    fingerprint: str
    read: Callable[[Any], Episode]
    rejected: tuple[Rejection, ...] = ()

    def __len__(self) -> int:
        return len(self.addresses)

    def __getitem__(self, position: SupportsIndex) -> Episode:
        """Read the episode at `position`, counted from the end if negative.

        Raises:
          EpisodeRejected: the episode is damaged.
          IndexError: the position is outside of [-N, N).
        """
        return self.read(self.addresses[range(len(self))[position]])

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def __repr__(self) -> str:
        return f"RecordedEpisodes({self.spec.name}, {self.split}, {len(self)} episodes, {len(self.rejected)} rejected)"


# Version of the readers. Increase it when a reader returns other values for the same bytes and fields than before.
READERS_VERSION = 2


def fingerprint_files(files: Sequence[Path], *settings: Any, label: str = "") -> str:
    """Return a digest of the whole content of files and of settings as 16 hexadecimal digits.

    The names without their folders are covered, too. A file that has not changed is not read again, see
    `content_digests`. Of a file that cannot be read the reason is covered.

    Args:
      files: the files, on a disk or in a bucket. The digest depends on their order.
      *settings: further values to cover. Their `repr` must not change between processes.
      label: name of the recording, for a progress bar.
    """
    names = [file.name for file in files]
    return combine([repr((READERS_VERSION, settings, names)), *content_digests(files, label=label)])


def resolve_within(root: Path, name: str, *, through_links: bool = False) -> Path:
    """Return the absolute path of `root / name`, and refuse to leave `root`.

    File names inside a recording are not trusted: `../secret` must not be read. The file need not exist.

    Args:
      root: folder of the recording.
      name: path relative to `root`, as the recording gives it. An absolute path must lie below `root`.
      through_links: whether symbolic links may lead out of `root`, as the links in the Hugging Face Hub's cache do; the
        returned path then still has its links. If false, the path is checked and returned with all links resolved.

    Raises:
      SourceError: the path lies outside of `root`, or the name holds a NUL, which no path can.
    """
    if "\0" in name:
        raise SourceError(f"{root}: the recording names the file {name!r}, expected a name without NUL. Copy it again.")
    absolute = (lambda path: Path(os.path.abspath(path))) if through_links else Path.resolve
    path = absolute(root / name)
    if not path.is_relative_to(absolute(root)):
        raise SourceError(
            f"{root}: the recording names the file {name!r}, which lies outside of its folder. Copy the file into the "
            "folder and name it by a relative path."
        )
    return path
