"""The benchmark of the planners measures a task over a few steps."""

import json

from benchmarks import planner


def test_a_short_run_writes_its_results(tmp_path, monkeypatch):
    path = tmp_path / "made.json"
    monkeypatch.setattr("sys.argv", ["planner", "--tasks=point_mass/easy", "--steps=4", f"--output={path}"])
    planner.main()
    found = json.loads(path.read_text())
    assert found["machine"] and found["versions"]["mujoco"]
    measured = found["tasks"]["point_mass/easy"]
    assert measured["simulator_steps_of_a_plan"] == 16 * 30 and measured["plans_of_an_episode"] == 500
    assert measured["cpu_seconds_of_an_episode"] > 0
