"""What a conversion does with a review: each episode is given its instruction, or is left out."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping

from gato_jax.episodes import Episode
from gato_jax.sources.instructions.phrasings import instructed
from gato_jax.sources.instructions.review import Entry, Review
from gato_jax.sources.reader import EpisodeRejected, SourceError


@dataclasses.dataclass(frozen=True, kw_only=True)
class ReviewedInstructions:
    """Gives an episode its instruction; made by `apply`.

    Attributes:
      entries: as reviewed.
      entry_of: {episode number: which of the entries is its}.
    """

    task: str
    observation: str
    entries: tuple[Entry, ...]
    entry_of: Mapping[int, int]

    def __call__(self, number: int, episode: Episode) -> Episode:
        """The episode with its instruction. Raises EpisodeRejected where a person rejected it, or it is in no entry."""
        where = f"{self.task}: episode {number}"
        if number not in self.entry_of:
            raise EpisodeRejected(where, "no entry of the review has it; write the review again from these data")
        entry = self.entries[self.entry_of[number]]
        if entry.decision == "reject":
            comment = f": {entry.comment}" if entry.comment else ""
            raise EpisodeRejected(where, f"its instruction ({entry.group!r}) was rejected in review{comment}")
        return instructed(episode, self.observation, entry.instructions[number % len(entry.instructions)])


def apply(review: Review, *, allow_unreviewed: bool = False) -> Callable[[int, Episode], Episode]:
    """What a conversion calls with the number of an episode and the episode; it pickles.

    Raises:
      SourceError: entries are unreviewed, and `allow_unreviewed` is False.
    """
    if review.unreviewed and not allow_unreviewed:
        raise SourceError(
            f"{review.task}: {len(review.unreviewed)} of {len(review.entries)} entries of its review are unreviewed, "
            f"the first is {review.unreviewed[0].group!r}; accept or reject them in the file, or allow unreviewed ones"
        )
    entry_of = {number: place for place, entry in enumerate(review.entries) for number in entry.numbers}
    return ReviewedInstructions(
        task=review.task, observation=review.observation, entries=review.entries, entry_of=entry_of
    )
