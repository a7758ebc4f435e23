"""A worker ends with its parent, and leaves the signals that reach both to it."""

import os
import select
import signal
import subprocess
import sys

import pytest

# Prints the id of its worker, which begins with the parent that `multiprocessing` or the command line names.
MULTIPROCESSING = """
import multiprocessing, time
from gato_jax.runtime import begin_worker

def work(connection):
    begin_worker()
    connection.send(multiprocessing.current_process().pid)
    time.sleep(600)

ours, theirs = multiprocessing.Pipe()
multiprocessing.get_context("fork").Process(target=work, args=(theirs,)).start()
print(ours.recv(), flush=True)
time.sleep(600)
"""
SUBPROCESS = """
import os, subprocess, sys, time
work = "import os, time; from gato_jax.runtime import begin_worker; begin_worker(%d); print(os.getpid(), flush=True)"
subprocess.Popen([sys.executable, "-c", f"{work % os.getpid()}; time.sleep(600)"])
time.sleep(600)
"""


@pytest.mark.parametrize("code", [MULTIPROCESSING, SUBPROCESS])
def test_a_worker_ends_when_its_parent_is_killed_and_not_at_the_signals_of_the_group(code):
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert parent.stdout
    worker = os.pidfd_open(int(parent.stdout.readline()))
    signal.pidfd_send_signal(worker, signal.SIGINT)
    assert not select.select([worker], [], [], 0.3)[0]
    parent.kill()
    assert select.select([worker], [], [], 60)[0]
    parent.wait()


def test_after_a_sigterm_a_worker_ends_soon():
    code = "import time; from gato_jax.runtime import begin_worker; begin_worker(1); print(flush=True); time.sleep(600)"
    worker = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE)
    assert worker.stdout and worker.stdout.readline()
    worker.terminate()
    assert worker.wait(60) == 128 + signal.SIGTERM
