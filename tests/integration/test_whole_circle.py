"""From real episodes to a scored agent and its page, each by its verb; killed in the middle and not."""

import json
import signal
import time

import pytest

from gato_jax.batching import record_writer
from gato_jax.episodes import open_dataset
from tests.integration.conftest import DATASET, TASK, WITHOUT_TENSORFLOW, finish, gato, metrics_of, start, tiny, train


@pytest.fixture(scope="module")
def evaluated(trained):
    """The trained run with its scores, by a process of its own; and the paths of both."""
    scores = trained / "results.json"
    arguments = [f"--workdir={trained}", "--episodes=2", "--measure_references", "--reference_episodes=2"]
    command = ["-c", WITHOUT_TENSORFLOW, "evaluate", f"--tasks={TASK}", f"--json={scores}", *arguments]
    return finish(start(*command)), json.loads(scores.read_text())


def test_collect_records_what_it_says(collected):
    workdir, said = collected
    assert said.status == 0 and TASK in said.out
    [(task, counts)] = json.loads((workdir / "collect.json").read_text())["tasks"].items()
    keys = {"episodes", "seeds", "steps", "return_mean", "success_rate", "failed", "filtered"}
    assert task == TASK and set(counts) == keys and (counts["failed"], counts["filtered"]) == ([], 0)
    dataset = open_dataset(workdir / "data" / DATASET / "1.0.0")
    assert counts["episodes"] == len(dataset) == 4 and counts["seeds"] == [0, 3]
    assert counts["steps"] == dataset.acting_lengths.sum()
    assert counts["return_mean"] == pytest.approx(dataset.returns.mean()) and counts["success_rate"] == 1.0


def test_train_says_where_it_ended(trained):
    result = json.loads((trained / "train.json").read_text())
    assert set(result) == {"step", "loss", "tokens", "tokens_per_second", "parameters"}
    assert (result["step"], result["tokens"]) == (20, 20 * 8 * 176)
    assert result["loss"] == metrics_of(trained)[-1]["loss"] < metrics_of(trained)[0]["loss"]


def test_train_notes_what_it_was_trained_on(trained):
    [row] = json.loads((trained / "data.json").read_text())
    assert (row["dataset"], row["task"], row["episodes"]) == ("grid", TASK, 4)
    assert (row["weight"], row["kind"]) == (1.0, "simulated")
    assert row["licence"] == "Apache-2.0" and "minigrid" in row["source"] and "BabyAIBot" in row["agent"]


def test_train_notes_the_process_that_trained(trained):
    [session] = map(json.loads, (trained / "sessions.jsonl").read_text().splitlines())
    assert session["command"].startswith("gato train --config=") and "cpu" in session["devices"]


def test_evaluate_scores_without_tensorflow(evaluated, trained):
    said, scores = evaluated
    assert said.status == 0, said.err
    [(task, result)] = scores["tasks"].items()
    assert task == TASK and scores["agent"]["step"] == 20
    assert set(scores) == {"schema", "agent", "tasks", "aggregate", "domains", "human", "unscaled", "failed"}
    assert set(scores["aggregate"]) > {"tasks", "mean", "iqm", "share_at_50"}
    assert set(result) == {
        "episodes", "seeds", "scores", "metric", "agent", "agent_ci", "random", "constant", "expert", "human",
        "reference_episodes", "normalised", "normalised_ci", "noise_floor", "unscaled", "human_normalised",
        "return_mean", "success_rate", "published", "step", "temperature", "prompt",
    }  # fmt: skip
    assert "all tasks" in said.out and f"{TASK}: " in said.out
    assert result["episodes"] == 2 and result["metric"] == "return" and result["expert"] > 0.5
    fraction = (result["agent"] - result["random"]) / (result["expert"] - result["random"])
    assert result["normalised"] == pytest.approx(fraction)
    assert (trained / "rollouts" / f"{TASK.replace('/', '__')}.npz").exists()


def test_report_is_one_page_that_names_the_task(evaluated, trained):
    said = gato("report", f"--workdir={trained}")
    assert said.status == 0 and said.out.strip() == str(trained / "report.html")
    page = (trained / "report.html").read_text()
    assert TASK in page and "<html" in page


@pytest.mark.slow
def test_a_run_that_is_killed_and_run_again_ends_with_the_same_losses(workdir, trained):
    command = ["-c", WITHOUT_TENSORFLOW, "train", *tiny(workdir)]
    process = start(*command)
    deadline = time.monotonic() + 100
    while not (workdir / "checkpoints" / "8").exists():
        assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-2000:]
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    assert finish(process).status == -signal.SIGKILL
    said = finish(start(*command))
    assert said.status == 0, said.err
    assert metrics_of(workdir) == metrics_of(trained)


COUNTED = """
import atexit
from gato_jax import cli
from gato_jax.batching import record_writer
pack, written = record_writer.pack, []
record_writer.pack = lambda chunk: written.append(chunk) or pack(chunk)
atexit.register(lambda: print("records written:", len(written)))
cli.main()
"""


def test_the_second_run_on_the_same_data_starts_without_tokenizing(workdir, own_cache, tmp_path, monkeypatch):
    written, pack = [], record_writer.pack
    monkeypatch.setattr(record_writer, "pack", lambda chunk: written.append(chunk) or pack(chunk))
    assert "exceeds context 100" in train(workdir, "--config.context=100").complaint()  # once its tokens are known
    assert written and not (workdir / "records").exists()
    second = tmp_path / "second"
    second.mkdir()
    (second / "data").symlink_to(workdir / "data")
    said = finish(start("-c", COUNTED, "train", *tiny(second), "--stop_after=1"))
    assert said.status == 0 and said.out.endswith("records written: 0\n"), said


def test_a_planned_stop_is_no_failure_even_before_the_first_line_of_metrics(workdir):
    result = workdir / "train.json"
    rarely = ["--config.log_every=10", "--config.checkpoints.every=10"]
    said = finish(start("-m", "gato_jax.cli", "train", *tiny(workdir), *rarely, "--stop_after=1", f"--json={result}"))
    assert said.status == 0, said.err
    assert (workdir / "checkpoints" / "1").exists() and set(json.loads(result.read_text())) >= {"step", "loss"}
