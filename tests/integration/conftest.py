"""The command, run in this process or in one of its own, and one small run for all tests of this folder."""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import io
import json
import os
import pathlib
import re
import shutil
import subprocess
from collections.abc import Callable

import filelock
import pytest

from gato_jax import cli
from tests.listening import listening
from tests.warm_python import WarmProcess

ROOT = pathlib.Path(__file__).parents[2]
CONFIG = pathlib.Path(__file__).with_name("tiny_config.py")
TASK = "babyai/GoToRedBallNoDists-v0"
DATASET = "babyai__go_to_red_ball_no_dists_v0"

# Ends with status 99 where the verb has brought TensorFlow into its process.
WITHOUT_TENSORFLOW = """
import os, sys
from gato_jax import cli
try:
    cli.main()
finally:
    if "tensorflow" in sys.modules:
        os._exit(99)
"""


@dataclasses.dataclass(frozen=True)
class Said:
    status: int
    out: str
    err: str

    def complaint(self) -> str:
        """What was said of bad input: the one line that the verb itself wrote, with nothing after it."""
        assert self.status == 2, self
        lines = [line for line in self.err.replace("\r", "\n").splitlines() if line.strip()]
        assert "Traceback" not in self.err and sum(line.startswith("gato") for line in lines) == 1, self.err
        return lines[-1]


def gato(*arguments: object) -> Said:
    """Runs a verb in this process."""
    out, err = io.StringIO(), io.StringIO()
    status: object = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            cli.main(["gato", *map(str, arguments)])
        except SystemExit as exit:
            status = exit.code
    assert isinstance(status, int)
    if status:
        gc.freeze()  # a command that fails collects all garbage; the next one need not look at what is alive now
    return Said(status, out.getvalue(), err.getvalue())


def tiny(workdir: pathlib.Path) -> list[str]:
    return [f"--config={CONFIG}", f"--workdir={workdir}"]


def train(workdir: pathlib.Path, *arguments: object) -> Said:
    """Trains in this process, on its eight devices: for runs that end before they compile anything."""
    return gato("train", *tiny(workdir), *arguments)


@pytest.fixture(scope="session", autouse=True)
def one_device():
    """For the processes that are started: the eight devices of this one would only make them slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XLA_FLAGS", re.sub("--xla_force_host_platform_device_count=[0-9]+", "", os.environ["XLA_FLAGS"]))
        yield


def start(*command: object) -> WarmProcess:
    """A process of its own, in the repository's root, which has JAX imported."""
    return WarmProcess(command)


def start_cold(*command: object) -> subprocess.Popen[str]:
    """The same, for tests of what a process imports and how it starts."""
    return subprocess.Popen(listening(*command), cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: WarmProcess | subprocess.Popen[str], seconds: float = 200) -> Said:
    out, err = process.communicate(timeout=seconds)
    return Said(process.returncode, out, err)


def metrics_of(workdir: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock decides."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "tokens_per_second")} for line in lines]


def shared(tmp_path_factory: pytest.TempPathFactory, name: str, command: Callable[[pathlib.Path], Said]):
    """Run a command on a folder of this name, in the first worker that asks for it; return the folder and what it said.

    Args:
      tmp_path_factory: Where the workers have their folders.
      name: Name of the folder.
      command: Fills the folder that it is given.
    """
    root = tmp_path_factory.getbasetemp()
    root = root.parent if "PYTEST_XDIST_WORKER" in os.environ else root
    folder, file = root / name, root / f"{name}.json"
    with filelock.FileLock(root / f"{name}.lock"):
        if not file.exists():
            folder.mkdir()
            file.write_text(json.dumps(dataclasses.asdict(command(folder))))
    return folder, Said(**json.loads(file.read_text()))


@pytest.fixture(scope="session")
def collected(tmp_path_factory) -> tuple[pathlib.Path, Said]:
    """A run's folder with four episodes in it, and what `gato collect` said. Do not change it: link to its data."""
    collect = ["collect", f"--tasks={TASK}", "--episodes=4"]
    return shared(
        tmp_path_factory, "collected", lambda run: gato(*collect, f"--output={run}/data", f"--json={run}/collect.json")
    )


@pytest.fixture
def workdir(collected, tmp_path) -> pathlib.Path:
    """A run's folder of the test's own, with the episodes."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "data").symlink_to(collected[0] / "data")
    return folder


@pytest.fixture(scope="session")
def trained(collected, tmp_path_factory) -> pathlib.Path:
    """A copy, of this worker, of a run of twenty steps without a break. Do not change it."""

    def train_in_a_process(run: pathlib.Path) -> Said:
        (run / "data").symlink_to(collected[0] / "data")
        return finish(start("-c", WITHOUT_TENSORFLOW, "train", *tiny(run), f"--json={run / 'train.json'}"))

    run, said = shared(tmp_path_factory, "trained_once", train_in_a_process)
    assert said.status == 0, said.err
    return shutil.copytree(run, tmp_path_factory.mktemp("runs") / "trained", symlinks=True)
