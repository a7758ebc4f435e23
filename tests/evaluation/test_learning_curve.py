"""The learning curve against a calculation by hand; no evaluation is lost or played twice, whenever a run is killed."""

import json

import numpy as np
import pytest

from gato_jax.environments import EVALUATION_SEEDS
from gato_jax.evaluation import learning_curve
from gato_jax.evaluation.learning_curve import Evaluation, LearningCurve, best, smooth
from gato_jax.policy import AgentActor, Temperature
from gato_jax.rollouts import play
from tests.evaluation.made_environment import TASK, drifting_agent, register_drift


def evaluations(*means):
    """Two rollouts each, one above and one below the mean."""
    return [Evaluation(step=100 * n, scores=(mean - 1.0, mean + 1.0)) for n, mean in enumerate(means, start=1)]


def test_the_moving_average_and_its_maximum_by_hand():
    smoothed = smooth(evaluations(0, 10, 20, 60, 30, 0, 55), 5)
    assert [(one.step, one.mean, len(one.scores)) for one in smoothed] == [(500, 24, 10), (600, 24, 10), (700, 33, 10)]
    highest = best(smoothed)
    assert highest is not None and (highest.step, highest.mean) == (700, 33)


def test_of_equal_maxima_the_earliest_is_the_best():
    highest = best(smooth(evaluations(1, 5, 3, 5, 3), 2))
    assert highest is not None and highest.step == 300


def test_before_there_are_enough_evaluations_there_is_no_score():
    assert smooth(evaluations(1, 2, 3, 4), 5) == [] and best([]) is None


@pytest.fixture
def played(monkeypatch):
    """The seeds that were played, evaluation by evaluation; each episode scores the last two digits of its seed."""
    calls = []

    def play(make_actor, episodes, environments):
        assert {task for task, _ in episodes} == {"made/control"} and environments == 3
        (agent,), keywords = make_actor.args, make_actor.keywords
        assert keywords == {"sampling": Temperature(temperature=0.5)}
        calls.append((agent.step, [seed for _, seed in episodes]))
        return [type("Episode", (), {"score": float(seed % 100)}) for _, seed in episodes]

    monkeypatch.setattr(learning_curve, "play", play)
    return calls


@pytest.fixture
def curve(tmp_path):
    return LearningCurve(
        path=tmp_path / "finetune.jsonl", task=TASK, every=100, rollouts=2, environments=3, temperature=0.5
    )


def reach(curve, *steps):
    for step in steps:
        curve.reach(step, lambda step=step: drifting_agent(step=step))


def test_each_evaluation_is_of_its_own_agent_and_seeds(curve, played):
    reach(curve, 100, 200, 300)
    assert [step for step, _ in played] == [100, 200, 300]
    seeds = [seed for _, seeds in played for seed in seeds]
    assert len(set(seeds)) == 6 and set(seeds) <= set(EVALUATION_SEEDS)
    lines = [json.loads(line) for line in curve.path.read_text().splitlines()]
    assert lines[1] == {"step": 200, "mean": 2.5, "episodes": 2, "scores": [2.0, 3.0]}


def test_what_is_evaluated_already_is_not_again(curve, played):
    reach(curve, 100, 200, 200, 300)  # a run that was killed after the line of step 200
    assert [evaluation.step for evaluation in curve.evaluations()] == [100, 200, 300] and len(played) == 3


def test_a_stop_between_two_evaluations_is_not_one(curve, played):
    reach(curve, 100, 150, 200)
    assert [evaluation.step for evaluation in curve.evaluations()] == [100, 200]


def test_a_kill_during_an_evaluation_leaves_what_was_there(curve, played, monkeypatch):
    reach(curve, 100)
    before = curve.path.read_bytes()
    monkeypatch.setattr(learning_curve, "play", lambda *args, **options: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        reach(curve, 200)
    assert curve.path.read_bytes() == before


def test_what_lies_beyond_the_checkpoint_is_played_anew(curve, played):
    reach(curve, 100, 200, 300)
    reach(curve, 150)  # whose run goes on from an older checkpoint
    assert [evaluation.step for evaluation in curve.evaluations()] == [100]
    curve.forget()
    assert curve.evaluations() == []


def test_without_rollouts_nothing_is_played(tmp_path):
    silent = LearningCurve(path=tmp_path / "c", task=TASK, every=1, rollouts=0, environments=1, temperature=1.0)
    silent.reach(1, lambda: pytest.fail("restored"))
    assert silent.evaluations() == []


def test_the_scores_are_those_of_the_rollouts(tmp_path, monkeypatch):
    register_drift(monkeypatch)
    agent = drifting_agent()
    curve = LearningCurve(path=tmp_path / "c", task=TASK, every=5, rollouts=3, environments=2, temperature=1.0)
    curve.reach(10, lambda: agent)
    [evaluation] = curve.evaluations()
    expected = [one.score for one in play(lambda: AgentActor(agent), [(TASK, seed) for seed in EVALUATION_SEEDS[3:6]])]
    assert evaluation.scores == tuple(expected) and evaluation.mean == pytest.approx(np.mean(expected))
