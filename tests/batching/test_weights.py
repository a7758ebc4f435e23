"""Shares of the rows that datasets get, by hand, by size and by task."""

import dataclasses

import numpy as np
import pytest

from gato_jax.batching import DatasetConfig, weigh

TASKS = ("control", "grid", "game")


def datasets_of(weights):
    return {name: DatasetConfig(source="tokens:made", weight=weight) for name, weight in weights.items()}


def test_by_hand_takes_the_weights(records):
    weights = {"control": 1.0, "grid": 2.0, "game": 0.5}
    assert weigh(datasets_of(weights), records, "by_hand") == weights


def test_by_size_samples_all_tokens_alike(records):
    weights = weigh(datasets_of({"control": 1.0, "grid": 1.0, "game": 2.0}), records, "by_size")
    per_token = np.array([weights[task] / records[task].index.step_tokens.sum() for task in TASKS])
    np.testing.assert_allclose(per_token / per_token[0], [1, 1, 2])


@pytest.mark.parametrize("alone", [1, 2])
def test_by_task_gives_suites_the_same_and_divides_it_over_their_tasks(records, alone):
    made = {name: of_suite(records[name], f"suite {number < alone}", name) for number, name in enumerate(TASKS)}
    weights = np.array(list(weigh(datasets_of(dict.fromkeys(TASKS, 1.0)), made, "by_task").values()))
    assert weights[:alone].sum() == pytest.approx(weights[alone:].sum()) == pytest.approx(1)


def test_by_task_divides_the_share_of_a_task_over_its_datasets(records):
    made = {"ours": records["control"], "theirs": records["control"], "game": records["game"]}
    assert weigh(datasets_of(dict.fromkeys(made, 1.0)), made, "by_task") == {"ours": 0.25, "theirs": 0.25, "game": 0.5}


def of_suite(records, suite, task):
    """The records under another name of their task."""
    (spec,) = records.contract.tasks.values()
    spec = dataclasses.replace(spec, suite=suite, task=task)
    return dataclasses.replace(records, contract=dataclasses.replace(records.contract, tasks={spec.name: spec}))
