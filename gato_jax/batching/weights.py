"""Shares of the rows that the datasets of a mixture get."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from gato_jax.batching.dataset_config import DatasetConfig, Weighting
from gato_jax.batching.records import TokenRecords


def weigh(
    datasets: Mapping[str, DatasetConfig], records: Mapping[str, TokenRecords], weighting: Weighting
) -> dict[str, float]:
    """Return {name: weight}, positive numbers relative to each other, which need not sum to 1.

    Args:
      datasets: {name: settings}, with the weights that the config gives.
      records: {name: tokens} of the same datasets.
      weighting: `by_hand` takes the weights of the config. `by_size` multiplies each by the number of tokens of its
        dataset, so that equal weights sample all tokens alike. `by_task` gives every suite the same, divides that
        equally over the tasks of the suite and over the datasets of each task, and multiplies by the weights. The suite
        of a task is what its name has before the slash.
    """
    if weighting == "by_hand":
        return {name: dataset.weight for name, dataset in datasets.items()}
    if weighting == "by_size":
        return {name: dataset.weight * records[name].tokens for name, dataset in datasets.items()}
    datasets_of_task = Counter(one.spec.name for one in records.values())
    tasks_of_suite = Counter(task.split("/")[0] for task in datasets_of_task)
    return {
        name: dataset.weight / tasks_of_suite[records[name].spec.suite] / datasets_of_task[records[name].spec.name]
        for name, dataset in datasets.items()
    }
