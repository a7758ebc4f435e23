"""The ROS 2 node of the client against the server, with a stand-in of ROS."""

import json
import os
import pathlib
import signal
import subprocess
import time

import numpy as np
import pytest

from gato_jax.episodes import Image
from gato_jax.sources.pixels import fit_image
from tests.listening import listening
from tests.serving.made_server import SECRET, MadePolicy, serving
from tests.tokenization.made_tasks import ROBOT

CLIENT = pathlib.Path(__file__).parents[2] / "clients" / "gato_jax_client"
NODE = CLIENT / "examples" / "ros2_node.py"
CAMERAS = {"/front": (48, 64, "rgb8"), "/wrist": (32, 16, "bgr8")}
SAFE = [0.0, 0.25, -0.25, 0.5]


class RecordingPolicy(MadePolicy):
    """A policy that keeps what it saw and did."""

    def __init__(self):
        super().__init__(ROBOT)
        self.seen, self.done = [], []

    def act(self, observations):
        actions = super().act(observations)
        self.seen += observations.values()
        self.done += actions.values()
        return actions


@pytest.fixture
def node(tmp_path):
    """A function that starts the node and returns its process and the file of its calls."""
    token = tmp_path / "token"
    token.write_text(SECRET)
    token.chmod(0o600)

    def start(server, cameras=CAMERAS, silent_after=10**6, **parameters):
        parameters = {
            "address": server.address, "token_file": str(token), "instruction": "lift the cube", "command": "/commands",
            "images": ["camera/front=/front", "camera/wrist=/wrist"], "joints": "joints=/joint_states",
            "joint_names": ["a", "b", "c"], "safe_action": SAFE, "rate_hz": 20.0, **parameters,
        }  # fmt: skip
        environment = {
            "PATH": os.environ["PATH"], "PYTHONPATH": f"{CLIENT}:{pathlib.Path(__file__).parent / 'made_ros'}",
            "ROS_PARAMETERS": json.dumps(parameters), "ROS_RECORD": str(tmp_path / "record"),
            "ROS_CAMERAS": json.dumps(cameras), "ROS_SILENT_AFTER": str(silent_after),
        }  # fmt: skip
        process = subprocess.Popen(
            listening(NODE), env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        return process, tmp_path / "record"

    return start


def calls(file: pathlib.Path, kind: str) -> list:
    lines = file.read_text().splitlines() if file.exists() else []
    return [words[1:] for words in map(json.loads, lines) if words[0] == kind]


def test_the_node_has_sixty_lines_at_most():
    assert sum(bool(line.strip()) for line in NODE.read_text().splitlines()) <= 60


def test_it_sends_what_the_sensors_say_and_publishes_the_actions(node):
    policy = RecordingPolicy()
    with serving(policy, token=SECRET) as server:
        process, record = node(server, seconds=1.0, max_age_s=30.0)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert calls(record, "init") == [["no"]] and "ticks at 20 Hz" in calls(record, "log")[0][0]
    topics = [["/joint_states", "JointState"], ["/front", "Image"], ["/wrist", "Image"]]
    assert calls(record, "subscribe") == topics
    [*published, last] = [numbers for _, numbers in calls(record, "publish")]
    assert last == SAFE
    chosen = [[float(action["gripper"]), *action["arm"].tolist()] for action in policy.done]
    executed = [numbers for numbers in published if numbers != SAFE]
    assert executed and all(numbers in chosen for numbers in executed)
    seen, rng = policy.seen[-1], np.random.default_rng
    front, wrist = (rng(0).integers(256, size=(*size, 3), dtype=np.uint8) for size in ((48, 64), (32, 16)))
    np.testing.assert_array_equal(seen["camera/front"], fit_image(front, Image(height=32, width=32)))
    np.testing.assert_array_equal(seen["camera/wrist"], wrist[..., ::-1])
    np.testing.assert_array_equal(seen["joints"], np.float32([0.1, 0.2, 0.3]))
    assert seen["instruction"] == "lift the cube"


def test_ctrl_c_and_faults_end_with_the_safe_action(node):
    with serving(RecordingPolicy(), token=SECRET) as server:
        process, record = node(server, max_age_s=30.0)
        while process.poll() is None and len(calls(record, "publish")) < 3:
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0 and calls(record, "publish")[-1][1] == SAFE
        process, record = node(server, silent_after=30)
        _, err = process.communicate(timeout=60)
        assert "RuntimeError: joints: no message for 0.5 s" in err and calls(record, "publish")[-1][1] == SAFE
        process, record = node(server, cameras=CAMERAS | {"/front": (48, 64, "yuv422")})
        assert "encoding is yuv422, expected rgb8" in process.communicate(timeout=60)[1]
        process, record = node(server, safe_action=[0.0])
        assert "an action has 1 numbers, expected 4 for gripper, arm" in process.communicate(timeout=60)[1]
