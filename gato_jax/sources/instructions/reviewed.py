"""Application of a review in a conversion: an episode gets the reviewed instruction, or is rejected."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from gato_jax.episodes import Episode
from gato_jax.sources.instructions.phrasings import with_instruction
from gato_jax.sources.instructions.review import Entry, Review
from gato_jax.sources.reader import EpisodeRejected, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReviewedInstructions:
    """Picklable function that adds the reviewed instruction to an episode; see `apply_review`.

    Attributes:
      task: Name of the task.
      observation: Observation key of the instruction.
      entries: The entries of the review.
      entry_numbers: {episode number: index of its entry in `entries`}.
    """

    task: str
    observation: str
    entries: tuple[Entry, ...]
    entry_numbers: Mapping[int, int]

    def __call__(self, number: int, episode: Episode) -> Episode:
        """Return a copy of the episode with an instruction of its entry, by the number modulo the count of phrasings.

        Args:
          number: Number of the episode in the reviewed dataset.
          episode: The episode.

        Raises:
          EpisodeRejected: A person rejected the entry of the episode, or no entry contains it.
        """
        location = f"{self.task}: episode {number}"
        if number not in self.entry_numbers:
            raise EpisodeRejected(
                location, "no entry of the review contains it. Write the review again from these data."
            )
        entry = self.entries[self.entry_numbers[number]]
        if entry.decision == "reject":
            comment = f": {entry.comment}" if entry.comment else ""
            raise EpisodeRejected(location, f"its instruction ({entry.group!r}) was rejected in review{comment}")
        return with_instruction(episode, self.observation, entry.instructions[number % len(entry.instructions)])


def apply_review(review: Review, *, allow_unreviewed: bool = False) -> Callable[[int, Episode], Episode]:
    """Return a function that adds the reviewed instruction to an episode: (number, episode) -> episode.

    The returned function raises EpisodeRejected for the episodes of rejected entries, and for those that are in no
    entry.

    Args:
      review: The review of the dataset.
      allow_unreviewed: Whether proposals that nobody has decided on are used.

    Raises:
      SourceError: Entries are unreviewed, and `allow_unreviewed` is False.
    """
    if review.unreviewed and not allow_unreviewed:
        raise SourceError(
            f"cannot apply the review of {review.task}: {len(review.unreviewed)} of {len(review.entries)} entries are "
            f"unreviewed, the first is {review.unreviewed[0].group!r}. Accept or reject them in the file, or allow "
            "unreviewed ones."
        )
    entry_numbers = {number: index for index, entry in enumerate(review.entries) for number in entry.numbers}
    return ReviewedInstructions(
        task=review.task, observation=review.observation, entries=review.entries, entry_numbers=entry_numbers
    )
