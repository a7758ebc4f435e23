"""The tutorial of docs/robot.md, from demonstrations to a robot: its files and commands, and success before and after.

The variable GATO_TUTORIAL_RESULTS names a file to write the numbers to, as experiments/results/robot_tutorial.json was.
"""

import contextlib
import importlib.metadata
import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from gato_jax.runtime.sessions import machine
from tests.serving.lerobot_environment import CLIENTS, lerobot_python

ROOT = pathlib.Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "robot.md").read_text()
FILES = dict(re.findall(r"```python (\w+)\n(.*?)```", PAGE, re.DOTALL))
COMMANDS = dict(re.findall(r"```bash (\w+)\n(.*?)```", PAGE, re.DOTALL))


def test_the_page_has_the_files_and_commands_of_the_tutorial():
    assert list(FILES) == ["arm", "record", "drive"]
    assert list(COMMANDS) == ["record", "base", "before", "serve", "drive", "after"]
    for name, text in FILES.items():
        compile(text, name, "exec")


@pytest.fixture
def clone(tmp_path):
    """A folder with the files of the tutorial, the configs and LeRobot, and the variables of its commands."""
    (tmp_path / "lerobot_env").symlink_to(pathlib.Path(lerobot_python(tmp_path / "made_env")).parents[1])
    (tmp_path / "configs").symlink_to(ROOT / "configs")
    (tmp_path / "bin").mkdir()
    for name, words in (("gato", "-m gato_jax.cli "), ("python", "")):
        script = tmp_path / "bin" / name
        script.write_text(f'#!/bin/sh\nexec {sys.executable} {words}"$@"\n')
        script.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])  # in place of 8000
    for name, text in FILES.items():
        (tmp_path / f"{name}.py").write_text(text.replace("8000", port))
    variables = {
        name: value
        for name, value in os.environ.items()
        if name not in ("XLA_FLAGS", "JAX_DISABLE_MOST_OPTIMIZATIONS", "PYTHONPATH")
    }
    variables |= {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}", "HF_HUB_OFFLINE": "1"}
    variables |= {"HF_HOME": str(tmp_path / "hub"), "PORT": port}
    return tmp_path, variables


@contextlib.contextmanager
def started(command: str, folder: pathlib.Path, variables: dict[str, str]):
    process = subprocess.Popen(
        ["bash", "-euc", command.replace("8000", variables["PORT"])], cwd=folder, env=variables, text=True,
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_success_before_and_after(clone):
    folder, variables = clone
    ours = variables | {"PYTHONPATH": f"{ROOT}:{CLIENTS / 'gato_jax_client'}"}
    seconds = {}

    def run(name: str) -> str:
        begin, out = time.monotonic(), ""
        for line in COMMANDS[name].strip().splitlines():
            settings = variables if line.startswith("lerobot_env/") else ours
            done = subprocess.run(["bash", "-euc", line], cwd=folder, env=settings, capture_output=True, text=True)
            assert done.returncode == 0, done.stderr[-3000:]
            out += done.stdout
        seconds[name] = round(time.monotonic() - begin, 1)
        return out

    def drive() -> dict[str, int]:
        with started(COMMANDS["serve"], folder, ours) as server:
            assert server.stdout is not None and any(line.startswith("ready") for line in server.stdout)
            said = re.search(r"reached (\d+) of 10, (\d+) of 500 ticks without a new action", run("drive"))
        assert said is not None
        return {"reached": int(said[1]), "of": 10, "ticks_without_a_new_action": int(said[2]), "ticks": 500}

    run("record"), run("base"), run("before")
    before = drive()
    run("after")
    after = drive()
    print({"before": before, "after": after, "seconds": seconds})
    if path := os.environ.get("GATO_TUTORIAL_RESULTS"):
        packages = {name: importlib.metadata.version(name) for name in ("jax", "mujoco", "gymnasium-robotics")}
        result = {"command": "pytest -m slow tests/serving/test_tutorial.py", "machine": machine()}
        result |= {"versions": packages, "before": before, "after": after, "seconds": seconds}
        pathlib.Path(path).write_text(json.dumps(result, indent=2) + "\n")
    assert after["reached"] >= before["reached"] + 4
