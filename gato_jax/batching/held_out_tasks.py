"""Tasks that a run must not learn from: their data are kept out of its mixture, in whatever spelling they come.

A dataset is kept out as a whole by its own names. In a dataset of several tasks, episodes are kept out one by one, by
the texts in their first observation, such as the instruction or the name of an environment, and by their provenance.

The paper holds four tasks out, to fine-tune on them afterwards (section 5.2).
"""

from __future__ import annotations

import collections
import pathlib
from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
from jaxtyping import Bool

from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.batching.records import TokenRecords
from gato_jax.environments import spelled_task
from gato_jax.episodes import TaskSpec, Text
from gato_jax.runtime.paths import split_name
from gato_jax.tokenization import decode_texts
from gato_jax.tokenization.codecs.image import ImageTokenizer
from gato_jax.tokenization.sequence import concatenate

_EPISODES = 256  # whose beginnings are read at once
_LISTED = 6  # spellings of held-out tasks that are named one by one
_PARTS = 3  # parts at the end of a path that name a dataset: NAME/CONFIG/VERSION


def held_out_by_name(name: str, dataset: DatasetConfig, tasks: Sequence[str]) -> str | None:
    """Return why a dataset that is not open yet is kept out, as a clause; None if its names do not tell.

    Args:
      name: Name of the dataset in the config.
      dataset: Where it is; the last parts of its location count, and what follows a `#`.
      tasks: Full names of the tasks to keep out.
    """
    location, part = split_name(dataset.location)
    ending = "/".join(pathlib.PurePath(location).parts[-_PARTS:])
    return _first_reason((name, ending, part), tasks)


def held_out_by_spec(spec: TaskSpec, tasks: Sequence[str]) -> str | None:
    """Return why a dataset of a task is kept out, by the task's name and instructions; None if it is not."""
    return _first_reason((spec.name, *(spec.instructions or ())), tasks)


def held_out_episodes(
    records: TokenRecords,
    tasks: Sequence[str],
    *,
    phrasings: Sequence[Sequence[str]] = (),
    image_tokenizer: ImageTokenizer | None = None,
) -> tuple[Bool[np.ndarray, " E"], dict[str, int]]:
    """Return which of the E episodes of a dataset are of held-out tasks, and {reason: number of episodes} of these.

    An episode is held out by the source and the equipment in its provenance, or by a text in its first observation.

    Args:
      records: The tokens of the dataset.
      tasks: Full names of the tasks to keep out.
      phrasings: Groups of texts with the same meaning. Texts in observations of the records may have been exchanged for
        others of their group, so that an episode is held out by any text of the group.
      image_tokenizer: The tokenizer that the records were made with, if they hold codes of images.
    """
    index = records.index
    reasons = [_first_reason((origin.source, origin.equipment), tasks) for origin in records.provenances]
    found = [reasons[number] for number in index.episode_provenance]
    if any(isinstance(modality, Text) for modality in records.spec.observation.values()):
        groups = {text: group for group in phrasings for text in group}
        by_text: dict[str, str | None] = {}
        for number, texts in enumerate(_first_texts(records, image_tokenizer)):
            for text in texts:
                if text not in by_text:
                    by_text[text] = _first_reason(dict.fromkeys((text, *groups.get(text, ()))), tasks)
                found[number] = found[number] or by_text[text]
    counts = collections.Counter(reason for reason in found if reason is not None)
    return np.array([reason is not None for reason in found]), dict(counts)


def _first_texts(records: TokenRecords, image_tokenizer: ImageTokenizer | None) -> Iterator[tuple[str, ...]]:
    """Yield the texts in the first observation of each episode."""
    layout = records.contract.layout(records.spec.name, image_tokenizer)
    firsts = records.index.first_step.tolist()
    for start in range(0, len(firsts), _EPISODES):
        steps = records.read([(first, first + 1) for first in firsts[start : start + _EPISODES]])
        # Timesteps of many episodes are decoded as one sequence, because each call costs more than a text.
        yield from zip(*decode_texts(layout, concatenate(steps)).values(), strict=True)


def describe_kept_out_episodes(name: str, reasons: Mapping[str, int], episodes: int) -> str:
    """Return the sentence of the log about the episodes of one dataset that are kept out.

    Args:
      name: Name of the dataset.
      reasons: {reason: number of episodes}, at least one.
      episodes: Number of episodes of the dataset.
    """
    largest = sorted(reasons.items(), key=lambda item: -item[1])
    listed = ", ".join(f"{count} ({reason})" for reason, count in largest[:_LISTED])
    more = f", and {len(largest) - _LISTED} more spellings" if len(largest) > _LISTED else ""
    return (
        f"kept out {sum(reasons.values())} of {episodes} episodes of {name} because of held-out tasks: {listed}{more}"
    )


def describe_kept_out(kept_out: Mapping[str, str], datasets: Mapping[str, DatasetConfig]) -> str:
    """Return the sentence of the log about datasets that are kept out.

    Args:
      kept_out: {name of a dataset: reason}, at least one.
      datasets: {name: settings} of all datasets.
    """
    total = sum(dataset.weight for dataset in datasets.values())
    share = sum(datasets[name].weight for name in kept_out) / total
    listed = ", ".join(f"{name} ({reason})" for name, reason in kept_out.items())
    return (
        f"kept out {len(kept_out)} of {len(datasets)} datasets because of held-out tasks: {listed}; their {share:.2%} "
        "of the weight goes to the others, in proportion to theirs"
    )


def _first_reason(texts: Iterable[str], tasks: Sequence[str]) -> str | None:
    for text in texts:
        if (task := spelled_task(text, tasks)) is not None:
            return f"{text!r:.80} spells {task}"
    return None
