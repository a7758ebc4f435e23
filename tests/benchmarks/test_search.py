"""The benchmark of the searches measures a game at a tiny size."""

import json

from benchmarks import search


def test_a_tiny_run_writes_its_results(tmp_path, monkeypatch):
    path = tmp_path / "made.json"
    monkeypatch.setattr("sys.argv", ["search", "--tiny", "--games=pong", f"--output={path}"])
    search.main()
    found = json.loads(path.read_text())
    assert found["machine"] and found["versions"]["ale-py"]
    measured = found["games"]["pong"]
    assert measured.pop("emulator_frames_per_second") > 0
    assert set(measured) == {f"{name}, {kind}" for name in search.SEARCHES for kind in search.FEATURES}
    assert all(row["frames_per_second"] > 0 and row["ratio"] > 0 for row in measured.values())
