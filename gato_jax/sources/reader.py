"""The interface of all sources: episodes by index, whose task and lengths are known before any episode is read."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, SupportsIndex, runtime_checkable

import numpy as np

from gato_jax.episodes import Episode, Provenance, TaskSpec
from gato_jax.episodes.errors import without_addresses
from gato_jax.runtime.content_digests import combine, content_digests

if TYPE_CHECKING:
    from gato_jax.sources.fields import Fields


class SourceError(ValueError):
    """A recording that cannot be read or contradicts its fields, or an argument that does not suit it.

    The message names the problem and, in most cases, the path of the recording and the remedy. Addresses in memory,
    which errors of other packages show, are removed from it, so that the same problem has the same message.
    """

    def __init__(self, message: str):
        super().__init__(without_addresses(message))


class NoSplitError(SourceError):
    """A split that a recording does not have, or that has nothing in it."""


class EmptySplitError(NoSplitError):
    """A split that a rule defines and that happens to have nothing in it, such as `test` of a few texts."""


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
      episodes: number of episodes that are lost with it, as the metadata of the recording promise it, or as other files
        of the recording let expect it.
    """

    location: str
    reason: str
    episodes: int = 1

    def __str__(self) -> str:
        return f"{self.location}: {self.reason}"

    def to_json(self) -> dict[str, str | int]:
        """Return {"where": location, "reason": reason}, which `from_json` reads; and `episodes` unless it is 1."""
        return {"where": self.location, "reason": self.reason} | (
            {} if self.episodes == 1 else {"episodes": self.episodes}
        )

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Rejection:
        """Build a rejection from the JSON object that `to_json` returned, or raise KeyError if it lacks a key."""
        return cls(location=value["where"], reason=value["reason"], episodes=value.get("episodes", 1))


class Omission(NamedTuple):
    """A file, folder, field, stream or episode that exists, is not damaged, and is not read.

    Attributes:
      location: path, or path and name, by which it is listed once if the readers of several splits leave it out.
      reason: why it is not read, in words.
      splits: splits of which it is a part. It is no omission of a conversion of one of these.
    """

    location: str
    reason: str
    splits: tuple[str, ...] = ()

    def to_json(self) -> dict[str, str]:
        """Return {"where": location, "reason": reason}, which `from_json` reads."""
        return {"where": self.location, "reason": self.reason}

    @classmethod
    def from_json(cls, value: Mapping[str, str]) -> Omission:
        """Build an omission from the JSON object that `to_json` returned, or raise KeyError if it lacks a key."""
        return cls(location=value["where"], reason=value["reason"])


def find_omissions(readers: Sequence[EpisodeReader]) -> list[Omission]:
    """Return what the readers of some splits of a recording leave out, each thing once, without what one of them reads.

    Readers that do not tell what they leave out count as leaving out nothing.
    """
    splits = {reader.split for reader in readers}
    every = [
        one for reader in readers for one in getattr(reader, "left_out", ()) if not splits.intersection(one.splits)
    ]
    return list({one.location: one for one in reversed(every)}.values())[::-1]


def held_out_omission(path: Path, items: str, other: str, in_other: int, selected: int) -> list[Omission]:
    """Return the omission of the items that belong to the other split by their hashes, or [] if there are none.

    Args:
      path: path of the recording.
      items: word for the items, such as "texts".
      other: name of the other split, "train" or "test".
      in_other: number of items in it.
      selected: number of items in the split that is read.
    """
    if not in_other:
        return []
    rule = f"{in_other} of {in_other + selected} {items} belong to it, by their hashes"
    return [Omission(f"{path}: split {other!r}", f"{rule}. Name it in --splits to convert them too", (other,))]


def weigh_damaged_files(rejected: Iterable[Rejection], files: Iterable[Path], episodes: int) -> list[Rejection]:
    """Return the rejections, in which a file that cannot be read counts as the mean number of episodes of the others.

    Otherwise a damaged file of a thousand episodes would count as one.

    Args:
      rejected: the rejections. One whose location is the path of a file stands for the whole file.
      files: all files that were to be read.
      episodes: number of episodes in those that can be read.
    """
    paths, rejected = {str(file) for file in files}, list(rejected)
    readable = len(paths - {one.location for one in rejected})
    mean = max(1, round(episodes / readable)) if readable else 1
    return [one._replace(episodes=mean) if one.location in paths and one.episodes == 1 else one for one in rejected]


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
      left_out: everything that exists where the items come from and is not read.
    """

    spec: TaskSpec
    split: str
    provenance: Provenance
    items: tuple[Any, ...]
    make: Callable[[Any], tuple[dict[str, Any], dict[str, Any]]]
    content: str = ""
    left_out: tuple[Omission, ...] = ()

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
      fields: the fields that the episodes are read with, if the format has any.
      find_left_out: lists what exists and is not read. It is called on the first access of `left_out`, and picklable.
    """

    spec: TaskSpec
    split: str
    addresses: Sequence[Any]
    lengths: np.ndarray
    fingerprint: str
    read: Callable[[Any], Episode]
    rejected: tuple[Rejection, ...] = ()
    fields: Fields | None = None
    find_left_out: Callable[[], Iterable[Omission]] = tuple

    @functools.cached_property
    def left_out(self) -> tuple[Omission, ...]:
        """Every file, folder, field, stream and episode that exists and is not read by this reader."""
        return tuple(self.find_left_out())

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
