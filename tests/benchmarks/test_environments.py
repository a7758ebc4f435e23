"""The benchmark of the environments measures a task beside its package, and a renderer, at a tiny size."""

import json
import subprocess
import sys

import pytest

from benchmarks.environments_raw import CASES
from gato_jax.environments import suites, task_names
from tests.integration.conftest import ROOT


def test_the_cases_are_registered_tasks_of_different_suites():
    registered = set(task_names())
    for task in CASES:
        assert task in registered or task.startswith("gymnasium/"), task
    of_suites = {task.split("/")[0] for task in CASES}
    variants = {name for name, suite in suites().items() if suite.scores_of}
    assert of_suites - variants


@pytest.mark.slow
def test_a_tiny_run_writes_its_results(tmp_path):
    tasks = "babyai/GoToLocal-v0,dm_control/cheetah/run,sokoban/easy"
    command = [sys.executable, "-m", "benchmarks.environments", "--tiny", f"--tasks={tasks}"]
    subprocess.run([*command, f"--output={tmp_path / 'made.json'}"], cwd=ROOT, check=True, capture_output=True)
    found = json.loads((tmp_path / "made.json").read_text())
    assert list(found["tasks"]) == tasks.split(",") and found["machine"] and found["versions"]["mujoco"]
    assert found["tasks"]["dm_control/cheetah/run"]["ratio"] > 0 and "ratio" not in found["tasks"]["sokoban/easy"]
    assert found["renderers"]["raycast"]["frames_per_second"] > 0
