"""What the console reads of runs that are written meanwhile: their metrics, states and places."""

import json
import os
import socket
import subprocess
import sys
import threading

import numpy as np
import pytest

from gato_jax.runtime import writer_lock
from gato_jax.web.console import find_runs
from gato_jax.web.console.discovery import read_state
from gato_jax.web.console.downsampling import downsample
from gato_jax.web.console.metrics_tail import MetricsTail
from gato_jax.web.console.page_maker import PageMaker
from gato_jax.web.console.run_facts import RunFacts


def lines(*steps, **more):
    return "".join(json.dumps({"step": step, "loss": 1 / step, "tokens": 10 * step, **more}) + "\n" for step in steps)


def make_run(folder, *steps):
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text(lines(*steps))
    return folder


def test_runs_are_found_three_folders_deep_and_not_in_runs_nor_outside(tmp_path):
    root = tmp_path / "runs"
    for name in ("a", "b/c", "b/d/e", "b/d/f/too_deep", "a/process_1", ".hidden", "<script>", "x y?&#%"):
        make_run(root / name)
    (root / "half").mkdir()
    (root / "only_checkpoints" / "checkpoints").mkdir(parents=True)
    make_run(tmp_path / "outside")
    (root / "link").symlink_to(tmp_path / "outside")
    (root / "inner").symlink_to(root / "a")
    expected = {"a", "b/c", "b/d/e", "<script>", "x y?&#%", "only_checkpoints", "inner"}
    assert find_runs(root).keys() == expected
    assert find_runs(root / "a") == {"a": root / "a"}
    assert find_runs(root / "half") == find_runs(root / "nothing") == {}


def test_a_name_that_is_no_utf_8_is_printable(tmp_path):
    os.mkdir(os.fsencode(tmp_path) + b"/\xff", 0o755)
    path = find_runs(tmp_path)
    assert path == {}
    with open(os.fsencode(tmp_path) + b"/\xff/metrics.jsonl", "w"):
        pass
    assert list(find_runs(tmp_path)) == ["\N{REPLACEMENT CHARACTER}"]


def test_only_new_lines_are_returned_and_half_a_line_waits(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines(1, 2) + '{"step": 3, "lo')
    tail = MetricsTail(path)
    tail.advance()
    told = tail.curves(["loss", "no such"])
    assert told["fresh"] and told["keys"] == ["loss"] and not told["problems"]
    assert told["curves"]["loss"]["step"] == [1, 2] and told["curves"]["loss"]["tokens"] == [10, 20]
    assert told["curves"]["loss"]["seconds"] == [None, None]
    path.write_text(lines(1, 2, 3))  # in place, with the line whole
    tail.advance()
    more = tail.curves(["loss"], since=told["offset"], generation=told["generation"])
    assert not more["fresh"] and more["curves"]["loss"]["step"] == [3]
    assert tail.curves(["loss"], since=more["offset"], generation=more["generation"])["curves"]["loss"]["step"] == []


@pytest.mark.parametrize("change", ["replaced", "shorter", "rewritten", "deleted and made again"])
def test_another_file_is_read_from_its_beginning(tmp_path, change):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines(1, 2, 3))
    tail = MetricsTail(path)
    tail.advance()
    told = tail.curves(["loss"])
    if change == "replaced":
        (tmp_path / "new").write_text(lines(1, 2, 7, 8, 9))
        (tmp_path / "new").replace(path)
    elif change == "deleted and made again":
        path.unlink()
        tail.advance()
        assert tail.curves(["loss"])["keys"] == [] and tail.size == 0
        path.write_text(lines(1, 2, 7, 8, 9))
    else:
        path.write_text(lines(1, 2) if change == "shorter" else lines(1, 2, 7, 8, 9))
    tail.advance()
    now = tail.curves(["loss"], since=told["offset"], generation=told["generation"])
    assert now["fresh"] and now["generation"] != told["generation"]
    assert now["curves"]["loss"]["step"] == ([1, 2] if change == "shorter" else [1, 2, 7, 8, 9])


