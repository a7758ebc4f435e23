"""A signal ends a job at its next safe point, or at once where nothing can be lost."""

import os
import signal
import subprocess
import sys
import time

import pytest

from gato_jax.runtime import interruptible

JOB = """
import hashlib, time
from gato_jax.runtime import interruptible
with interruptible("Run it again to go on.") as interruption:
    {body}
print("saved after", interruption.requested)
"""
POLLS = "print('ready', flush=True)\n    while not interruption.requested: time.sleep(0.01)"
# One call into C that takes minutes, in which Python runs no handler.
IN_C = """with interruption.at_once():
        print('ready', flush=True)
        hashlib.pbkdf2_hmac('sha256', b'', b'', 10**9)"""
NEVER = "print('ready', flush=True)\n    time.sleep(60)"


def _signalled(body: str, *numbers: int) -> tuple[int, str, str]:
    """Start a job, send it the signals when it is ready, and return its status, stdout and stderr."""
    job = subprocess.Popen(
        [sys.executable, "-c", JOB.format(body=body)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert job.stdout and job.stdout.readline() == "ready\n"
    for number in numbers:
        job.send_signal(number)
        time.sleep(0.1)
    out, err = job.communicate(timeout=20)
    return job.returncode, out, err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_job_ends_at_its_next_safe_point(number):
    status, out, err = _signalled(POLLS, number)
    assert (status, out, err) == (0, f"saved after {signal.Signals(number).name}\n", "")


def test_a_signal_ends_a_job_at_once_where_nothing_can_be_lost():
    status, out, err = _signalled(IN_C, signal.SIGTERM)
    assert (status, out) == (0, "") and err.strip() == "SIGTERM: ended at once. Run it again to go on."


def test_a_second_signal_ends_a_job_that_does_not_reach_a_safe_point():
    status, out, err = _signalled(NEVER, signal.SIGINT, signal.SIGINT)
    assert (status, out) == (128 + signal.SIGINT, "") and err.strip() == "SIGINT: ended at once. Run it again to go on."


def test_the_handlers_from_before_are_set_again():
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with interruptible("") as interruption:
        os.kill(os.getpid(), signal.SIGTERM)
        deadline = time.monotonic() + 5
        while interruption.requested is None and time.monotonic() < deadline:
            time.sleep(0.01)
    assert interruption.requested == "SIGTERM"
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    assert signal.set_wakeup_fd(-1) == -1
