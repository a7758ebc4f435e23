"""The benchmark of evaluations plays the same episodes in three ways."""

import json

from benchmarks import evaluation


def test_a_short_run_writes_its_results(tmp_path, monkeypatch):
    path = tmp_path / "made.json"
    words = ["--tasks=babyai/GoToRedBallNoDists-v0", "--episodes=3", "--environments=2", "--workers=1", "--rounds=1"]
    monkeypatch.setattr("sys.argv", ["evaluation", *words, f"--output={path}"])
    evaluation.main()
    written = json.loads(path.read_text())
    found = written["cases"]["environments"]
    assert found["settings"]["actor"] == "uniformly random actions" and written["machine"]
    assert list(found["ratios"]) == ["one_by_one", "side_by_side", "groups"] and found["ratios"]["one_by_one"] == 1
    [ways] = found["rounds"]
    assert len({way["score"] for way in ways.values()}) == 1
    assert all(way["episodes"] == 3 and way["episodes_per_hour"] > 0 for way in ways.values())
