"""TensorBoard events of a run whose disk fills up: one warning, and the run goes on."""

import errno
import os

import pytest

from gato_jax.training.board import Board
from gato_jax.training.event_file import EventFile
from tests.training.made_run import made_config


def line(step: int) -> dict[str, float]:
    return {"step": step, "loss": 1.0, "seconds": float(step)}


def fail(*arguments):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_events_that_cannot_be_written_any_more_are_one_warning(tmp_path, monkeypatch, caplog):
    board = Board(tmp_path, made_config(), [line(1)], {})
    monkeypatch.setattr(EventFile, "flush", fail)
    for step in range(2, 40):  # more than a queue of events would hold
        board.add(line(step))
    board.flush()
    board.close()
    [record] = caplog.records
    assert record.message.startswith(f"no more TensorBoard events are written to {tmp_path}/tensorboard: No space left")


def test_events_that_cannot_be_written_at_the_start_are_an_error(tmp_path):
    (tmp_path / "tensorboard").write_text("")
    with pytest.raises(FileExistsError, match="tensorboard"):
        Board(tmp_path, made_config(), [], {})
