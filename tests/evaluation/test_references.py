"""References are measured once, on the task that is played."""

import json

import pytest

from gato_jax.environments import EVALUATION_SEEDS, RECORDING_SEEDS
from gato_jax.evaluation import measure_references, references

TASK = "babyai/GoToRedBallNoDists-v0"


@pytest.fixture
def measured(monkeypatch):
    """The seeds of every measurement; the scores are made up."""
    calls = []

    def scores(value):
        return lambda task, seeds: calls.append(list(seeds)) or [value] * len(seeds)

    monkeypatch.setattr(references, "random_scores", scores(0.25))
    monkeypatch.setattr(references, "expert_scores", scores(0.875))
    monkeypatch.setattr(references, "constant_scores", lambda *args: {"0": [0.0, 0.5], "2": [0.5, 0.25], "6": [0.0]})
    return calls


def test_they_are_means_and_the_best_constant_action_is_named(measured, tmp_path):
    known = measure_references(TASK, episodes=4, directory=tmp_path)
    assert (known.random, known.expert, known.constant, known.constant_action) == (0.25, 0.875, 0.375, "2")
    assert (known.task, known.metric, known.episodes) == (TASK, "return", 4)


def test_they_are_kept_and_not_measured_again(measured, tmp_path):
    first = measure_references(TASK, episodes=4, directory=tmp_path)
    assert len(measured) == 2
    assert measure_references(TASK, episodes=4, directory=tmp_path) == first
    assert len(measured) == 2


def test_another_number_of_episodes_is_measured_anew(measured, tmp_path):
    measure_references(TASK, episodes=4, directory=tmp_path)
    assert measure_references(TASK, episodes=6, directory=tmp_path).episodes == 6
    assert [len(seeds) for seeds in measured] == [4, 4, 6, 6]


@pytest.mark.parametrize("left", ["", '{"task": "bab', "[]", json.dumps({"task": TASK})])
def test_half_a_file_of_a_killed_process_is_measured_again(measured, tmp_path, left):
    measure_references(TASK, episodes=2, directory=tmp_path)
    [file] = tmp_path.iterdir()
    file.write_text(left)
    assert measure_references(TASK, episodes=2, directory=tmp_path).expert == 0.875
    assert json.loads(file.read_text())["expert"] == 0.875


def test_their_seeds_are_neither_recorded_nor_evaluated(measured, tmp_path):
    measure_references(TASK, episodes=30, directory=tmp_path)
    for seeds in measured:
        assert not set(seeds) & set(RECORDING_SEEDS) and not set(seeds) & set(EVALUATION_SEEDS)
