"""A signal ends a job at its next safe point, or at once where nothing can be lost."""

import os
import signal
import subprocess
import time

import pytest

from gato_jax.runtime import interruptible
from tests.listening import listening

JOB = """
import hashlib, os, time
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
SLOWLY = "print('ready', flush=True)\n    time.sleep(0.5)"
LONG = """with interruption.after("the evaluation of step 3"):
        print('ready', flush=True)
        time.sleep(0.5)"""
NESTED = """interruption.farewell = "So far 3."
    with interruption.at_once():
        with interruption.at_once(): pass
        print('a result')
        os.write(1, b'ready\\n')  # past what is not flushed yet
        time.sleep(60)"""


def _signalled(body: str, *numbers: int, pause: float = 0.0, code: str = JOB) -> tuple[int, str, str]:
    """Start a job, send it the signals when it is ready, and return its status, stdout and stderr."""
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    command = listening("-c", code.format(body=body))
    job = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=buffered)
    assert job.stdout and job.stdout.readline() == "ready\n"
    for number in numbers:
        job.send_signal(number)
        time.sleep(pause)
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
    status, out, err = _signalled(NEVER, signal.SIGINT, signal.SIGINT, pause=1.5)
    assert (status, out) == (128 + signal.SIGINT, "") and err.strip() == "SIGINT: ended at once. Run it again to go on."


def test_a_signal_that_comes_twice_at_once_is_one_request():
    """GNU timeout and batch systems send it to the process and to its group."""
    assert _signalled(SLOWLY, signal.SIGTERM, signal.SIGTERM, pause=0.1) == (0, "saved after SIGTERM\n", "")


def test_a_job_says_what_it_finishes_first():
    status, out, err = _signalled(LONG, signal.SIGTERM)
    assert (status, out) == (0, "saved after SIGTERM\n")
    assert err == "\nSIGTERM: the evaluation of step 3 is finished first. A second signal ends the process at once.\n"


def test_an_end_at_once_keeps_what_was_printed_and_says_the_newest_farewell():
    status, out, err = _signalled(NESTED, signal.SIGINT)
    assert (status, out) == (0, "a result\n") and err.strip() == "SIGINT: ended at once. So far 3."


def test_a_job_that_cannot_be_gone_on_with_has_the_status_of_the_signal():
    code = JOB.replace('go on.")', 'go on.", resumable=False)')
    assert _signalled(IN_C, signal.SIGTERM, code=code)[0] == 128 + signal.SIGTERM


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
