"""Aggregates over tasks, against the definitions of rliable (arXiv 2108.13264), and the tables that show them."""

import json

import numpy as np
import pytest
from scipy import stats

from gato_jax.environments import suites, task_names
from gato_jax.evaluation import PlayedBy, aggregate, describe_task, merge_results, summary_lines
from gato_jax.evaluation.aggregates import THRESHOLDS, aggregate_human, interquartile_mean, unscaled_tasks
from gato_jax.evaluation.published import GATO_TABLE_8, JAT_RESULTS, published_on_domain, published_on_task

AGENT = PlayedBy(step=7, digest="0123456789abcdef", temperature=1.0)
NO_SCORE = {"normalised": None, "unscaled": "no expert"}


def entry(*scores: float, **fields):
    """The entry of a task on which random play scores 10 and the expert 30."""
    raw = [10 + 20 * score for score in scores]
    return {
        "episodes": len(scores), "scores": raw, "agent": float(np.mean(raw)), "random": 10.0, "expert": 30.0,
        "normalised": float(np.mean(scores)), "normalised_ci": [0.0, 1.0], "noise_floor": 0.3, "unscaled": None,
        "human_normalised": None, **fields,
    }  # fmt: skip


def made_scores(runs: int, tasks: int) -> np.ndarray:
    return np.random.default_rng(0).normal(0.5, 0.4, (runs, tasks))


@pytest.mark.parametrize("runs, tasks", [(1, 1), (3, 5), (10, 4), (50, 3)])
def test_mean_iqm_and_curve_are_those_of_rliable(runs, tasks):
    scores = made_scores(runs, tasks)
    found = aggregate({f"a/{task}": entry(*scores[:, task]) for task in range(tasks)})
    assert found["mean"] == pytest.approx(scores.mean(axis=0).mean())
    assert found["iqm"] == pytest.approx(stats.trim_mean(scores, proportiontocut=0.25, axis=None))
    profile = [(scores.mean(axis=0) >= threshold).mean() for threshold in THRESHOLDS]
    assert found["curve"]["share"] == pytest.approx(profile) and found["curve"]["thresholds"] == list(THRESHOLDS)
    assert found["share_at_50"] == pytest.approx(profile[THRESHOLDS.index(0.5)])
    assert (found["tasks"], found["episodes"]) == (tasks, runs * tasks)


def test_the_intervals_are_those_of_the_stratified_bootstrap():
    """Each task's runs are drawn among its own, so the spread between the tasks does not widen the interval."""
    runs, tasks = 40, 3
    scores = made_scores(runs, tasks) + np.array([0.0, 5.0, 10.0])
    found = aggregate({f"a/{task}": entry(*scores[:, task]) for task in range(tasks)})
    error = np.sqrt((scores.var(axis=0) / runs).sum()) / tasks
    low, high = found["mean_ci"]
    np.testing.assert_allclose([low, high], found["mean"] + 1.96 * error * np.array([-1, 1]), atol=0.2 * error)
    generator, draws = np.random.default_rng(1), []
    for _ in range(2000):  # rliable's StratifiedBootstrap: independent indices of runs in each task
        rows = generator.integers(runs, size=(runs, tasks))
        draws.append(stats.trim_mean(np.take_along_axis(scores, rows, axis=0), 0.25, axis=None))
    np.testing.assert_allclose(found["iqm_ci"], np.percentile(draws, [2.5, 97.5]), atol=0.03)
    assert aggregate({f"a/{task}": entry(*scores[:, task]) for task in range(tasks)}) == found


def test_tasks_have_equal_weights_whatever_the_numbers_of_their_episodes():
    found = aggregate({"a/x": entry(*[1.0] * 30), "a/y": entry(0.0, 0.2), "a/z": entry(0.5), "a/w": entry(0.7)})
    assert found["mean"] == pytest.approx((1.0 + 0.1 + 0.5 + 0.7) / 4)
    weights = np.array([1 / 3] * 3 + [1.0] * 3)
    assert interquartile_mean(np.array([[9.0, 9.0, 9.0, 0.0, 1.0, 2.0]]), weights) == pytest.approx([1.5])
    assert found["iqm"] == pytest.approx((0.5 + 0.7) / 2)


def test_an_entry_of_an_earlier_version_counts_with_its_mean():
    scores = [0.9, -1.0, 0.4, 4.0, 0.5]
    found = aggregate({str(i): {"normalised": score} for i, score in enumerate([*scores, None])})
    assert found["tasks"] == found["episodes"] == 5
    assert [found[key] for key in ("mean", "iqm", "share_at_50")] == pytest.approx([0.96, 0.6, 0.6])


