"""Proposals of instructions for a dataset: recorded ones, or ones generated from metadata and the name of the task."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

from gato_jax.episodes import Text
from gato_jax.episodes.episode import Episode
from gato_jax.sources.instructions.phrasings import INSTRUCTION_KEY
from gato_jax.sources.instructions.review import Entry, Review, ranges
from gato_jax.sources.instructions.task_names import generate_instructions
from gato_jax.sources.instructions.templates import Template, fill_templates
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError


def instruction_key(reader: EpisodeReader) -> str:
    """Return the observation key of the instruction.

    It is `instruction` if that is observed as text or if the task observes no text; otherwise the key of its only text.

    Raises:
      SourceError: The task observes several texts and none of them is named `instruction`.
    """
    texts = [key for key, modality in reader.spec.observation.items() if isinstance(modality, Text)]
    if INSTRUCTION_KEY in texts or not texts:
        return INSTRUCTION_KEY
    if len(texts) > 1:
        raise SourceError(
            f"cannot find the instruction of {reader.spec.name}: it observes the texts {', '.join(texts)}, expected "
            f"one. Rename one to {INSTRUCTION_KEY!r}."
        )
    return texts[0]


def read_instruction(episode: Episode, key: str, location: str) -> str:
    """Return the instruction of an episode as it was recorded, or "" if it does not observe `key`.

    Args:
      episode: The episode.
      key: Observation key of the instruction.
      location: Name and number of the episode, for the message.

    Raises:
      EpisodeRejected: The instruction changes within the episode.
    """
    texts = episode.observation.get(key, [""])
    if changed := [step for step, text in enumerate(texts) if text != texts[0]]:
        raise EpisodeRejected(
            location, f"its {key!r} changes at step {changed[0]}, expected one instruction. Cut the episode there."
        )
    return texts[0]


def propose_review(
    reader: EpisodeReader,
    texts: Mapping[int, str],
    *,
    metadata: Mapping[int, Mapping[str, Any]] | None = None,
    templates: Sequence[Template] = (),
    count: int = 4,
) -> Review:
    """Build a review in which no entry is decided; episodes with the same phrasings share an entry.

    The phrasing of an episode is its recorded instruction. If that is blank, `templates` are filled with its metadata;
    without templates, instructions are generated from the name of the task and the metadata. An entry is named by its
    first phrasing.

    Args:
      reader: The episodes.
      texts: {episode number: recorded instruction, or ""}. Other episodes are left out of the review.
      metadata: {episode number: metadata}.
      templates: Templates of the instructions.
      count: Largest number of phrasings that are generated from the name of the task.

    Raises:
      SourceError: A template has a slot that the metadata do not fill, or a value of the metadata is not text.
    """
    episodes: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
    for number, text in texts.items():
        own_metadata = {} if metadata is None else metadata.get(number, {})
        if text.strip():
            phrasings = (text,)
        elif templates:
            phrasings = tuple(fill_templates(own_metadata, templates))
        else:
            phrasings = tuple(generate_instructions(reader.spec.name, own_metadata, count=count))
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