def test_a_file_is_read_in_parts_as_it_is_in_one(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_text(lines(*range(1, 200)))
    whole, parts = MetricsTail(path), MetricsTail(path)
    whole.advance()
    reads = 0
    while parts.offset < path.stat().st_size:
        parts.advance(100)
        reads += 1
    assert reads > 50
    assert parts.curves(["loss"])["curves"] == whole.curves(["loss"])["curves"]


def test_damaged_lines_are_named_and_the_others_are_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    bad = [
        "<html>",
        "[1]",
        '{"loss": 1}',
        '{"step": null}',
        '{"step": 1e999, "loss": 1, "b": "x"}',
        '{"step": "\\ud800"}',
    ]
    path.write_text(lines(1) + "\n".join(bad) + "\n" + lines(2, big=10**400, nan=float("nan"), flag=True))
    tail = MetricsTail(path)
    tail.advance()
    told = tail.curves(["loss", "nan", "big"])
    assert told["curves"]["loss"]["step"] == [1, None, 2] and told["keys"] == ["flag", "loss"]
    assert told["problems"][0].startswith("metrics.jsonl, line 2 is b'<html>'") and len(told["problems"]) == 4
    json.dumps(told, allow_nan=False)


def test_downsampling_keeps_extremes_and_means():
    values = np.sin(np.arange(10_007.0))
    values[5000], values[77] = 9, -9
    parts = downsample(values, 100)
    assert len(parts.mean) == 100 and parts.count.sum() == len(values) and parts.last[-1] == len(values) - 1
    assert parts.high.max() == 9 and parts.low.min() == -9
    assert np.isclose((parts.mean * parts.count).sum(), values.sum())
    assert parts.count.max() - parts.count.min() <= 1
    few = downsample(values[:5], 100)
    assert few.mean.tolist() == few.low.tolist() == few.high.tolist() == values[:5].tolist()
    assert len(downsample(values[:0], 100).mean) == 0


def test_the_state_is_that_of_the_process_that_writes(tmp_path):
    assert read_state(tmp_path).name == "ended"
    with writer_lock(tmp_path):
        state = read_state(tmp_path)
        assert state.name == "training" and str(os.getpid()) in state.note
    assert read_state(tmp_path).name == "ended"
    script = "import os, pathlib, sys; from gato_jax.runtime import writer_lock\n"
    script += "with writer_lock(pathlib.Path(sys.argv[1])): os._exit(1)"
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    assert read_state(tmp_path).name == "killed"
    fields = json.loads((tmp_path / "writer.lock").read_text())
    (tmp_path / "writer.lock").write_text(json.dumps(fields | {"host": socket.gethostname() + "x"}))
    assert read_state(tmp_path).name == "training"


def test_the_facts_are_those_of_the_files_and_each_damaged_one_is_a_problem(tmp_path):
    run = make_run(tmp_path / "run", 1, 4)
    (run / "config.json").write_text('{"steps": 8}')
    (run / "sessions.jsonl").write_text('{"started": "2026-01-02T03:04:05+00:00"}\n{"st')
    tasks = {"a/b": {"task": "a/b", "episodes": 4, "metric": "success", "agent": 0.5, "agent_ci": [0.2, 0.8]}}
    (run / "results.json").write_text(json.dumps({"tasks": tasks}))
    facts = RunFacts("run", run)
    told = facts.read()
    assert (told["step"], told["steps"], told["loss"]) == (4, 8, 0.25)
    assert told["started"] == "2026-01-02T03:04:05+00:00" and told["curve"] == [1, 0.25] and not told["problems"]
    assert told["score"] == {"text": "50%", "interval": "20% to 80%", "of": "a/b"}
    for name in ("config.json", "results.json", "sessions.jsonl"):
        (run / name).write_text("{damaged}\n")
    with (run / "metrics.jsonl").open("a") as file:
        file.write("damaged\n")
    told = facts.read()
    assert told["step"] == 4 and told["score"] is None
    assert len(told["problems"]) == 4 and "config.json" in told["problems"][0]
    json.dumps(told, allow_nan=False)


def test_a_page_is_made_once_for_each_state_of_its_files_and_a_failure_is_told():
    maker, made, gate = PageMaker(), [], threading.Event()

    def make():
        gate.wait(60)
        made.append(1)
        return "page"

    def wait(signature, make):
        while (page := maker.get("key", signature, make)) is None:
            gate.wait(0.01)
        return page

    assert maker.get("key", 1, make) is None and maker.get("key", 1, make) is None
    gate.set()
    assert wait(1, make).html == "page" and wait(1, make).html == "page" and len(made) == 1
    wait(2, make)
    assert len(made) == 2

    def fail():
        raise ZeroDivisionError("of a file")

    assert "ZeroDivisionError: of a file" in str(wait(3, fail).problem)
