"""Signals and kills of a real run in processes of its own; the run that goes on has the numbers of an unbroken one."""

import json
import os
import pathlib
import random
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable

import pytest

from tests.listening import listening
from tests.warm_python import WarmProcess

ROOT = pathlib.Path(__file__).parents[2]
IN_TIME = 1500  # seconds within which a process has to get somewhere, even on a machine that does much else
COMPILES, COMPILED = "compiling the training step", "compiled the training step"


class Run:
    """A run in a process that hears SIGINT, even where these tests ignore it because they run in the background.

    Args:
      data: Folder of token records.
      workdir: Folder of the run.
      steps: Number of steps.
      devices: Number of devices; on the eight of these tests, a run of small steps mostly waits.
      warm: Whether the process begins with JAX imported, which takes several seconds otherwise.
      **environment: Variables of a process that is not warm.
    """

    def __init__(
        self, data: pathlib.Path, workdir: pathlib.Path, steps: int = 30, devices: int = 1, *, warm: bool = True,
        **environment: str,
    ):  # fmt: skip
        self.checkpoints = workdir / "checkpoints"
        command = ["-m", "tests.training.run_process", data, workdir, steps]
        flags = re.sub("(?<=device_count=)[0-9]+", str(devices), os.environ["XLA_FLAGS"])
        env = {**os.environ, "XLA_FLAGS": flags, **environment}
        if warm:
            self._process = WarmProcess(command, env=env, text=False)
        else:
            self._process = subprocess.Popen(listening(*command), cwd=ROOT, stderr=subprocess.PIPE, env=env)
        self._heard = b""
        self._reader = threading.Thread(target=self._hear, daemon=True)
        self._reader.start()
        self.wait_until(lambda: "ready" in self.said)

    @property
    def said(self) -> str:
        return self._heard.decode(errors="replace")

    @property
    def has_ended(self) -> bool:
        return self._process.poll() is not None

    @property
    def saved(self) -> list[int]:
        """The steps of the complete checkpoints."""
        return sorted(int(path.name) for path in self.checkpoints.glob("*") if path.name.isdigit())

    def wait_until(self, holds: Callable[[], bool]):
        """Wait until a condition holds or the process ends."""
        deadline = time.monotonic() + IN_TIME
        while not holds() and not self.has_ended:
            if time.monotonic() > deadline:
                self._process.kill()
                pytest.fail(self.said[-2000:])
            time.sleep(0.005)

    def seconds_until(self, text: str) -> float:
        """Wait until the process says something, and return how long that took."""
        began = time.monotonic()
        self.wait_until(lambda: text in self.said)
        return time.monotonic() - began

    def interrupt(self, number: int) -> int:
        """Send a signal and return the status of the process after its end."""
        self._process.send_signal(number)
        return self.finish()

    def finish(self) -> int:
        try:
            status = self._process.wait(IN_TIME)
            self._reader.join(IN_TIME)
            return status
        finally:
            self._process.kill()

    def _hear(self):
        assert self._process.stderr
        with self._process.stderr as stream:
            while said := os.read(stream.fileno(), 1 << 16):
                self._heard += said


def finish(run: Run):
    assert run.finish() == 0, run.said[-2000:]


def metrics_of(workdir: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock decides."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "tokens_per_second")} for line in lines]


def test_a_run_that_is_ended_and_killed_goes_on_with_the_same_numbers(data, tmp_path):
    straight, broken = tmp_path / "straight", tmp_path / "broken"
    finish(Run(data, straight, 40))

    first = Run(data, broken, 40)
    first.wait_until((broken / "checkpoints" / "10").exists)
    assert first.interrupt(signal.SIGTERM) == 0
    assert "SIGTERM: saving step" in first.said and "Traceback" not in first.said
    saved = max(int(path.name) for path in (broken / "checkpoints").iterdir())
    assert metrics_of(broken)[-1]["step"] == saved // 5 * 5
    second = Run(data, broken, 40)
    second.wait_until((broken / "checkpoints" / str(saved // 10 * 10 + 10)).exists)
    second.interrupt(signal.SIGKILL)
    finish(Run(data, broken, 40))
    assert metrics_of(broken) == metrics_of(straight)


@pytest.mark.parametrize("moment", ["ready", COMPILES])
def test_a_signal_before_the_first_step_ends_the_run_at_once(data, tmp_path, moment):
    """It comes while libraries are imported, or while the program is compiled."""
    run = Run(data, tmp_path / "run", warm=False, JAX_ENABLE_COMPILATION_CACHE="false")
    run.wait_until(lambda: moment in run.said)
    assert run.interrupt(signal.SIGINT) == 0
    assert "SIGINT: ended at once. Run the same command again to go on." in run.said and "Traceback" not in run.said
    assert not (tmp_path / "run" / "metrics.jsonl").exists()


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("devices", [1, 8])
def test_thirty_signals_at_random_moments_change_no_digit(data, tmp_path, devices):
    """The moments are in imports, in compilation, in the steps up to a checkpoint and while one is written."""
    straight, broken, steps = tmp_path / "straight", tmp_path / "broken", 400
    run = Run(data, straight, steps, devices, warm=False)
    imports, compilation = run.seconds_until(COMPILES), run.seconds_until(COMPILED)
    began = time.monotonic()
    finish(run)
    some_steps = (time.monotonic() - began) / steps * 10

    choose = random.Random(devices)
    phases = ["imports"] * 5 + ["compilation"] * 7 + ["steps"] * 10 + ["save"] * 8
    choose.shuffle(phases)
    in_time = 0
    for phase in phases:
        number = choose.choice([signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
        run = Run(data, broken, steps, devices, warm=phase != "imports")
        if phase != "imports":
            run.seconds_until(COMPILES if phase == "compilation" else COMPILED)
        if phase == "save":
            run.wait_until(lambda: any(run.checkpoints.glob("*.orbax-checkpoint-tmp")))  # noqa: B023
        longest = {"imports": imports, "compilation": compilation, "steps": some_steps, "save": 0.05}[phase]
        moment, before = time.monotonic() + choose.uniform(0, longest), run.saved
        ended = {
            "imports": lambda: COMPILES in run.said,  # noqa: B023
            "compilation": lambda: COMPILED in run.said,  # noqa: B023
            "steps": lambda: run.saved != before,  # noqa: B023
            "save": lambda: False,
        }[phase]
        run.wait_until(lambda: time.monotonic() > moment or ended())  # noqa: B023
        hits = not run.has_ended and steps not in run.saved
        status = run.interrupt(number)
        print(phase, signal.Signals(number).name, status, run.saved, "in time" if hits else "too late")
        assert not hits or status == (-number if number == signal.SIGKILL else 0), run.said[-2000:]
        assert "Traceback" not in run.said, run.said[-2000:]
        in_time += hits
    assert in_time >= 25  # all, unless this machine leaves too little time to these tests
    finish(Run(data, broken, steps, devices))
    assert metrics_of(broken) == metrics_of(straight)
