"""Errors that libraries print are one line of the command, which names a log file with the rest."""

import errno
import logging
import os
import pathlib
import re
import shutil
import sys

import pytest

from tests.integration.conftest import Said, finish, gato, start, tiny

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "/mnt/run")


@pytest.fixture
def noisy(monkeypatch, own_cache):
    """Sets how `gato tasks` ends, after a library has logged an error and printed a line."""

    def ending(error: Exception | None):
        def verb(flag, argv):
            logging.getLogger("absl").error("cannot save\nTraceback (most recent call last):\nValueError: 28")
            eval('print("printed", file=sys.stderr)', {"__name__": "library", "sys": sys})
            if error is not None:
                raise error

        monkeypatch.setattr("gato_jax.verbs.tasks.tasks", verb)

    return ending


def log_of(said: Said) -> str:
    """The content of the file that the only line on stderr names."""
    [line] = said.err.splitlines()
    [path] = re.findall(r"The messages of libraries are in (\S+\.log)\.", line)
    return pathlib.Path(path).read_text()


def test_the_line_of_bad_input_names_the_log(noisy, own_cache):
    noisy(FULL)
    said = gato("tasks")
    assert said.complaint().startswith(
        "gato tasks: /mnt/run: No space left on device; free space or name another folder. The messages of libraries "
        f"are in {own_cache}/logs/tasks-"
    )
    assert "ERROR absl: cannot save\nTraceback" in log_of(said) and log_of(said).endswith("printed\n")


def test_a_verb_that_is_done_names_the_error_in_one_line(noisy):
    noisy(None)
    said = gato("tasks")
    assert said.status == 0 and "gato tasks: a library reported an error, " in said.err
    assert "ERROR absl: cannot save" in said.err and "printed" in log_of(said)


def test_a_fault_of_ours_keeps_its_traceback_and_names_the_log(noisy, capsys):
    noisy(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        gato("tasks")


def test_debug_shows_everything_and_writes_no_log(noisy, own_cache):
    noisy(FULL)
    said = gato("tasks", "--debug")
    assert "printed" in said.err and "Traceback" in said.err and "The messages of libraries" not in said.err
    assert not (own_cache / "logs").exists()


LIMITED = """
import resource, signal, sys
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000))
sys.argv = sys.argv[:1] + sys.argv[1:]
from gato_jax import cli
cli.main()
"""


def test_a_checkpoint_that_cannot_be_written_in_the_background_is_one_line(trained, tmp_path):
    run = shutil.copytree(trained, tmp_path / "run", symlinks=True)
    said = finish(start("-c", LIMITED, "train", *tiny(run), "--config.steps=28"))
    complaint = said.complaint()
    assert complaint.startswith(f"gato train: {run}/checkpoints: File too large; free space and run again. ")
    assert "RESOURCE_EXHAUSTED" not in said.err and "devices: " in said.out and "train: " in said.err
    [path] = (run / "logs").iterdir()
    assert f"The messages of libraries are in {path}." in complaint and "Traceback" in path.read_text()
