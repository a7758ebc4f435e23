"""The real `lerobot-eval` and `lerobot-record` play the agent behind the server, through the policy `gato`."""

import os
import pathlib
import subprocess

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Image, TaskSpec, Text
from gato_jax.sources import open_source
from gato_jax.sources.pixels import fit_image
from tests.serving.lerobot_environment import CLIENTS, install_clients, lerobot_python
from tests.serving.made_server import SECRET, MadePolicy, played_locally, serving

SPEC = TaskSpec(
    suite="lerobot", task="made",
    observation={"state": Continuous(shape=(3,)), "images/front": Image(height=32, width=32), "instruction": Text()},
    action={"action": Continuous(shape=(2,), low=-1.0, high=1.0)},
)  # fmt: skip
TEXT = "lift the cube"


def test_the_policy_has_sixty_lines_at_most():
    text = (CLIENTS / "lerobot_policy_gato" / "lerobot_policy_gato.py").read_text()
    assert sum(bool(line.strip()) for line in text.splitlines()) <= 60


@pytest.fixture(scope="module")
def lerobot(tmp_path_factory):
    """A function that runs play_lerobot.py and returns what it wrote."""
    folder = tmp_path_factory.mktemp("lerobot")
    python, packages = lerobot_python(folder / "environment"), install_clients(folder / "packages")
    token = folder / "token"
    token.write_text(SECRET)
    token.chmod(0o600)

    def run(command: str, server, *words: str):
        file = folder / f"{command}.npz"
        policy = ["--policy.type=gato", f"--policy.address={server.address}", f"--policy.token_file={token}"]
        script = pathlib.Path(__file__).with_name("play_lerobot.py")
        environment = {**os.environ, "PYTHONPATH": str(packages), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub")}
        done = subprocess.run(
            [python, script, command, file, *policy, "--policy.device=cpu", *words], env=environment, cwd=folder,
            capture_output=True, text=True, timeout=1200,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        return dict(np.load(file))

    return run


def local_actions(seed: int, text: str, joints: np.ndarray, front: np.ndarray) -> np.ndarray:
    """The actions of the policy without a server, for an episode that the robot saw."""
    pictures = [fit_image(image, SPEC.observation["images/front"]) for image in front]
    seen = [{"state": s, "images/front": p, "instruction": text} for s, p in zip(joints, pictures, strict=True)]
    return np.stack([action["action"] for action in played_locally(SPEC, seed, seen)])


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_lerobot_eval_plays_two_robots_for_two_episodes(lerobot, tmp_path):
    with serving(MadePolicy(SPEC), token=SECRET) as server:
        words = ["--env.type=made", "--eval.batch_size=2", "--eval.n_episodes=4", f"--output_dir={tmp_path}"]
        saw = lerobot("eval", server, *words)
    for robot in range(2):
        joints, front, actions = (saw[f"{robot}_{name}"] for name in ("joints", "front", "action"))
        assert len(actions) == 12
        for episode in range(2):
            part = slice(6 * episode, 6 * episode + 6)
            local = local_actions(episode, "", joints[part], front[part])  # LeRobot finds no text behind gym.make
            np.testing.assert_array_equal(actions[part], local)


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_lerobot_record_records_the_actions_of_the_agent(lerobot, tmp_path):
    root = tmp_path / "made"
    with serving(MadePolicy(SPEC), token=SECRET) as server:
        words = ["--robot.type=made", "--dataset.repo_id=made/eval_made", f"--dataset.root={root}"]
        words += ["--dataset.num_episodes=1", "--dataset.episode_time_s=3", "--dataset.fps=10", "--dataset.vcodec=h264"]
        words += ["--dataset.push_to_hub=false", f"--dataset.single_task={TEXT}", "--play_sounds=false"]
        saw = lerobot("record", server, *words)
    local = local_actions(0, TEXT, saw["0_joints"], saw["0_front"])
    np.testing.assert_array_equal(saw["0_action"], local)
    [episode] = open_source(f"lerobot:{root}")
    assert len(local) > 3 and set(episode.observation["instruction"]) == {TEXT}
    np.testing.assert_array_equal(episode.action["action"], local)
    np.testing.assert_array_equal(episode.observation["state"], saw["0_joints"])
