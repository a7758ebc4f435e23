"""`gato evaluate`: speaks at once, goes on after any end episode by episode, adds up the scores of several calls."""

import json
import os
import shutil
import signal
import time

import pytest

from gato_jax.episodes import open_dataset
from gato_jax.runtime import writer_lock
from tests.integration.conftest import TASK, finish, gato, start

# The agent acts slowly, so that there is time to end the process in the middle.
SLOW = """
import logging, time
logging.basicConfig(level=logging.INFO, format="%(message)s")
from gato_jax import cli
from gato_jax.policy import AgentActor
act = AgentActor.act
AgentActor.act = lambda *arguments: time.sleep(0.05) or act(*arguments)
cli.main()
"""


@pytest.fixture
def run(trained, tmp_path):
    return shutil.copytree(
        trained, tmp_path / "run", symlinks=True, ignore=shutil.ignore_patterns("results.json", "eval*")
    )


def scores_of(run) -> dict:
    return json.loads((run / "results.json").read_text())


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGKILL, marks=pytest.mark.slow), signal.SIGTERM], ids=["SIGKILL", "SIGTERM"]
)
def test_ended_in_the_middle_it_goes_on_to_the_same_scores(run, tmp_path, number):
    words = ["evaluate", f"--workdir={run}", "--episodes=4", "--environments=1"]
    process = start("-c", SLOW, *words)
    journal, deadline = run / "evaluation" / "episodes.jsonl", time.monotonic() + 150
    while not (journal.exists() and len(journal.read_text().splitlines()) >= 2):
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.02)
    process.send_signal(number)
    ended = finish(process)
    assert (
        f"evaluate: loading the agent of {run}" in ended.err and "step 20, 4 episodes of each of 1 tasks" in ended.err
    )
    if number == signal.SIGKILL:
        assert ended.status == -signal.SIGKILL
    else:
        told = f"SIGTERM: ended at once. The finished episodes are kept in {run / 'evaluation'}. Run the same command"
        assert ended.status == 0 and told in ended.err and "Traceback" not in ended.err, ended.err
    kept = journal.read_text().splitlines(keepends=True)
    said = gato(*words)
    assert said.status == 0 and journal.read_text().startswith("".join(kept[:2]))
    if number == signal.SIGTERM:
        shutil.rmtree(run / "evaluation")
        again = scores_of(run)
        (run / "results.json").unlink()
        assert gato(*words).status == 0 and scores_of(run) == again


def test_calls_add_up_and_an_older_checkpoint_is_left_out(run):
    older = {
        "agent": {"step": 10, "digest": "0" * 16, "temperature": 1.0},
        "tasks": {"made/other": {"normalised": 1.0}},
    }
    (run / "results.json").write_text(json.dumps({**older, "held_out": {}}))
    said = gato("evaluate", f"--workdir={run}", "--episodes=1")
    others = "of other checkpoints, ways of sampling or prompts only, and left out: made/other"
    assert said.status == 0 and others in said.out
    fields = scores_of(run)
    assert list(fields["tasks"]) == [TASK] and fields["earlier"] == [older] and fields["held_out"] == {}
    fields["tasks"]["made/another"] = {"normalised": None}
    (run / "results.json").write_text(json.dumps(fields))
    said = gato("evaluate", f"--workdir={run}", "--episodes=1")
    assert "with the scores of an earlier evaluation of this checkpoint: made/another" in said.out
    assert set(scores_of(run)["tasks"]) == {TASK, "made/another"} and scores_of(run)["earlier"] == [older]


def test_a_second_evaluation_of_a_run_is_refused_by_the_name_of_the_first(run):
    with writer_lock(run / "evaluation"):
        said = gato("evaluate", f"--workdir={run}", "--episodes=1").complaint()
    assert f"{run / 'evaluation'}: process {os.getpid()} on " in said and "is writing there. Wait until" in said


def test_the_baseline_plays_in_processes_beside_the_agent_and_episodes_are_saved(run, tmp_path):
    words = ["evaluate", f"--workdir={run}", "--episodes=2", "--workers=1", f"--save_episodes={tmp_path / 'saved'}"]
    said = gato(*words, "--actor=nearest_neighbour", f"--datasets={run / 'data'}")
    assert said.status == 0 and f"{TASK}: " in said.out, said.err
    assert "scores of the 1-nearest-neighbour baseline, which plays from" in said.out
    assert open_dataset(tmp_path / "saved", "evaluation").index.seed.tolist() == [1_000_000, 1_000_001]
    baseline = scores_of(run)["baselines"]["nearest_neighbour"]
    assert list(baseline["tasks"]) == [TASK] and "tasks" not in scores_of(run)
    said = gato("evaluate", f"--workdir={run}", "--episodes=2", "--workers=1")
    assert said.status == 0 and "1-NN" in said.out and scores_of(run)["baselines"]["nearest_neighbour"] == baseline
    assert (
        "--datasets is None and --actor is nearest_neighbour" in gato(*words, "--actor=nearest_neighbour").complaint()
    )
    said = gato(*words, "--actor=nearest_neighbour", f"--datasets={tmp_path / 'none'}")
    assert "expected the folder of the datasets that `gato collect` wrote. It does not exist" in said.complaint()
