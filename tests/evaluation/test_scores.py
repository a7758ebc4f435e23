"""The numbers of a results table, against hand computations."""

import dataclasses
import json

import numpy as np
import pytest

from gato_jax.episodes import Episode
from gato_jax.evaluation import Score, aggregate, normalise, task_result
from gato_jax.evaluation.scores import interval, noise_floor
from gato_jax.reports import read_results, summary_table
from tests.evaluation.made_references import made_references
from tests.tokenization.made_tasks import CONTROL, random_episode


def mean(value: float) -> Score:
    return Score(mean=value, std=0.0, episodes=20)


def rollout(score: float, success: bool | None = None, episode_return: float = 0.0) -> Episode:
    episode = random_episode(CONTROL, seed=0, steps=1)
    reward = np.array([episode_return], np.float32)
    return dataclasses.replace(episode, score=score, success=success, reward=reward)


@pytest.mark.parametrize("agent, fraction", [(10.0, 0.0), (50.0, 1.0), (30.0, 0.5), (0.0, -0.25), (90.0, 2.0)])
def test_normalised_is_the_fraction_of_the_way_from_random_to_the_expert(agent, fraction):
    assert normalise(agent, made_references()) == fraction


@pytest.mark.parametrize("expert", [10.0, 9.0])
def test_there_is_no_scale_where_the_expert_does_not_beat_random(expert):
    assert normalise(20.0, made_references(expert=mean(expert))) is None
    assert normalise(20.0, made_references(expert=None)) is None
    assert normalise(20.0, None) is None


def test_a_task_is_scored_in_its_own_metric():
    rollouts = [rollout(1.0, True, 0.9), rollout(0.0, False, 0.1), rollout(1.0, True, 0.8), rollout(1.0, True, 0.6)]
    references = made_references(random=mean(0.25), constant=mean(0.5), expert=mean(1.0))
    result = task_result(rollouts, "success", references)
    low, high = result.pop("agent_ci")
    assert result == {
        "episodes": 4, "seeds": [one.seed for one in rollouts], "scores": [1.0, 0.0, 1.0, 1.0],
        "metric": "success", "agent": 0.75, "random": 0.25, "constant": 0.5, "expert": 1.0, "human": None,
        "reference_episodes": {"random": 20, "constant": 20, "expert": 20}, "unscaled": None, "human_normalised": None,
        "normalised": pytest.approx(2 / 3), "return_mean": pytest.approx(0.6), "success_rate": 0.75,
        "normalised_ci": pytest.approx([(low - 0.25) / 0.75, (high - 0.25) / 0.75]), "noise_floor": 0.0,
    }  # fmt: skip
    assert 0 <= low <= 0.75 <= high <= 1


def test_a_task_without_success_has_no_success_rate():
    assert task_result([rollout(3.0), rollout(5.0)], "return", made_references())["success_rate"] is None


@pytest.mark.parametrize("references, known", [(made_references(expert=None), (10.0, 12.0)), (None, (None, None))])
def test_a_task_without_an_expert_has_its_raw_score(references, known):
    result = task_result([rollout(3.0), rollout(5.0)], "return", references)
    assert (result["agent"], result["random"], result["constant"]) == (4.0, *known)
    assert result["expert"] is None and result["normalised"] is None


def test_the_interval_of_equal_scores_is_a_point():
    assert interval(np.full(7, 2.5)) == [2.5, 2.5]


def test_the_interval_is_that_of_the_mean():
    scores = np.random.default_rng(0).normal(3.0, 2.0, 400)
    low, high = interval(scores)
    half = 1.96 * scores.std() / 20
    np.testing.assert_allclose([low, high], [scores.mean() - half, scores.mean() + half], atol=0.1 * half)
    assert interval(scores) == [low, high]  # the same each time


def test_more_episodes_make_a_narrower_interval():
    few, many = (np.tile([0.0, 1.0], count) for count in (10, 90))
    width = [high - low for low, high in map(interval, (few, many))]
    np.testing.assert_allclose(width[0] / width[1], 3, rtol=0.1)


@pytest.mark.parametrize(
    "references, reason",
    [
        (None, "no reference scores"),
        (made_references(expert=None), "no expert"),
        (made_references(expert=Score(mean=10.4, std=1.0, episodes=20)), "the expert (10.4) is about equal to random"),
    ],
)
def test_a_task_that_cannot_be_normalised_says_why(references, reason):
    result = task_result([rollout(3.0)], "return", references)
    assert result["unscaled"].startswith(reason)
    assert [result[key] for key in ("normalised", "normalised_ci", "noise_floor")] == [None] * 3


def test_the_noise_floor_is_what_random_play_reaches_in_one_of_forty_evaluations():
    generator = np.random.default_rng(0)
    references = made_references(random=Score(mean=10.0, std=8.0, episodes=20))
    agents = generator.normal(10.0, 8.0, (20_000, 50)).mean(axis=1)
    anchors = generator.normal(10.0, 8.0, (20_000, 20)).mean(axis=1)
    reached = (agents - anchors) / 40 > noise_floor(references, episodes=50)
    assert reached.mean() == pytest.approx(1 / 40, abs=0.003)


def test_a_game_with_human_scores_is_put_on_their_scale_too():
    references = made_references(human=100.0, published_random=20.0)
    assert task_result([rollout(60.0)], "return", references)["human_normalised"] == pytest.approx(0.5)
    assert task_result([rollout(60.0)], "return", made_references())["human_normalised"] is None


def test_a_report_reads_results_without_normalised_scores(tmp_path):
    result = task_result([rollout(3.0), rollout(5.0)], "return", None)
    results = {"tasks": {"made/control": result}, "aggregate": aggregate({"made/control": result})}
    (tmp_path / "results.json").write_text(json.dumps(results))
    read = read_results(tmp_path)
    assert read.tasks[0].agent == 4.0 and read.tasks[0].normalised is None
    assert "mean" not in summary_table(read)
