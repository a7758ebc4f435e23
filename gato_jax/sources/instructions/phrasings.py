"""Episodes that say what they are about in several phrasings, drawn so that each is used as often as any other."""

from __future__ import annotations

import dataclasses
import hashlib
import operator
from collections import Counter
from collections.abc import Iterator
from typing import SupportsIndex

import numpy as np

from gato_jax.episodes import Episode, TaskSpec, Text
from gato_jax.sources.reader import EpisodeReader, SourceError

INSTRUCTION = "instruction"  # the observation key


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PhrasedEpisodes:
    """Each of N episodes `copies` times, number i * copies + j the copy j of episode i; itself an EpisodeReader.

    A mixture over it draws phrasings as it draws episodes. The draw depends on the reader's fingerprint and on i and j
    alone. Copies of an episode have different phrasings while there are enough; with one group, over any P episodes
    from a multiple of P on, each of its P phrasings is used `copies` times.

    Attributes:
      phrasings: groups of instructions that mean the same. With one group every episode is given one of it; with
        several, the instruction that an episode has says which group it is of.
      key: the observation that holds the instruction; it is added where there is none.

    Raises:
      SourceError: there is no phrasing, one is in two groups, or the observation is no text.
    """

    reader: EpisodeReader
    phrasings: tuple[tuple[str, ...], ...]
    copies: int = 1
    key: str = INSTRUCTION

    def __post_init__(self):
        name, spec = self.reader.spec.name, self.reader.spec
        if self.copies < 1:
            raise SourceError(f"{name}: copies is {self.copies}, needs 1 or more")
        if not self.phrasings or not all(self.phrasings):
            raise SourceError(f"{name}: phrasings is {self.phrasings!r:.80}; give each group at least one")
        texts = Counter(text for group in self.phrasings for text in group)
        if twice := [text for text, count in texts.items() if count > 1]:
            raise SourceError(f"{name}: the phrasing {twice[0]!r} is there twice; leave one out")
        if len(self.phrasings) > 1 and self.key not in spec.observation:
            raise SourceError(
                f"{name}: {len(self.phrasings)} groups of phrasings, and no observation {self.key!r} to tell which an "
                f"episode is of; it has {', '.join(spec.observation) or 'none'}"
            )
        instructed_spec(spec, self.key, None)

    @property
    def spec(self) -> TaskSpec:
        return instructed_spec(self.reader.spec, self.key, self.phrasings[0] if len(self.phrasings) == 1 else None)

    @property
    def split(self) -> str:
        return self.reader.split

    @property
    def lengths(self) -> np.ndarray:
        return np.repeat(self.reader.lengths, self.copies)

    @property
    def fingerprint(self) -> str:
        said = repr((self.reader.fingerprint, self.phrasings, self.copies, self.key))
        return hashlib.sha256(said.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.reader) * self.copies

    def __getitem__(self, position: SupportsIndex) -> Episode:
        number, copy = divmod(range(len(self))[operator.index(position)], self.copies)
        episode = self.reader[number]
        group = self._group(episode, number)
        return instructed(episode, self.key, group[self._draw(number, copy, len(group))])

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def _group(self, episode: Episode, number: int) -> tuple[str, ...]:
        if len(self.phrasings) == 1:
            return self.phrasings[0]
        text = episode.observation[self.key][0]
        for group in self.phrasings:
            if text in group:
                return group
        raise SourceError(f"{episode.task}: episode {number} has the instruction {text!r}, which no group has; add it")

    def _draw(self, number: int, copy: int, count: int) -> int:
        """Every `count` episodes the phrasings are shuffled anew; each of these episodes begins at another of them."""
        cycle, turn = divmod(number, count)
        data = int.from_bytes(hashlib.sha256(self.reader.fingerprint.encode()).digest()[:8])
        return int(np.random.default_rng((data, cycle)).permutation(count)[(turn + copy) % count])


def instructed_spec(spec: TaskSpec, key: str, phrasings: tuple[str, ...] | None) -> TaskSpec:
    """The task with a Text observation `key` and these instructions. Raises SourceError where it is no text."""
    if not isinstance(modality := spec.observation.get(key, Text()), Text):
        raise SourceError(f"{spec.name}: observation {key!r} is {modality}, not text; rename it")
    return dataclasses.replace(spec, observation={**spec.observation, key: Text()}, instructions=phrasings)


def instructed(episode: Episode, key: str, text: str) -> Episode:
    """The episode with this text as its observation `key` at every step."""
    texts = np.full(len(episode), text, object)
    return dataclasses.replace(episode, observation={**episode.observation, key: texts})