def test_the_aggregate_of_tasks_without_a_normalised_score_is_null():
    found = aggregate({"a": NO_SCORE})
    assert found.pop("tasks") == found.pop("episodes") == 0
    assert set(found.values()) == {None}
    assert aggregate_human({"a": NO_SCORE}) is None and unscaled_tasks({"a": NO_SCORE}) == {"a": "no expert"}


def test_games_at_human_level_are_counted():
    found = aggregate_human({str(i): entry(0.1, human_normalised=score) for i, score in enumerate((0.5, 1.0, 2.5))})
    assert found == {"tasks": 3, "mean": pytest.approx(4 / 3), "median": 1.0, "at_human": 2, "at_twice_human": 1}


def test_the_file_of_results_has_this_schema():
    tasks = {"babyai/GoToLocal-v0": entry(0.5, 0.7), "atari/bowling": entry(0.1), "pusht/push": NO_SCORE}
    file = merge_results({"held_out": {}}, AGENT, tasks)
    assert json.loads(json.dumps(file)) == file
    assert set(file) == {"schema", "agent", "tasks", "aggregate", "domains", "human", "unscaled", "failed", "held_out"}
    assert file["schema"] == 2 and file["unscaled"] == {"pusht/push": "no expert"}
    names = {"mean", "iqm", "share_at_50"}
    aggregated = {"tasks", "episodes", "noise_floor", "curve", *names, *(f"{name}_ci" for name in names)}
    assert set(file["aggregate"]) == aggregated
    assert set(file["aggregate"]["curve"]) == {"thresholds", "share", "low", "high"}
    assert list(file["domains"]) == ["atari", "babyai", "pusht"]
    assert all(set(domain) == {*aggregated, "published"} for domain in file["domains"].values())
    assert file["domains"]["babyai"]["published"] == {
        "gato": {"mean": pytest.approx(0.932), "domain": "BabyAI", "evidence": "recalled"},
        "jat": {"mean": published_on_task("babyai/GoToLocal-v0")["jat"]["normalised"], "tasks": 1},
    }
    assert "jat" not in file["domains"]["atari"]["published"]  # its expert does not beat random play in bowling
    assert merge_results(file, AGENT, {}) == file


def test_the_table_shows_scores_with_episodes_noise_and_other_agents():
    tasks = {"babyai/GoToLocal-v0": entry(0.5, 0.7), "pusht/push": NO_SCORE, "a/x": entry(1.0, human_normalised=2.0)}
    lines = summary_lines(merge_results({}, AGENT, tasks))
    heading, made, babyai, everything = (line.split() for line in lines[:4])
    assert heading[0] == "domain" and made[:3] == ["a", "1", "1"] and made[-2:] == ["-", "-"]
    assert babyai[:4] == ["babyai", "1", "2", "60%"] and babyai[-2] == "93%" and babyai[-1].endswith("%")
    assert everything[:5] == ["all", "tasks", "2", "3", "80%"]
    assert "25% of expert: 100%, 50% of expert: 100%, 75% of expert: 50%" in lines[5]
    assert "mean 200%" in lines[6] and lines[7] == "not averaged, no expert: pusht/push"
    line = describe_task(entry(0.5, 0.7, published={"jat": {"score": 1.0, "normalised": 0.88}}))
    assert line == "22, 60% of expert [0%, 100%]; 2 episodes, noise floor 30%; JAT 88%"
    assert describe_task(NO_SCORE | {"agent": 3.0, "episodes": 4, "human_normalised": None}) == (
        "3 (no expert); 4 episodes"
    )


def test_published_results_are_of_tasks_and_suites_that_exist():
    jat, table_8 = json.loads(JAT_RESULTS.read_text()), json.loads(GATO_TABLE_8.read_text())
    known = set(task_names())
    assert len(jat) == 157 and {task for task in jat if not task.startswith("gymnasium/")} <= known
    assert len(table_8) == 12 and {row["suite"] for row in table_8} - {None} <= set(suites())
    means = {
        suite: published_on_domain(suite, [task for task in jat if task.startswith(f"{suite}/")])["jat"]["mean"]
        for suite in ("atari", "babyai", "meta_world", "gymnasium")
    }
    assert means == pytest.approx({"atari": 0.243, "babyai": 0.853, "meta_world": 0.6, "gymnasium": 0.735}, abs=0.006)
