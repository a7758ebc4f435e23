"""A first review of a dataset: its own instructions where it has any, else what metadata or its name ask for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.episodes import Text
from gato_jax.episodes.episode import Episode
from gato_jax.sources.instructions.phrasings import INSTRUCTION
from gato_jax.sources.instructions.review import Entry, Review, ranges
from gato_jax.sources.instructions.task_names import instructions_for
from gato_jax.sources.instructions.templates import Template, from_metadata
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError


def instruction_key(reader: EpisodeReader) -> str:
    """The observation that holds the instruction, or is to hold it.

    It is `instruction`, or else the only text that is observed. Raises SourceError where there are several.
    """
    texts = [key for key, modality in reader.spec.observation.items() if isinstance(modality, Text)]
    if INSTRUCTION in texts or not texts:
        return INSTRUCTION
    if len(texts) > 1:
        raise SourceError(f"{reader.spec.name}: observes the texts {', '.join(texts)}; rename one to {INSTRUCTION!r}")
    return texts[0]


def instruction_of(episode: Episode, key: str, where: str) -> str:
    """The instruction of an episode, empty where it has none. Raises EpisodeRejected where it changes on the way."""
    texts = episode.observation.get(key, [""])
    if other := [step for step, text in enumerate(texts) if text != texts[0]]:
        raise EpisodeRejected(where, f"{key!r} changes at step {other[0]}; cut it there, one instruction an episode")
    return texts[0]


def propose(
    reader: EpisodeReader,
    texts: Mapping[int, str],
    *,
    metadata: Mapping[int, Mapping[str, Any]] | None = None,
    templates: Sequence[Template] = (),
    count: int = 4,
) -> Review:
    """The review before anyone has looked at it: one entry for the episodes that are about the same.

    Args:
      reader: the episodes.
      texts: {episode: its own instruction}, empty where it has none; of the episodes that are to be in the review.
      metadata: {episode: its metadata}, of which instructions are made.
      templates: those they are made by; without, the name of the task says what to do and metadata with what.
      count: phrasings at most, where the name of the task says what to do.

    Raises:
      SourceError: a template has a slot that nothing fills, or metadata are no words.
    """
    episodes: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, text in texts.items():
        about = {} if metadata is None else metadata.get(number, {})
        if text.strip():
            phrasings = (text,)
        elif templates:
            phrasings = tuple(from_metadata(about, templates))
        else:
            phrasings = tuple(instructions_for(reader.spec.name, about, count=count))
        episodes[phrasings].append(number)
    entries = [
        Entry(group=phrasings[0], episodes=ranges(numbers), instructions=phrasings, proposed=phrasings)
        for phrasings, numbers in episodes.items()
    ]
    return Review(
        task=reader.spec.name,
        split=reader.split,
        data=reader.fingerprint,
        entries=tuple(entries),
        observation=instruction_key(reader),
    )
