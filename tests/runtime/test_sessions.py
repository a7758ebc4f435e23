"""The record of the processes that made a run."""

import json
import subprocess

from gato_jax.runtime import sessions


def test_each_process_adds_a_line(tmp_path):
    for number in range(2):
        sessions.record_session(
            tmp_path, ["gato train", f"--config.seed={number}", "--note=two words"], "devices: 1 x cpu"
        )
    lines = [json.loads(line) for line in (tmp_path / sessions.FILE).read_text().splitlines()]
    assert [line["command"] for line in lines] == [f"gato train --config.seed={n} '--note=two words'" for n in range(2)]
    assert lines[0]["started"].endswith("+00:00") and lines[0]["devices"] == "1 x cpu"
    assert {"python", "jax", "numpy"} <= lines[0]["versions"].keys()


def test_a_commit_is_that_of_the_source_or_unknown(tmp_path, monkeypatch):
    source = tmp_path / "gato_jax" / "runtime"
    source.mkdir(parents=True)
    (tmp_path / "gato_jax" / "__init__.py").write_text("")
    monkeypatch.setattr(sessions, "__file__", str(source / "sessions.py"))
    assert sessions.commit() is None  # an installed package
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    assert sessions.commit() is None  # in the environment of another project, which does not track it
    subprocess.run([*git, "add", "."], check=True)
    subprocess.run([*git, "commit", "-q", "-m", "first"], check=True)
    found = sessions.commit()
    assert found is not None and len(found) == 12
    (tmp_path / "gato_jax" / "__init__.py").write_text("changed = True")
    assert sessions.commit() == f"{found} with changes"
