"""The section on held-out data against the results file, and the report of a run that has no task to play."""

import json
import re

import numpy as np
import pytest

from gato_jax.reports import read_results, summary_table, write_report
from gato_jax.reports.errors import ReportError
from gato_jax.reports.held_out.drawings import compared_strip, error_bar, horizon_chart
from gato_jax.reports.held_out.records import ActionErrors, HorizonError, Prediction
from gato_jax.reports.held_out.section import error_details, films, read_predictions
from gato_jax.reports.summary import number
from tests.reports.test_scores_section import changed, words_of


@pytest.fixture
def robot_run(own_run):
    """A run on a robot alone."""

    def change(results):
        for key in ("tasks", "aggregate", "domains", "human", "failed", "baselines"):
            del results[key]
        results["held_out"] = {"robot": results["held_out"]["robot"]}

    changed(own_run, change)
    return own_run


def test_every_error_of_the_file_is_there_and_the_largest_comes_first(made_run):
    entry = json.loads((made_run / "results.json").read_text())["held_out"]["robot"]
    words = words_of(write_report(made_run).read_text())
    keys = ("value", "without_history", "repeat_baseline", "baseline", "median_baseline")
    for name, errors in [*entry["by_dimension"].items(), ("all dimensions", entry)]:
        assert f"{name} {' '.join(number(errors[key]) for key in keys)}" in words
    [details] = error_details(read_results(made_run).held_out)
    assert [name for name, _, _ in details.dimensions] == ["arm[1]", "arm[0]", "gripper"]
    assert "held-out episode 0 80 steps arm[0]" in words and "0.12 8 steps" not in words
    assert "8 steps of all episodes 0.12 0 8 steps of all episodes 0.08 1 16 steps of all episodes 0.05 2-3" in words


def test_a_run_on_a_robot_alone_has_a_report(robot_run):
    text = write_report(robot_run).read_text()
    words = words_of(text)
    assert "robot: mean absolute action error 0.061 on held-out recordings, 58% below that of the mean action" in words
    assert 'id="held"' in text and 'id="scores"' not in text and 'href="#scores"' not in text
    assert text.count("strip compared") == 3 and "Not in this run: rollouts" in words
    assert "robot" in summary_table(read_results(robot_run))
    (robot_run / "results.json").write_text(json.dumps({"tasks": {}, "held_out": {}}))
    with pytest.raises(ReportError, match="holds no scores under 'tasks' or 'held_out'. Run `gato evaluate"):
        write_report(robot_run)


def test_predictions_of_another_agent_or_dataset_are_not_shown(robot_run):
    measured = read_results(robot_run).held_out
    folder = robot_run / "predictions"
    assert [one.dataset for one in read_predictions(folder, measured)] == ["robot"]
    assert read_predictions(folder.parent, measured) == ()
    changed(robot_run, lambda results: results["held_out"]["robot"].update(step=5000))
    assert read_predictions(folder, read_results(robot_run).held_out) == ()
    assert "strip compared" not in write_report(robot_run).read_text()
    changed(robot_run, lambda results: results["held_out"]["robot"].update(step=6000))
    (folder / "robot.npz").write_bytes(b"none")
    with pytest.raises(ReportError, match="robot.npz holds no predictions .* Run `gato evaluate --held_out`"):
        write_report(robot_run)


def prediction(count: int, frames: int = 0) -> Prediction:
    recorded = np.zeros((5, count))
    return Prediction(
        dataset="a", frames=np.zeros((frames, 8, 8, 3), np.uint8), recorded=recorded,
        predicted=recorded + np.arange(count), names=tuple(f"arm[{n}]" for n in range(count)), low=np.full(count, -2.0),
        high=np.full(count, 2.0), episode=0, step=1,
    )  # fmt: skip


def test_a_film_without_frames_and_with_many_dimensions_shows_the_worst_of_them():
    [film] = films([prediction(20)])
    assert film.animation is None and film.left_out == 4 and len(film.strips) == 16
    assert "arm[4]" in film.strips[0] and "<b>2</b>" in film.strips[0]  # an error of 4 in units of half of the range
    [film] = films([prediction(2, frames=3)])
    assert film.animation is not None and film.left_out == 0
    with pytest.raises(ReportError, match=r"expected \(T, A\), \(T, A\), \(A,\) and \(A,\) with A = 1 names"):
        Prediction(**{**vars(prediction(2)), "names": ("arm",)})


def test_drawings_put_errors_at_their_places():
    bar = error_bar(ActionErrors(value=0.1, baseline=0.2, repeat_baseline=0.05), 0.4)
    assert 'width="25.00%"' in bar and 'x="50.00%"' in bar and 'x1="12.50%"' in bar
    assert "NaN" not in error_bar(ActionErrors(value=0.0), 0.0)
    ranges = [
        HorizonError(first_step=0, last_step=0, steps=2, value=0.3),
        HorizonError(first_step=1, last_step=3, steps=6, value=0.6),
    ]
    chart = horizon_chart(ranges, 0.3, height=116)
    assert re.findall(r'height="([\d.]+)"><title>', chart) == ["50.0", "100.0"] and 'y1="66.0"' in chart
    assert ">1-3<" in chart
    strip = compared_strip("arm", np.array([0.0, 1.0]), np.array([1.0, 3.0]), -1.0, 1.0, 0.5, height=20)
    assert re.findall(r'd="([^"]+)"', strip) == ["M250.0 14.0L750.0 10.0", "M250.0 10.0L750.0 2.0"]
