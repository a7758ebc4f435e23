"""One writer, whole files and growing files, in a bucket."""

import json
import logging
import os
import socket
import threading

import pytest

from gato_jax.runtime import FolderInUseError, bucket_locks, writer_lock
from gato_jax.runtime.appended_files import AppendedFile
from gato_jax.runtime.atomic_writes import atomic_file, atomic_folder
from gato_jax.runtime.paths import BucketError, as_path


@pytest.fixture
def quick(monkeypatch):
    """Waits of a tenth of a second instead of a minute."""
    for name, seconds in {"BEAT": 0.01, "WATCH": 1.0}.items():
        monkeypatch.setattr(bucket_locks, name, seconds)


@pytest.fixture
def folder(bucket):
    return as_path(f"{bucket}/run")


def test_a_file_appears_whole_or_not_at_all(folder):
    with atomic_file(folder / "a.json") as written:
        written.write_text("1")
        assert not (folder / "a.json").exists()
    with pytest.raises(RuntimeError), atomic_file(folder / "a.json") as written:
        written.write_text("2")
        raise RuntimeError
    assert (folder / "a.json").read_text() == "1" and [child.name for child in folder.iterdir()] == ["a.json"]


def test_a_folder_is_written_on_a_disk_only(folder):
    with pytest.raises(BucketError, match="is gs://made/run, expected a path on a disk. Write to a disk, then copy"):
        with atomic_folder(folder):
            pass


def test_a_folder_has_one_writer(folder, quick):
    with writer_lock(folder):
        writer = json.loads((folder / "writer.lock").read_text())
        assert (writer["host"], writer["process"]) == (socket.gethostname(), os.getpid())
        with pytest.raises(FolderInUseError, match=f"gs://made/run: process {os.getpid()} on .* is writing there"):
            with writer_lock(folder):
                pass
    assert not (folder / "writer.lock").exists()


def test_of_two_writers_that_start_at_once_one_has_the_folder(folder, quick, monkeypatch):
    monkeypatch.setattr(bucket_locks, "SETTLE", 0.3)
    both_looked, has_it = threading.Barrier(2), []
    monkeypatch.setattr(bucket_locks, "_is_free", lambda *_: both_looked.wait() is not None)

    def write():
        with bucket_locks.claimed(folder / "writer.lock", {"host": "a", "process": 1}) as mine:
            has_it.append(mine)

    threads = [threading.Thread(target=write) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(has_it) == [False, True]


def test_a_writer_that_was_killed_on_another_host_is_replaced(folder, quick, caplog):
    lock = folder / "writer.lock"
    lock.write_text(json.dumps({"host": "gone", "process": 7, "started": "then", "command": ["x"], "claim": "c"}))
    with caplog.at_level(logging.WARNING), writer_lock(folder):
        assert json.loads(lock.read_text())["process"] == os.getpid()
    assert "process 7 on gone wrote there; waiting" in caplog.text


def test_a_writer_that_was_killed_on_this_host_is_replaced_at_once(folder, caplog):
    writer = {"host": socket.gethostname(), "process": 2**22 + 1, "claim": "c"}  # above the largest process number
    (folder / "writer.lock").write_text(json.dumps(writer))
    with writer_lock(folder):
        pass
    assert "waiting" not in caplog.text


@pytest.mark.parametrize("place", ["disk", "bucket"])
def test_a_file_grows(place, folder, tmp_path):
    path = (folder if place == "bucket" else tmp_path) / "lines"
    file = AppendedFile(path)
    for line in (b"1\n", b"2\n"):
        file.write(line)
        file.flush()
    file.sync()
    assert path.read_bytes() == b"1\n2\n"
    file.close()
    more = AppendedFile(path)
    more.write(b"3\n")
    more.close()
    more.close()
    assert path.read_bytes() == b"1\n2\n3\n"
    AppendedFile(path, fresh=True).close()
    assert path.read_bytes() == b""


def test_an_object_is_not_written_at_every_flush(folder, monkeypatch):
    file, writes = AppendedFile(folder / "lines"), []
    monkeypatch.setattr(type(folder), "write_bytes", lambda path, content: writes.append(content))
    for _ in range(5):
        file.write(b"x")
        file.flush()
    file.close()
    assert writes == [b"x", b"xxxxx"]
