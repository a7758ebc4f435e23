"""A dataset is written whole or not at all."""

import dataclasses
import os
import subprocess
import sys

import numpy as np
import pytest

from gato_jax.episodes import (
    DatasetError,
    StoreError,
    TaskSpec,
    Text,
    list_datasets,
    open_dataset,
    write_dataset,
)
from gato_jax.runtime import FolderInUseError

# Writes numbered one-step episodes without end into sys.argv[1], and comes to the end that the last line sets.
WRITER = """
import itertools, os, resource, signal, sys
import numpy as np
from gato_jax.episodes import Episode, Provenance, StoreError, TaskSpec, Continuous, write_dataset
spec = TaskSpec(suite="suite", task="task", observation={"x": Continuous(shape=(1000,))}, action={})
yes = np.ones(1, bool)
def episodes():
    for number in itertools.count():
        if number == 200:
            print("200 written", flush=True)
            END
        x = np.random.default_rng(number).normal(size=(1, 1000))
        yield Episode(task="suite/task", observation={"x": x}, action={}, reward=np.zeros(1, np.float32),
                      discount=np.ones(1, np.float32), is_first=yes, is_last=yes, is_terminal=yes,
                      provenance=Provenance(source="tests", licence="MIT", kind="synthetic"))
START
try:
    write_dataset(sys.argv[1], spec, {"train": episodes()})
except StoreError as error:
    print(error)
"""


def run(root, start: str = "", end: str = "return") -> subprocess.CompletedProcess:
    script = WRITER.replace("START", start).replace("END", end)
    return subprocess.run([sys.executable, "-c", script, str(root)], capture_output=True, text=True, timeout=60)


def test_killed_write_leaves_nothing_that_looks_finished(tmp_path):
    assert run(tmp_path, end="os.kill(os.getpid(), signal.SIGKILL)").returncode == -9
    assert [file.name for file in (tmp_path / "suite__task").iterdir()] == ["1.0.0.partial"]
    assert list_datasets(tmp_path) == {}
    with pytest.raises(DatasetError):
        open_dataset(tmp_path / "suite__task" / "1.0.0")
    assert run(tmp_path).returncode == 0
    assert [file.name for file in (tmp_path / "suite__task").iterdir()] == ["1.0.0"]
    assert len(open_dataset(tmp_path / "suite__task" / "1.0.0")) == 200


def test_full_disk_names_the_path_and_the_remedy(tmp_path):
    limit = "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000,) * 2)"
    result = run(tmp_path, start=limit)
    assert "suite__task/1.0.0: cannot be written (" in result.stdout, result.stderr
    assert "File too large" in result.stdout and "free space there" in result.stdout
    assert list((tmp_path / "suite__task").iterdir()) == []


def test_place_that_is_no_folder(tmp_path, spec, make_episode):
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="file/babyai.*cannot be written"):
        write_dataset(tmp_path / "file", spec, {"train": [make_episode(spec)]})


def test_two_writers_are_kept_apart(tmp_path, spec, make_episode):
    def episodes():
        yield make_episode(spec)
        with pytest.raises(FolderInUseError, match="process .* is writing there"):
            write_dataset(tmp_path, spec, {"train": [make_episode(spec)]})

    assert len(open_dataset(write_dataset(tmp_path, spec, {"train": episodes()}))) == 1


def test_existing_dataset_is_replaced_only_when_asked(tmp_path, spec, make_episode):
    directory = write_dataset(tmp_path, spec, {"train": [make_episode(spec, 1)]})
    with pytest.raises(StoreError, match="already there; overwrite=True"):
        write_dataset(tmp_path, spec, {"train": [make_episode(spec, 2)]})
    assert open_dataset(directory)[0].seed == 1
    write_dataset(tmp_path, spec, {"train": [make_episode(spec, 2)]}, overwrite=True)
    assert open_dataset(directory)[0].seed == 2
    assert os.listdir(directory.parent) == ["1.0.0"]
    clash = dataclasses.replace(spec, task="GoToRedBall_v0")
    with pytest.raises(StoreError, match="holds babyai/GoToRedBall-v0, not babyai/GoToRedBall_v0"):
        write_dataset(tmp_path, clash, {"train": [make_episode(clash)]}, overwrite=True)


def test_fault_of_the_episodes_passes_through(tmp_path, spec, make_episode):
    def episodes():
        yield make_episode(spec)
        raise OSError("the simulator's own")

    with pytest.raises(OSError, match="the simulator's own"):
        write_dataset(tmp_path, spec, {"train": episodes()})
    assert list_datasets(tmp_path) == {} and os.listdir(tmp_path / "babyai__go_to_red_ball_v0") == []


def changed(side: str, key: str, values):
    def change(episode):
        return dataclasses.replace(episode, **{side: {**getattr(episode, side), key: values}})

    return change


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda e: dataclasses.replace(e, task="other/task"), "is of task 'other/task'"),
        (lambda e: dataclasses.replace(e, seed=-3), "seed -3"),
        (lambda e: dataclasses.replace(e, action={}), r"has action keys \[\]"),
        (
            changed("action", "button", np.array([0, 1, 2, 3, 0])),
            r"'button': values from 0 to 3, its spec says \[0, 3\)",
        ),
        (changed("action", "button", np.zeros(5)), "'button': dtype float64"),
        (changed("action", "torque", np.zeros((5, 3))), r"'torque': shape \(3,\) at each step, its spec says \(2,\)"),
        (changed("action", "say", np.array([b"x"] * 5, object)), "'say': holds b'x', text is str"),
        (changed("observation", "depth", np.zeros((5, 5, 7, 1))), "'depth': dtype float64, images are uint8"),
    ],
)
def test_episode_that_contradicts_its_spec(tmp_path, spec, make_episode, change, message):
    with pytest.raises(StoreError, match=f"babyai/GoToRedBall-v0: episode 1 of split 'train'.*{message}"):
        write_dataset(tmp_path, spec, {"train": [make_episode(spec), change(make_episode(spec))]})
    assert list_datasets(tmp_path) == {}


def test_empty_split(tmp_path):
    spec = TaskSpec(suite="dialogue", task="none", observation={}, action={"text": Text()})
    with pytest.raises(StoreError, match="split 'test' would hold no episodes"):
        write_dataset(tmp_path, spec, {"test": []})
