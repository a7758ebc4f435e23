"""The page that compares runs: what differs of their configs, differences with intervals, curves over one another."""

import json
import pathlib
import shutil

import numpy as np
import pytest

from gato_jax.reports import ReportError, write_comparison
from gato_jax.reports.comparison.differences import Difference, mean_difference, task_difference
from gato_jax.reports.comparison.page import comparison_headline
from gato_jax.reports.comparison.runs import distinct_names, read_compared_runs
from gato_jax.reports.reading import read_results
from gato_jax.reports.run import TaskScore
from tests.integration.conftest import gato
from tests.reports.test_report_page import Page
from tests.reports.test_scores_section import changed, words_of

TASK = "modular_rl/walker_5_main"


@pytest.fixture
def rope(own_run, tmp_path) -> pathlib.Path:
    """A run of another config that plays one task much better, lacks one and was trained for half as long."""
    folder = tmp_path / "rope"
    shutil.copytree(own_run, folder)

    def change(results):
        entry = results["tasks"][TASK]
        entry["scores"] = [score + 700.0 for score in entry["scores"]]
        entry["agent"] += 700.0
        entry["normalised"] += 700.0 / 1449.0
        del results["tasks"]["atari/freeway"]

    changed(folder, change)
    config = json.loads((folder / "config.json").read_text()) | {"steps": 3000, "mesh": {"data": 2}}
    (folder / "config.json").write_text(json.dumps(config))
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    (folder / "metrics.jsonl").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    return folder


def test_the_page_tells_what_differs(made_run, rope):
    page = write_comparison([made_run, rope])
    text, words = page.read_text(), words_of(page.read_text())
    assert page == made_run / "comparison.html" and "<script" not in text
    assert all(address.startswith(("data:", "#")) for address in Page(text).addresses)
    page.unlink()
    told = words[words.index("The 2 keys in which") : words.index("Aggregates are over")]
    assert "steps 6000 3000 mesh.data - 2" in told and "optimizer" not in told
    assert f"2 runs: rope is {700 / 1449 / 4:.2f} above {made_run.name} (95%: +0." in words
    own, other = (read_results(folder).aggregate.mean for folder in (made_run, rope))
    assert own is not None and other is not None and f"mean {own:.2f}" in words
    tasks = words[words.index("The largest difference between two runs comes first.") :]
    assert tasks.index(TASK) < tasks.index("babyai/GoToRedBallGrey-v0")
    assert "atari/freeway return 0.86 0.81 to 0.91 -" in tasks
    assert text.count("Training loss: captions") == 2 and 'aria-label="Training loss over steps"' in text
    assert text.count('class="difference better"') >= 2


def test_folders_that_cannot_be_compared_are_named(made_run, tmp_path):
    with pytest.raises(ReportError, match="expected two or more different folders"):
        write_comparison([made_run, made_run])
    with pytest.raises(ReportError, match="nowhere is not a folder"):
        write_comparison([made_run, tmp_path / "nowhere"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(ReportError, match=r"metrics.jsonl is missing. Run `gato train`"):
        write_comparison([made_run, tmp_path / "empty"])


def test_a_run_that_was_not_evaluated_yet_is_compared_by_its_curves(made_run, rope, tmp_path):
    (rope / "results.json").unlink()
    assert (
        comparison_headline(read_compared_runs([made_run, rope])) == "2 runs, and no tasks that they can be compared on"
    )
    assert "mean 0.68 0.62 to 0.72 -" in words_of(
        write_comparison([made_run, rope], tmp_path / "page.html").read_text()
    )


def test_the_command_writes_the_page_where_it_is_asked_to(made_run, rope, tmp_path):
    output = tmp_path / "pages" / "ablation.html"
    said = gato("report", f"--workdir={made_run}", f"--compare={rope}", f"--output={output}")
    assert said.status == 0 and said.out == f"{output}\n" and "rope" in output.read_text(), said.err
    assert "--compare is" in gato("report", f"--workdir={made_run}", f"--compare={tmp_path / 'no'}").complaint()
    said = gato("report", f"--workdir={made_run}", f"--compare={made_run}").complaint()
    assert "expected two or more different folders" in said


def test_names_are_the_shortest_that_differ():
    paths = [pathlib.Path(path) for path in ("/a/x/run", "/a/y/run", "/a/y/other")]
    assert distinct_names(paths) == ["x/run", "y/run", "y/other"]
    assert distinct_names(paths[1:]) == ["run", "other"]


def task(scores, random: float | None = 0.0, expert: float | None = 10.0, name="a/b") -> TaskScore:
    mean = float(np.mean(scores))
    scaled = None if random is None or expert is None else (mean - random) / (expert - random)
    return TaskScore(
        task=name, episodes=len(scores), metric="return", agent=mean, scores=tuple(scores), random=random,
        expert=expert, normalised=scaled,
    )  # fmt: skip


def test_a_difference_has_the_interval_of_independent_episodes():
    rng = np.random.default_rng(1)
    first, other = task(rng.normal(5, 2, 200).tolist()), task(rng.normal(6, 1, 100).tolist())
    found = task_difference(first, other)
    error = np.sqrt(np.var(first.scores) / 200 + np.var(other.scores) / 100) / 10
    assert found.value == pytest.approx((other.agent - first.agent) / 10)
    assert found.low == pytest.approx(found.value - 1.96 * error, abs=0.005)
    assert found.high == pytest.approx(found.value + 1.96 * error, abs=0.005)
    assert found.sign == 1 and task_difference(other, first).sign == -1
    assert Difference(0.1, -0.1, 0.3).sign == Difference(0.5).sign == 0


def test_a_mean_difference_is_over_the_common_tasks_with_equal_weights():
    first = [
        task([1.0], name="a/b"),
        task([2.0] * 9, name="a/c"),
        task([9.0], name="a/d"),
        task([1.0], None, None, "a/e"),
    ]
    other = [task([3.0], name="a/b"), task([3.0] * 4, name="a/c"), task([5.0], None, None, "a/e")]
    found = mean_difference(first, other)
    assert found is not None and found.value == found.low == found.high == pytest.approx((0.2 + 0.1) / 2)
    assert task_difference(first[3], other[2]) == Difference(4.0)
    assert mean_difference(first[3:], other) is None
