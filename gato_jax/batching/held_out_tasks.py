"""Tasks that a run must not learn from: their datasets are kept out of its mixture, in whatever spelling they come.

The paper holds four tasks out, to fine-tune on them afterwards (section 5.2).
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence

from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.batching.records import TokenRecords
from gato_jax.environments import spelled_task
from gato_jax.episodes import TaskSpec
from gato_jax.runtime.paths import split_name

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


def held_out_by_records(records: TokenRecords, tasks: Sequence[str]) -> str | None:
    """Return why the tokens of a dataset are kept out, by its task and where its episodes come from; None if not."""
    sources = (provenance.source for provenance in records.provenances)
    return held_out_by_spec(records.spec, tasks) or _first_reason(sources, tasks)


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
