"""The real clients of openpi and vla-eval drive an episode to its end, each in an environment of its own."""

import json
import pathlib
import subprocess
import venv

import numpy as np
import pytest

from tests.serving.made_server import SECRET, MadePolicy, observation_of, played_locally, serving
from tests.tokenization.made_tasks import ROBOT

HERE = pathlib.Path(__file__).parent
STEPS = 20


@pytest.fixture
def recording(tmp_path):
    """Observations with pictures in a file, and the actions of the policy that no server is between."""
    rng = np.random.default_rng(0)
    seen = [observation_of(ROBOT, step) for step in range(STEPS)]
    for observation in seen:
        for key in ("camera/wrist", "camera/front"):
            observation[key] = rng.integers(256, size=observation[key].shape, dtype=np.uint8)
    keys = [key for key in ROBOT.observation if key != "instruction"]
    arrays = {key: np.stack([observation[key] for observation in seen]) for key in keys}
    np.savez(tmp_path / "seen.npz", **arrays)
    actions = played_locally(ROBOT, 0, seen)
    return tmp_path / "seen.npz", [[int(action["gripper"]), *action["arm"].tolist()] for action in actions]


def play(folder: pathlib.Path, packages: list[str], *words: object) -> list:
    """Run a script in a new environment that holds packages; skip where the package index is not reached."""
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    installed = subprocess.run([python, "-m", "pip", "install", "-q", *packages], capture_output=True, text=True)
    if installed.returncode:
        pytest.skip(f"cannot install {packages}: {installed.stderr[-200:]}")
    done = subprocess.run([python, *map(str, words)], capture_output=True, text=True, cwd=folder, timeout=200)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.slow
def test_the_client_of_openpi(recording, tmp_path):
    path, local = recording
    with serving(MadePolicy(ROBOT), token=SECRET) as server:
        port = server.address.rpartition(":")[2]
        words = HERE / "play_openpi.py", "127.0.0.1", port, SECRET, path
        assert play(tmp_path / "environment", ["openpi-client==0.1.2", "typing_extensions"], *words) == local


@pytest.mark.slow
def test_the_client_of_vla_eval(recording, tmp_path):
    path, local = recording
    with serving(MadePolicy(ROBOT), token=SECRET) as server:
        address = server.address.replace("ws://", f"ws://robot:{SECRET}@") + "/vla_eval"
        assert play(tmp_path / "environment", ["vla-eval==0.8.0"], HERE / "play_vla_eval.py", address, path) == local
