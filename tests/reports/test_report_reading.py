"""A run's folder that is incomplete or broken is refused with the file's name and a remedy."""

import json

import numpy as np
import pytest

from gato_jax.reports import ReportError, read_results, write_report
from gato_jax.reports.reading import read_run


def test_a_run_is_read_whole(made_run):
    run = read_run(made_run)
    assert len(run.results.tasks) == len(run.rollouts) == 5
    steps, losses = run.metrics["loss"]
    assert steps[0] == 20 and steps[-1] == 6000 and losses[-1] < losses[0]
    assert {rollout.discrete for rollout in run.rollouts} == {True, False}


@pytest.mark.parametrize(
    "name, remedy",
    [("results.json", "gato evaluate"), ("metrics.jsonl", "gato train"), ("data.json", "gato train")],
)
def test_a_missing_file_is_named_with_its_remedy(own_run, name, remedy):
    (own_run / name).unlink()
    with pytest.raises(ReportError, match=f"{name} is missing.*{remedy}"):
        write_report(own_run)
    assert not (own_run / "report.html").exists()


def test_a_folder_that_is_none(tmp_path):
    with pytest.raises(ReportError, match="nowhere is not a folder"):
        write_report(tmp_path / "nowhere")


@pytest.mark.parametrize("name", ["results.json", "metrics.jsonl", "data.json", "captions.json", "dialogue.json"])
@pytest.mark.parametrize("content", ['{"step": 1, "loss":', "[1, 2]", "\0", '"text"'])
def test_a_corrupt_file_is_named(own_run, name, content):
    (own_run / name).write_text(content)
    with pytest.raises(ReportError, match=name):
        write_report(own_run)


@pytest.mark.parametrize(
    "key, value", [("agent", None), ("agent", "high"), ("agent_ci", [0.1]), ("metric", 3), ("episodes", "twenty")]
)
def test_a_score_of_the_wrong_kind_is_named(own_run, key, value):
    results = json.loads((own_run / "results.json").read_text())
    results["tasks"]["meta_world/reach-v3"][key] = value
    (own_run / "results.json").write_text(json.dumps(results))
    with pytest.raises(ReportError, match=f"meta_world/reach-v3.*{key}.*gato evaluate"):
        read_results(own_run)


@pytest.mark.parametrize(
    "key, value",
    [
        ("aggregate", [1]),
        ("aggregate", {"mean": "good"}),
        ("held_out", [1]),
        ("tasks", {"a/b": 1}),
        ("run", 3),
        ("minutes", "x"),
    ],
)
def test_results_of_the_wrong_shape_are_named(own_run, key, value):
    results = json.loads((own_run / "results.json").read_text())
    (own_run / "results.json").write_text(json.dumps(results | {key: value}))
    with pytest.raises(ReportError, match=f"results.json.*{key}.*gato evaluate"):
        read_results(own_run)


def test_a_score_without_its_agent_is_named(own_run):
    (own_run / "results.json").write_text('{"tasks": {"a/b": {"episodes": 1, "metric": "return"}}}')
    with pytest.raises(ReportError, match="a/b lacks the key 'agent'.*gato evaluate"):
        read_results(own_run)


@pytest.mark.parametrize(
    "change",
    [
        {"frames": np.zeros((90, 8, 8), np.uint8)},
        {"frames": np.zeros((90, 8, 8, 3), np.float32)},
        {"actions": np.zeros((7, 1), np.int64)},
        {"rewards": np.zeros(0, np.float32)},
        {"frames": np.array([None], object)},
    ],
)
def test_a_rollout_that_does_not_fit_is_named(own_run, change):
    path = own_run / "rollouts" / "atari__freeway.npz"
    with np.load(path) as arrays:
        np.savez(path, **dict(arrays) | change)
    with pytest.raises(ReportError, match="atari__freeway.npz is not a rollout.*delete the file"):
        read_run(own_run)


def test_a_cut_rollout_is_named(own_run):
    path = own_run / "rollouts" / "atari__freeway.npz"
    path.write_bytes(path.read_bytes()[:200])
    with pytest.raises(ReportError, match="atari__freeway"):
        read_run(own_run)


def test_a_resumed_run_counts_the_later_line(own_run):
    with (own_run / "metrics.jsonl").open("a") as log:
        log.write('{"step": 6000, "loss": 9.0}\n')
    steps, losses = read_run(own_run).metrics["loss"]
    assert len(steps) == len(set(steps)) and losses[-1] == 9.0


def test_what_an_evaluation_alone_writes_is_enough(own_run):
    results = json.loads((own_run / "results.json").read_text())
    (own_run / "results.json").write_text(json.dumps({key: results[key] for key in ("tasks", "aggregate")}))
    assert write_report(own_run).exists()
