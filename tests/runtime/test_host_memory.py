"""Huge pages: asked for once, on a CPU alone, and never against the user's own settings."""

import os
import subprocess
import sys

import pytest

from gato_jax.runtime import host_memory


@pytest.fixture
def useful(monkeypatch, tmp_path):
    mode = tmp_path / "enabled"
    mode.write_text("always [madvise] never\n")
    monkeypatch.setattr(host_memory, "_MODE", mode)
    monkeypatch.setattr(host_memory.platform, "libc_ver", lambda: ("glibc", "2.36"))
    monkeypatch.setenv("JAX_PLATFORMS", "cpu")
    monkeypatch.delenv(host_memory.VARIABLE, raising=False)
    return mode


def test_the_same_command_is_started_once_more(useful, monkeypatch):
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "gato_jax.cli", "train", "--config=a b.py"])
    monkeypatch.setattr(sys, "argv", ["cli.py", "train", "--config=a b.py"])
    monkeypatch.setenv(host_memory.VARIABLE, "")  # restored after the test
    monkeypatch.delenv(host_memory.VARIABLE)
    started = []
    host_memory.restart_with_huge_pages(lambda *words: started.append(words))
    words = [sys.executable, "-m", "gato_jax.cli", "train", "--config=a b.py"]
    assert started == [(sys.executable, words)]
    assert host_memory.os.environ[host_memory.VARIABLE] == "glibc.malloc.hugetlb=1"
    host_memory.restart_with_huge_pages(lambda *words: started.append(words))
    assert len(started) == 1
    monkeypatch.delenv(host_memory.VARIABLE)
    monkeypatch.setattr(sys, "orig_argv", ["python", "-m", "server"])  # a fork of it, with words of its own
    host_memory.restart_with_huge_pages(lambda *words: started.append(words))
    assert len(started) == 1


def test_nothing_happens_where_it_would_not_help(useful, monkeypatch):
    assert host_memory.huge_pages_are_useful("cpu")
    assert not host_memory.huge_pages_are_useful("cuda,cpu") and not host_memory.huge_pages_are_useful("")
    with monkeypatch.context() as changed:
        changed.setenv(host_memory.VARIABLE, "")
        assert not host_memory.huge_pages_are_useful("cpu")
    for library in (("glibc", "2.31"), ("", "")):
        with monkeypatch.context() as changed:
            changed.setattr(host_memory.platform, "libc_ver", lambda library=library: library)
            assert not host_memory.huge_pages_are_useful("cpu")
    useful.write_text("[always] madvise never\n")
    assert not host_memory.huge_pages_are_useful("cpu")


def test_a_real_process_starts_again_and_keeps_its_words(useful):
    code = (
        "import os, pathlib, sys\n"
        "from gato_jax.runtime import host_memory\n"
        f"host_memory._MODE = pathlib.Path({str(useful)!r})\n"
        "host_memory.platform.libc_ver = lambda: ('glibc', '2.36')\n"
        "host_memory.restart_with_huge_pages()\n"
        "print(os.environ['GLIBC_TUNABLES'], sys.argv[1:])\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != host_memory.VARIABLE}
    command = [sys.executable, "-c", code, "--a=b c"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.stdout == "glibc.malloc.hugetlb=1 ['--a=b c']\n", done.stderr
