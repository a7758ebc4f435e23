"""A folder has one writer at a time, and a writer that was killed locks nothing."""

import errno
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from gato_jax.runtime import FolderInUseError, writer_lock
from gato_jax.runtime.writers import this_writer

WRITER = """
import pathlib, sys, time
from gato_jax.runtime import writer_lock
with writer_lock(pathlib.Path(sys.argv[1])):
    print("ready", flush=True)
    time.sleep(60)
"""


def test_a_second_writer_is_refused_by_the_name_of_the_first_until_that_is_killed(tmp_path):
    first = subprocess.Popen([sys.executable, "-c", WRITER, tmp_path / "run"], stdout=subprocess.PIPE, text=True)
    assert first.stdout and first.stdout.readline() == "ready\n"
    told = f"run: process {first.pid} on {socket.gethostname()}, started at 20.*is writing there. Wait until"
    with pytest.raises(FolderInUseError, match=told), writer_lock(tmp_path / "run"):
        pass
    first.send_signal(signal.SIGKILL)
    first.wait()
    with writer_lock(tmp_path / "run"):
        assert json.loads((tmp_path / "run" / "writer.lock").read_text())["process"] == os.getpid()
    assert not list((tmp_path / "run").iterdir())


def test_a_writer_that_has_not_named_itself_yet_is_another_process(tmp_path):
    with writer_lock(tmp_path):
        (tmp_path / "writer.lock").write_text("")
        with pytest.raises(FolderInUseError, match="another process is writing there"), writer_lock(tmp_path):
            pass


@pytest.fixture
def without_locks(monkeypatch):
    """A file system whose files cannot be locked."""

    def refuse(handle, operation):
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    monkeypatch.setattr(fcntl, "flock", refuse)


def test_without_locks_a_file_is_the_lock(tmp_path, without_locks):
    with writer_lock(tmp_path / "run"):
        told = f"process {os.getpid()} on .* is writing there.*If that process has ended, delete .*writer.claim"
        with pytest.raises(FolderInUseError, match=told), writer_lock(tmp_path / "run"):
            pass
    assert not list((tmp_path / "run").iterdir())


@pytest.mark.parametrize(
    ("change", "ended"),
    [
        ({"birth": "another boot 123"}, True),  # its id is that of a later process
        ({"process": 2**22 + 1, "birth": ""}, True),  # above the largest id
        ({"host": "elsewhere", "process": 2**22 + 1}, False),
        ({}, False),
    ],
)
def test_without_locks_a_writer_of_this_machine_that_has_ended_is_recognised(tmp_path, without_locks, change, ended):
    (tmp_path / "writer.claim").write_text(json.dumps({**this_writer(), **change}))
    if ended:
        with writer_lock(tmp_path):
            pass
        return
    with pytest.raises(FolderInUseError, match="is writing there"), writer_lock(tmp_path):
        pass
