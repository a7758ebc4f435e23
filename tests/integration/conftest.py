"""The command, run in this process or in one of its own, and one small run for all tests of this folder."""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import pathlib
import subprocess
import sys

import pytest

from gato_jax import cli

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
    return Said(status, out.getvalue(), err.getvalue())


def tiny(workdir: pathlib.Path) -> list[str]:
    return [f"--config={CONFIG}", f"--workdir={workdir}"]


def train(workdir: pathlib.Path, *arguments: object) -> Said:
    """Trains in this process, on its eight devices: for runs that end before they compile anything."""
    return gato("train", *tiny(workdir), *arguments)


@pytest.fixture(scope="session", autouse=True)
def one_device_and_one_compilation(tmp_path_factory):
    """For the processes that are started: the eight devices of this one would only make them slow."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("XLA_FLAGS")
        patch.setenv("JAX_COMPILATION_CACHE_DIR", str(tmp_path_factory.mktemp("compiled")))
        patch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.3")
        yield


LISTENING = """import os, signal, sys
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"""


def start(*command: object) -> subprocess.Popen[str]:
    """A process of its own, in the repository's root, that Ctrl-C ends even where these tests run in the background.

    A shell has its background jobs ignore SIGINT, and whoever they start inherits that.
    """
    listen = [sys.executable, "-c", LISTENING, *map(str, command)]
    return subprocess.Popen(listen, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen[str], seconds: float = 200) -> Said:
    out, err = process.communicate(timeout=seconds)
    return Said(process.returncode, out, err)


def metrics_of(workdir: pathlib.Path) -> list[dict]:
    """The lines of metrics.jsonl without what a clock decides."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: line[key] for key in line if key not in ("seconds", "tokens_per_second")} for line in lines]


@pytest.fixture(scope="session")
def collected(tmp_path_factory) -> tuple[pathlib.Path, Said]:
    """A run's folder with four episodes in it, and what `gato collect` said. Do not change it: link to its data."""
    workdir = tmp_path_factory.mktemp("collected")
    collect = ["collect", f"--tasks={TASK}", "--episodes=4", f"--output={workdir / 'data'}"]
    return workdir, gato(*collect, f"--json={workdir / 'collect.json'}")


@pytest.fixture
def workdir(collected, tmp_path) -> pathlib.Path:
    """A run's folder of the test's own, with the episodes."""
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "data").symlink_to(collected[0] / "data")
    return folder


@pytest.fixture(scope="session")
def trained(collected, tmp_path_factory) -> pathlib.Path:
    """A run of twenty steps without a break. Do not change it."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "data").symlink_to(collected[0] / "data")
    said = finish(start("-m", "gato_jax.cli", "train", *tiny(folder), f"--json={folder / 'train.json'}"))
    assert said.status == 0, said.err
    return folder
