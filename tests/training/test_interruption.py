"""Signals and kills of a real run in processes of its own; the run that goes on has the numbers of an unbroken one."""

import json
import os
import pathlib
import random
import signal
import subprocess
import time
from collections.abc import Callable

import pytest

from tests.listening import listening
from tests.warm_python import WarmProcess

ROOT = pathlib.Path(__file__).parents[2]
IN_TIME = 300  # seconds within which a process has to get somewhere


TWO_DEVICES = f"{os.environ['XLA_FLAGS']} --xla_force_host_platform_device_count=2"


def start(*arguments: object, XLA_FLAGS: str = TWO_DEVICES, **environment: str) -> WarmProcess | subprocess.Popen:
    """A run in a process that hears SIGINT, even where these tests ignore it because they run in the background.

    It has JAX imported, unless its environment has variables that JAX reads while it is imported.
    """
    command = ["-m", "tests.training.made_run", *arguments]
    env = {**os.environ, "XLA_FLAGS": XLA_FLAGS, **environment}
    if not environment:
        return WarmProcess(command, env=env, text=False)
    return subprocess.Popen(listening(*command), cwd=ROOT, stderr=subprocess.PIPE, env=env)


def interrupt(process: WarmProcess | subprocess.Popen, number: int, when: Callable[[], bool]) -> str:
    """Send a signal as soon as a condition holds, and return what the process said after it has ended."""
    deadline = time.monotonic() + IN_TIME
    try:
        while not when():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-2000:]
            time.sleep(0.005)
    finally:
        process.send_signal(number)
        said = process.communicate(timeout=IN_TIME)[1].decode()
    return said


def finish(process: WarmProcess | subprocess.Popen):
    said = process.communicate(timeout=IN_TIME)[1].decode()
    assert process.returncode == 0, said[-2000:]


def metrics_of(workdir: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock decides."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "tokens_per_second")} for line in lines]


def test_a_run_that_is_ended_and_killed_goes_on_with_the_same_numbers(data, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    finish(start(data, straight, 40))

    first = start(data, broken, 40)
    said = interrupt(first, signal.SIGTERM, lambda: (broken / "checkpoints" / "10").exists())
    assert first.returncode == 0 and "SIGTERM: saving step" in said and "Traceback" not in said
    saved = max(int(path.name) for path in (broken / "checkpoints").iterdir())
    assert metrics_of(broken)[-1]["step"] == saved // 5 * 5
    second = start(data, broken, 40)
    interrupt(second, signal.SIGKILL, lambda: (broken / "checkpoints" / str(saved // 10 * 10 + 10)).exists())
    finish(start(data, broken, 40))
    assert metrics_of(broken) == metrics_of(straight)


def test_a_signal_during_compilation_ends_the_run_at_once(data, tmp_path):
    process = start(data, tmp_path / "run", JAX_ENABLE_COMPILATION_CACHE="false")
    assert process.stderr
    said = b""
    while b"compiling the training step" not in said:
        assert (line := process.stderr.readline()), said
        said += line
    said = interrupt(process, signal.SIGINT, lambda: True)
    assert process.returncode == 0 and "SIGINT: ended at once. Run the same command again to go on." in said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("devices", [1, 8])
def test_thirty_signals_at_random_moments_change_no_digit(data, tmp_path, devices):
    """The moments are anywhere from the start of a process to a twelfth of the run, in compilation and saves too."""
    straight, broken, steps = tmp_path / "straight", tmp_path / "broken", 240
    settings = {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
    began = time.monotonic()
    process = start(data, straight, steps, **settings)
    while not (straight / "checkpoints" / "10").exists() and process.poll() is None:
        time.sleep(0.01)
    until_checkpoint = time.monotonic() - began
    finish(process)
    latest = until_checkpoint + (time.monotonic() - began - until_checkpoint) / 12

    choose = random.Random(devices)
    for _ in range(30):
        number = choose.choice([signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
        moment = time.monotonic() + choose.uniform(0, latest)
        process = start(data, broken, steps, **settings)
        said = interrupt(process, number, lambda: time.monotonic() > moment or process.poll() is not None)  # noqa: B023
        heeds = "compiling" in said and number != signal.SIGKILL
        assert process.returncode == 0 or not heeds, said[-2000:]  # Python itself ends the imports, in several ways
    finish(start(data, broken, steps, **settings))
    assert metrics_of(broken) == metrics_of(straight)
