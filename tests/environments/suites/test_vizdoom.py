import json
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import psutil
import pytest

from gato_jax.environments import load
from gato_jax.environments.rendering.process_owner import ForkedEnvironmentError
from gato_jax.environments.suites import vizdoom

ROOT = pathlib.Path(__file__).parents[3]
SECONDS = 120  # until an orphan has ended; it takes milliseconds
KILLED = """
import json, sys, psutil
from gato_jax.environments import load
environment = load("vizdoom/basic")
environment.reset()
[engine] = [child for child in psutil.Process().children() if "+viz_instance_id" in child.cmdline()]
words = engine.cmdline()
print(json.dumps([engine.pid, *(words[words.index(flag) + 1] for flag in ("+viz_instance_id", "-config"))]), flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def environment():
    made = load("vizdoom/my_way_home")
    yield made
    made.close()


def _engines():
    return [child for child in psutil.Process().children() if "+viz_instance_id" in child.cmdline()]


def test_every_button_of_every_level_exists():
    import vizdoom as package

    for level, (actions, _) in vizdoom.LEVELS.items():
        assert pathlib.Path(package.scenarios_path, f"{level}.cfg").exists()
        buttons = set().union(*(name.split("+") for name in actions.split())) - {"-"}
        assert buttons <= set(package.Button.__members__)
        assert len(set(actions.split())) == len(actions.split())


def test_an_episode_of_a_used_engine_is_that_of_a_fresh_one(environment, tmp_path, monkeypatch):
    def play(seed):
        environment.seed(seed)
        timesteps = [environment.reset(), *(environment.step({"action": np.array(n)}) for n in (3, 3, 4, 5, 1))]
        return [timestep.observation["image"] for timestep in timesteps], [t.reward for t in timesteps[1:]]

    monkeypatch.chdir(tmp_path)
    assert environment.action_names[4] == "MOVE_FORWARD+TURN_LEFT"
    fresh = play(3)
    assert list(tmp_path.iterdir()) == []  # the engine leaves its own folder wherever it is started
    other = play(4)
    used = play(3)
    np.testing.assert_array_equal(fresh[0], used[0])
    assert fresh[1] == used[1] and not np.array_equal(fresh[0], other[0])
    assert fresh[0][0].shape == (60, 80, 3) and environment.render().shape == (120, 160, 3)


def test_close_ends_the_engine_and_a_further_episode_starts_one(environment):
    environment.reset()
    [engine] = _engines()
    environment.close()
    assert not engine.is_running() or engine.wait(SECONDS) is not None
    environment.reset()
    assert len(_engines()) == 1


def test_another_process_is_refused(environment, monkeypatch):
    environment.reset()
    process = os.getpid()
    monkeypatch.setattr(os, "getpid", lambda: process + 1)
    environment.close()  # leaves the engine to its owner
    with pytest.raises(ForkedEnvironmentError, match=f"process {process} made"):
        environment.reset()
    monkeypatch.undo()
    assert not environment.step({"action": np.array(0)}).first()


def test_the_engine_of_a_killed_process_ends():
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED], cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdin and process.stdout
    pid, instance, config = json.loads(process.stdout.readline())
    engine = psutil.Process(pid)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    psutil.wait_procs([engine], timeout=SECONDS)
    assert not engine.is_running()
    deadline = time.monotonic() + SECONDS
    while _left(instance, config) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not _left(instance, config)


def _left(instance, config):
    """Returns the files that an engine uses."""
    shared = [path for path in pathlib.Path("/dev/shm").iterdir() if instance in path.name]
    return [*shared, *pathlib.Path(config).parent.glob("*")]
