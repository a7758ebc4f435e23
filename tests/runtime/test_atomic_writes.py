"""A file or folder appears whole or not at all, whatever interrupts its writer."""

import multiprocessing
import os
import threading

import pytest

from gato_jax.runtime import FolderInUseError
from gato_jax.runtime.atomic_writes import atomic_file, atomic_folder
from gato_jax.runtime.file_locks import locked_file


def test_a_file_replaces_the_one_before_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "new" / "file.json"
    for text in ("first", "second"):
        with atomic_file(path) as partial:
            partial.write_text(text)
            assert not path.exists() or path.read_text() == "first"
        assert path.read_text() == text and os.listdir(path.parent) == ["file.json"]


def test_a_failed_write_keeps_the_file_before(tmp_path):
    path = tmp_path / "file.json"
    path.write_text("before")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as partial:
        partial.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "before" and os.listdir(tmp_path) == ["file.json"]


@pytest.mark.parametrize("write", [atomic_file, atomic_folder])
@pytest.mark.parametrize("left_as_file", [True, False])
def test_what_a_killed_process_left_is_removed(write, left_as_file, tmp_path):
    left = tmp_path / "out.partial"
    if write is atomic_file and left_as_file:
        left.write_text("half")
    else:
        (left / "content").mkdir(parents=True)
        (left / "content" / "half").write_text("half")
    with write(tmp_path / "out") as partial:
        assert not partial.exists() or list(partial.iterdir()) == []
        (partial / "a" if write is atomic_folder else partial).write_text("whole")
    assert os.listdir(tmp_path) == ["out"]


def test_a_second_writer_of_a_file_waits_for_the_first(tmp_path):
    path = tmp_path / "file"
    begun, texts = threading.Event(), []

    def second():
        begun.set()
        with atomic_file(path) as partial:
            texts.append(path.read_text())
            partial.write_text("second")

    other = threading.Thread(target=second)
    with atomic_file(path) as partial:
        partial.write_text("first")
        other.start()
        begun.wait()
        other.join(0.2)
        assert partial.read_text() == "first" and texts == []
    other.join()
    assert texts == ["first"] and path.read_text() == "second" and os.listdir(tmp_path) == ["file"]


def test_two_writers_of_a_shared_file_do_not_mix(tmp_path):
    path = tmp_path / "file"
    with atomic_file(path, shared=True) as one:
        with atomic_file(path, shared=True) as other:
            one.write_text("one")
            other.write_text("other")
        assert path.read_text() == "other"
    assert path.read_text() == "one" and os.listdir(tmp_path) == ["file"]


def test_a_folder_replaces_the_one_before_or_leaves_it(tmp_path):
    folder = tmp_path / "out"
    for name in ("a", "b"):
        with atomic_folder(folder) as content:
            (content / name).write_text("")
        assert os.listdir(folder) == [name] and os.listdir(tmp_path) == ["out"]
    with pytest.raises(OSError, match="full"), atomic_folder(folder) as content:
        (content / "c").write_text("")
        raise OSError("full")
    assert os.listdir(folder) == ["b"] and os.listdir(tmp_path) == ["out"]


def test_two_writers_of_a_folder_are_kept_apart(tmp_path):
    with atomic_folder(tmp_path / "out") as content:
        with pytest.raises(FolderInUseError, match=f"out.partial: process {os.getpid()} on .* is writing there"):
            with atomic_folder(tmp_path / "out"):
                pass
        (content / "a").write_text("")
    assert os.listdir(tmp_path / "out") == ["a"]


def write_once(folder, written):
    with locked_file(folder.with_name("out.lock"), on_wait=lambda: None):
        if not folder.exists():
            with atomic_folder(folder) as content:
                (content / "a").write_text("")
            written.put(os.getpid())


def test_processes_that_wait_for_the_lock_write_once(tmp_path):
    context = multiprocessing.get_context("spawn")
    written = context.Queue()
    processes = [context.Process(target=write_once, args=(tmp_path / "out", written)) for _ in range(3)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert written.get(timeout=10) and written.empty() and [process.exitcode for process in processes] == [0, 0, 0]


def test_a_waiting_writer_survives_that_the_locked_file_and_its_folder_are_removed(tmp_path):
    path, order, waits = tmp_path / "folder" / "lock", [], threading.Event()

    def wait():
        with locked_file(path, on_wait=waits.set):
            order.append("second")

    with locked_file(path):
        thread = threading.Thread(target=wait)
        thread.start()
        assert waits.wait(30)
        order.append("first")
        path.unlink()
        path.parent.rmdir()
    thread.join(timeout=30)
    assert order == ["first", "second"] and path.exists()
