"""The quickstart around its stages: what it refuses before it starts, and what it says when nothing is left to do."""

import json
import os

import pytest
from ml_collections import ConfigDict

from configs import quickstart
from experiments import quickstart_jobs
from gato_jax.episodes import dataset_name
from gato_jax.experts import expert_names
from gato_jax.policy import Agent
from gato_jax.policy.prompts import timestep_tokens
from gato_jax.training import TrainConfig
from tests.evaluation.made_environment import TASK as DRIFT
from tests.evaluation.made_environment import drifting_agent, register_drift
from tests.evaluation.test_demonstrations import make_run as make_trained
from tests.integration.conftest import ROOT, Said, finish, start
from tests.reports.conftest import make_run

DEFAULTS = quickstart.get_config()


def run_quickstart(workdir, *arguments) -> Said:
    return finish(start("-m", "experiments.quickstart", f"--workdir={workdir}", *arguments))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a quickstart that was run to its end."""
    workdir = tmp_path_factory.mktemp("quickstart")
    make_run(workdir)
    (workdir / "report.html").write_text("<html>")
    (workdir / "quickstart_config.json").write_text(DEFAULTS.to_json())
    (workdir / "progress.json").write_text(json.dumps({"done": ["train", "report"]}))
    return workdir


def test_a_finished_run_says_so_and_runs_no_stage(finished):
    before = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    said = run_quickstart(finished)
    assert said.status == 0, said.err
    assert said.out.startswith(f"{finished} holds a finished run. Remove it to start again.")
    assert "meta_world/reach-v3" in said.out and f"report   {finished / 'report.html'}" in said.out
    after = {path: path.stat().st_mtime_ns for path in finished.rglob("*") if path.is_file()}
    config = finished / "quickstart_config.json"  # it is written again
    assert {**after, config: before[config]} == before


def test_a_changed_config_is_refused_with_its_key(finished):
    said = run_quickstart(finished, "--config.steps=70")
    assert said.status == 2 and said.err == (
        f"quickstart: {finished} holds a run of another config: steps: 70 here, {DEFAULTS.steps} in "
        "quickstart_config.json; Remove the folder or choose another --workdir.\n"
    )


@pytest.mark.parametrize(
    "argument, said",
    [
        ("--config.stpes=3", "config has the unknown key 'stpes'. Did you mean 'steps'?"),
        (
            "--config.steps=2",
            f"warmup_steps is {DEFAULTS.optimizer.warmup_steps}, expected less than steps (2)",
        ),
        ("--config=none.py", "--config is none.py, expected a Python file"),
        ("--wordir=x", "Unknown command line flag 'wordir'. Did you mean: workdir ?"),
        ("loose", "unexpected 'loose'; everything is a flag"),
    ],
)
def test_what_would_stop_it_half_way_stops_it_before_it_starts(tmp_path, argument, said):
    result = run_quickstart(tmp_path / "run", argument)
    assert result.status == 2 and said in result.err and result.err.count("\n") == 1
    assert not list(tmp_path.glob("run/*"))


def test_a_file_for_a_workdir_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    said = run_quickstart(tmp_path / "file")
    assert said.status == 2 and str(tmp_path / "file") in said.err and said.err.count("\n") == 1


def test_each_task_is_played_after_a_demonstration_if_there_is_room(tmp_path, monkeypatch):
    register_drift(monkeypatch)
    agent, workdir = drifting_agent(), make_trained(tmp_path)
    monkeypatch.setattr(Agent, "restore", lambda path: agent)
    settings = {"tasks": (DRIFT, "made/grid"), "prompted_episodes": 2, "environments": 2, "temperature": 1.0}
    quickstart_jobs.run("evaluate prompted", ConfigDict({"experiment": settings}), workdir)
    found = json.loads((workdir / "prompted.json").read_text())
    entry = found["tasks"][DRIFT]
    assert list(found["tasks"]) == [DRIFT] and entry["episodes"] == 2 and found["agent"]["prompt"] == "demonstration"
    assert entry["prompt"].startswith("dataset drift") and found["aggregate"]["tasks"] == 0  # it has no references
    assert found["no_room"] == {
        "made/grid": f"a timestep has {timestep_tokens(agent, 'made/grid')} tokens, and a prompt at most half of the "
        "context, 30"
    }


def test_its_config_is_one_that_train_takes():
    fields = DEFAULTS.to_dict()
    del fields["experiment"]
    for dataset in fields["datasets"].values():
        dataset["weight"] = float(dataset["weight"])  # the type checks of the tests take no 2 for a 2.0
    config = TrainConfig.from_mapping(fields)
    assert len(config.datasets) == len(fields["datasets"]) >= len(quickstart.CONTROL_TASKS) + 3
    assert all("{workdir}/data/" in dataset.source for dataset in config.datasets.values())


def test_every_task_in_it_has_an_expert_and_a_number_of_episodes():
    settings = DEFAULTS.experiment
    assert set(quickstart.CONTROL_TASKS) | {quickstart_jobs.ROBOT_TASK} <= set(expert_names())
    assert set(settings.episodes) == set(map(dataset_name, quickstart.CONTROL_TASKS))
    assert {dataset_name(task) for task in quickstart.CONTROL_TASKS} <= set(DEFAULTS.datasets)


def test_continuous_integration_runs_make_test():
    file = ROOT / ".ci" / "run"
    assert os.access(file, os.X_OK) and file.read_text().splitlines()[-1] == "exec make test"
