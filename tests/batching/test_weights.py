"""What shares of the rows datasets get, by hand, by size and by task."""

import numpy as np
import pytest

from gato_jax.batching import weigh

TASKS = ("control", "grid", "game")


def test_by_hand_takes_the_weights(records):
    assert weigh([records[task] for task in TASKS], [1.0, 2.0, 0.5], "by_hand") == [1.0, 2.0, 0.5]


def test_by_size_samples_all_tokens_alike(records):
    made = [records[task] for task in TASKS]
    weights = weigh(made, [1.0, 1.0, 2.0], "by_size")
    per_token = np.array(weights) / [records.index.step_tokens.sum() for records in made]
    np.testing.assert_allclose(per_token / per_token[0], [1, 1, 2])


@pytest.mark.parametrize("alone", [1, 2])
def test_by_task_gives_suites_the_same_and_divides_it_over_their_tasks(records, alone, monkeypatch):
    made = [records[task] for task in TASKS]
    suites = {id(one): f"suite {number < alone}" for number, one in enumerate(made)}
    monkeypatch.setattr(type(made[0]), "spec", property(lambda self: type("Spec", (), {"suite": suites[id(self)]})))
    weights = np.array(weigh(made, [1.0] * 3, "by_task"))
    assert weights[:alone].sum() == pytest.approx(weights[alone:].sum()) == pytest.approx(1)
