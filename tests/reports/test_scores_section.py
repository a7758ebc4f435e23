"""The section on scores against the results file: failures first, intervals, baselines, published agents, curves."""

import json
import re

import numpy as np
import pytest

from gato_jax.reports import write_report
from gato_jax.reports.configuration import differing_keys, read_configuration
from gato_jax.reports.reading import read_results
from gato_jax.reports.run import ReportError, TaskScore
from gato_jax.reports.scores.drawings import episode_histogram, threshold_chart
from gato_jax.reports.scores.records import ThresholdCurve
from gato_jax.reports.scores.section import order_tasks, scores_section
from tests.reports.test_report_page import Page


def words_of(text: str) -> str:
    return " ".join(" ".join(Page(text).words).split()).replace("/ ", "/")


def percent(value: float) -> str:
    return f"{value:.0%}"


def changed(run, change) -> None:
    results = json.loads((run / "results.json").read_text())
    change(results)
    (run / "results.json").write_text(json.dumps(results))


def test_the_page_states_the_aggregates_of_the_file_with_their_intervals(made_run):
    results = json.loads((made_run / "results.json").read_text())
    words = words_of(write_report(made_run).read_text())
    total = results["aggregate"]
    low, high = total["mean_ci"]
    assert f"{percent(total['mean'])} of the way from random play to the expert (95% interval {low:.0%} to" in words
    assert f"mean score {total['mean']:.2f} 95%: {low:.2f} to {high:.2f}" in words
    for suite, domain in [*results["domains"].items(), ("all tasks", total)]:
        cells = [
            text for key in ("mean", "iqm", "share_at_50")
            for text in (percent(domain[key]), " to ".join(map(percent, domain[f"{key}_ci"])))
        ]  # fmt: skip
        assert f"{suite} {domain['tasks']} {domain['episodes']} {' '.join(cells)} {domain['noise_floor']:.0%}" in words
    gato, jat = (results["domains"]["atari"]["published"][agent]["mean"] for agent in ("gato", "jat"))
    assert f"4% - {percent(gato)} {percent(jat)}" in words  # the baseline has not played there
    assert "over 1 task: mean 93%, median 93%, 0 at 100% or above" in words


def test_each_task_has_its_episodes_noise_floor_and_baseline(made_run):
    section = scores_section(read_results(made_run))
    assert section.has_neighbour and section.has_jat and not section.unscaled
    rows = {row.task.task: row for row in section.rows}
    neighbour = rows["meta_world/reach-v3"].neighbour
    assert neighbour is not None and neighbour.normalised == 0.4 and rows["atari/freeway"].neighbour is None
    text = write_report(made_run).read_text()
    assert text.count("20 episodes, noise floor 4%") == 5 and text.count("<title>20 episodes from ") == 5
    means = {row.name: row.neighbour for row in section.domains}
    assert means["all tasks"] == means["babyai"] == 0.4 and means["atari"] is None


def test_failures_and_the_lowest_scores_come_first(own_run):
    order = [task.task for task in order_tasks(read_results(own_run))]
    assert order[:3] == ["dm_control/cheetah/run", "modular_rl/walker_5_main", "meta_world/reach-v3"]
    words = words_of(write_report(own_run).read_text())
    assert "1 episode was not played to its end, and does not count" in words
    assert "dm_control/cheetah/run : seed 1000003, ZeroDivisionError: it is unstable" in words
    assert words.index("1 failed") < words.index("walker_5_main")
    changed(own_run, lambda results: results.pop("failed"))
    assert "not played to" not in write_report(own_run).read_text()


def test_a_task_without_a_scale_is_listed_apart_with_its_reason(own_run):
    reason = "the expert (1) is about equal to random play (1)"

    def change(results):
        results["tasks"]["meta_world/reach-v3"] |= {"normalised": None, "normalised_ci": None, "unscaled": reason}

    changed(own_run, change)
    words = words_of(write_report(own_run).read_text())
    averaged, _, apart = words.partition("Not averaged")
    assert reason in apart and "meta_world/reach-v3 success, " not in averaged
    assert [row.task.task for row in scores_section(read_results(own_run)).unscaled] == ["meta_world/reach-v3"]


def test_the_curve_is_drawn_at_its_shares():
    curve = ThresholdCurve(
        thresholds=(0.0, 0.5, 1.0), share=(1.0, 0.5, 0.0), low=(1.0, 0.25, 0.0), high=(1.0, 0.75, 0.5)
    )
    chart = threshold_chart(curve, label="curve", height=100)
    band, line = re.findall(r'd="([^"]+)"', chart)
    assert line == "M0.0 0.0L500.0 50.0L1000.0 100.0"
    assert band == "M0.0 0.0L500.0 75.0L1000.0 100.0L1000.0 50.0L500.0 25.0L0.0 0.0Z"


def scored(scores, **references):
    return TaskScore(task="a/b", episodes=len(scores), metric="return", agent=0.0, scores=tuple(scores), **references)


def test_the_histogram_counts_the_episodes_between_random_play_and_the_expert():
    drawn = episode_histogram(scored([1.0, 1.0, 3.0], random=0.0, expert=24.0))
    bars = re.findall(r"M([\d.]+) 24v-([\d.]+)", drawn)
    assert [(bar, float(tall)) for bar, tall in bars] == [("1.1", 22.0), ("3.1", pytest.approx(22 / 2**0.5, abs=0.06))]
    assert 'x1="0.00%"' in drawn and 'x1="100.00%"' in drawn and f'x1="{100 * 5 / 3 / 24:.2f}%"' in drawn
    assert "3 episodes from 1 to 3" in drawn
    assert episode_histogram(scored([])) == "" and "nan" not in episode_histogram(scored([2.0, np.nan]))


def test_malformed_baselines_and_configs_are_named(own_run):
    changed(own_run, lambda results: results.update(baselines={"nearest_neighbour": [1]}))
    with pytest.raises(ReportError, match="results.json: baselines: nearest_neighbour is not an object of objects"):
        read_results(own_run)
    (own_run / "config.json").write_text("[1]")
    with pytest.raises(ReportError, match=r"config.json is \[1\], expected an object"):
        read_configuration(own_run)


def test_the_configuration_is_flat_and_differences_are_told(own_run):
    found = read_configuration(own_run)
    assert found == {
        "seed": "0", "steps": "6000", "optimizer.peak_learning_rate": "0.001", "optimizer.clip_norm": "1.0",
        "optimizer.ema_decay": "null", "held_out_tasks": "[]",
    }  # fmt: skip
    other = {**found, "optimizer.clip_norm": "null", "mesh.data": "-1"}
    assert differing_keys([found, other, found]) == {
        "optimizer.clip_norm": ("1.0", "null", "1.0"), "mesh.data": ("-", "-1", "-"),
    }  # fmt: skip
    assert "optimizer.clip_norm 1.0" in words_of(write_report(own_run).read_text())
    (own_run / "config.json").unlink()
    assert read_configuration(own_run) == {} and 'id="configuration"' not in write_report(own_run).read_text()
