"""Episodes with several phrasings of their instruction, each phrasing used equally often."""

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

INSTRUCTION_KEY = "instruction"  # observation key of the instruction


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PhrasedEpisodes:
    """An EpisodeReader that contains each episode of another reader `copies` times, with different phrasings.

    Position i * copies + j is copy j of episode i. A mixture that samples episodes therefore samples phrasings, too.
    The phrasing depends only on the reader's fingerprint, i and j. The copies of an episode have different phrasings as
    long as their group has enough. With one group of P phrasings, any P consecutive episodes that begin at a multiple
    of P use each phrasing `copies` times.

    Attributes:
      reader: The N episodes.
      phrasings: Groups of instructions with the same meaning. A single group applies to all episodes. With several
        groups, an episode belongs to the group that contains its recorded instruction.
      copies: Number of copies of each episode.
      key: Observation key of the instruction. The observation is added if the task does not have it.

    Raises:
      SourceError: `copies` is below 1, a group is empty or there is none, a phrasing occurs twice, the observation is
        not text, or it is missing although there are several groups. An episode whose instruction is in none of several
        groups raises it when it is read.
    """

    reader: EpisodeReader
    phrasings: tuple[tuple[str, ...], ...]
    copies: int = 1
    key: str = INSTRUCTION_KEY

    def __post_init__(self):
        spec, problem = self.reader.spec, f"cannot phrase the instructions of {self.reader.spec.name}"
        if self.copies < 1:
            raise SourceError(f"{problem}: copies is {self.copies}, expected 1 or more. Raise it.")
        if not self.phrasings or not all(self.phrasings):
            raise SourceError(
                f"{problem}: phrasings is {self.phrasings!r:.80}, expected groups that are not empty. Give each group "
                "at least one."
            )
        texts = Counter(text for group in self.phrasings for text in group)
        if repeated := [text for text, count in texts.items() if count > 1]:
            raise SourceError(f"{problem}: the phrasing {repeated[0]!r} occurs twice, expected once. Remove one.")
        if len(self.phrasings) > 1 and self.key not in spec.observation:
            raise SourceError(
                f"{problem}: {len(self.phrasings)} groups of phrasings need an observation {self.key!r} that tells the "
                f"group of an episode. The task observes {', '.join(spec.observation) or 'nothing'}; give one group."
            )
        spec_with_instruction(spec, self.key, None)  # refuses an observation of another modality

    @property
    def spec(self) -> TaskSpec:
        instructions = self.phrasings[0] if len(self.phrasings) == 1 else None
        return spec_with_instruction(self.reader.spec, self.key, instructions)

    @property
    def split(self) -> str:
        return self.reader.split

    @property
    def lengths(self) -> np.ndarray:
        return np.repeat(self.reader.lengths, self.copies)

    @property
    def fingerprint(self) -> str:
        content = repr((self.reader.fingerprint, self.phrasings, self.copies, self.key))
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def __len__(self) -> int:
        return len(self.reader) * self.copies

    def __getitem__(self, position: SupportsIndex) -> Episode:
        number, copy = divmod(range(len(self))[operator.index(position)], self.copies)
        episode = self.reader[number]
        group = self._group(episode, number)
        return with_instruction(episode, self.key, group[self._choose(number, copy, len(group))])

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def _group(self, episode: Episode, number: int) -> tuple[str, ...]:
        """Return the group of phrasings for an episode, by the instruction at its first step if there are several.

        Raises:
          SourceError: Its instruction is in no group.
        """
        if len(self.phrasings) == 1:
            return self.phrasings[0]
        text = episode.observation[self.key][0]
        for group in self.phrasings:
            if text in group:
                return group
        raise SourceError(
            f"cannot phrase the instructions of {episode.task}: episode {number} has the instruction {text!r}, which "
            "is in no group of phrasings. Add it to one."
        )

    def _choose(self, number: int, copy: int, count: int) -> int:
        """Return the index of the phrasing, from 0 to count - 1, for copy `copy` of episode `number`.

        Each block of `count` consecutive episodes has a random order of the phrasings. The first episode of the block
        begins at the first of that order, the second at the second, and so on; its copies take the following ones.
        """
        block, offset = divmod(number, count)
        data = int.from_bytes(hashlib.sha256(self.reader.fingerprint.encode()).digest()[:8])
        return int(np.random.default_rng((data, block)).permutation(count)[(offset + copy) % count])


def spec_with_instruction(spec: TaskSpec, key: str, instructions: tuple[str, ...] | None) -> TaskSpec:
    """Return a copy of the task with a Text observation `key`, added if missing, and with these `instructions`.

    Raises:
      SourceError: The task observes `key` already, and not as text.
    """
    if not isinstance(modality := spec.observation.get(key, Text()), Text):
        raise SourceError(
            f"cannot add instructions to {spec.name}: observation {key!r} is {modality}, expected Text. Rename it."
        )
    return dataclasses.replace(spec, observation={**spec.observation, key: Text()}, instructions=instructions)


def with_instruction(episode: Episode, key: str, text: str) -> Episode:
    """Return a copy of the episode in which the observation `key` has the value `text` at every step."""
    texts = np.full(len(episode), text, object)
    return dataclasses.replace(episode, observation={**episode.observation, key: texts})
