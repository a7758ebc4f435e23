"""The client of robots against the server."""

import pathlib
import subprocess
import sys
import threading

import numpy as np
import pytest

from gato_jax.serving import Limits
from gato_jax_client import (
    ConnectionFailure,
    ControlLoop,
    PolicyClient,
    RefusedError,
    RobotError,
    SecretFileError,
    Smoothing,
    continuous,
    describe,
    discrete,
    image,
    read_secret,
    text,
)
from tests.serving.made_server import SECRET, MadePolicy, observation_of, played_locally, serving
from tests.tokenization.made_tasks import ROBOT, random_episode

KEYS = {"instruction": text(), "camera/wrist": image(32, 16), "camera/front": image(32, 32), "joints": continuous(3)}
ACTION = {"gripper": discrete(2), "arm": continuous(3, low=-0.5, high=0.5)}


def described(*, arm=ACTION["arm"], control_rate_hz=None, **changes) -> dict:
    observation = {key: value for key, value in (KEYS | changes).items() if value is not None}
    return describe(observation=observation, action=ACTION | {"arm": arm}, control_rate_hz=control_rate_hz)


SAFE = {"gripper": 0, "arm": [0.0, 0.0, 0.0]}


def test_actions_are_those_of_the_policy_and_latency_is_told():
    seen = [observation_of(ROBOT, step) for step in range(3)]
    robot = described()
    with serving(MadePolicy(), token=SECRET) as server:
        with PolicyClient(server.address, token=SECRET, task=ROBOT.name, robot=robot) as client:
            client.reset(seed=5)
            replies = [client.act(observation) for observation in seen]
        with pytest.raises(RefusedError, match="the token is missing or wrong"):
            PolicyClient(server.address, token=SECRET + "x")
        with pytest.raises(RefusedError, match="Add .task=suite/task"):
            PolicyClient(server.address, token=SECRET)
    with pytest.raises(ValueError, match="address is 'http://robot', expected ws://HOST:PORT"):
        PolicyClient("http://robot")
    for reply, local in zip(replies, played_locally(ROBOT, 5, seen), strict=True):
        assert all(np.array_equal(reply.action[key], local[key]) for key in local)
        assert 0 <= reply.server_s <= reply.latency_s
    assert [reply.begins for reply in replies] == [True, False, False] and client.reconnects == 0


def test_a_demonstration_is_sent_as_a_prompt():
    episode = random_episode(ROBOT, 0, 3)
    prompt = {"observation": dict(episode.observation), "action": dict(episode.action)}
    prompt["observation"]["instruction"] = list(episode.observation["instruction"])
    seen, policy = observation_of(ROBOT, 0), MadePolicy(ROBOT)
    policy.reset(policy.open(ROBOT.name), 5, episode)
    with serving(MadePolicy(ROBOT)) as server, PolicyClient(server.address) as client:
        client.reset(seed=5, prompt=prompt)
        local = policy.act({1: seen})[1]
        assert isinstance(local, dict)
        np.testing.assert_array_equal(client.act(seen).action["arm"], local["arm"])
        for wrong, said in (
            ({"observation": prompt["observation"]}, "no map with the keys observation and action"),
            (prompt | {"action": {"arm": np.zeros((3, 3))}}, "has the keys arm, expected gripper, arm"),
            (
                prompt | {"action": prompt["action"] | {"arm": np.zeros((3, 4))}},
                r"shape \(3, 4\), expected timesteps of",
            ),
            (prompt | {"action": prompt["action"] | {"arm": np.zeros((2, 3))}}, r"\[2, 3\] timesteps, expected one"),
        ):
            client.reset(prompt=wrong)
            with pytest.raises(RefusedError, match=said):
                client.act(seen)


@pytest.mark.parametrize(
    ("robot", "line"),
    [
        (described(joints=continuous(7)), "observation.joints.shape: [7] here, [3] in made/robot"),
        (described(arm=continuous(3, low=-1, high=0.5)), "action.arm.low: -1.0 here, -0.5 in made/robot"),
        (described(**{"camera/wrist": None}), "observation.camera/wrist.kind: missing here, 'image' in made/robot"),
        (described(control_rate_hz=20), "control_rate_hz: 20.0 here, None in made/robot"),
    ],
    ids=["joints", "limits", "camera", "rate"],
)
def test_a_robot_that_differs_is_refused_with_the_line_that_differs(robot, line):
    with serving(MadePolicy(ROBOT)) as server:
        with pytest.raises(RobotError) as refused:
            PolicyClient(server.address, robot=robot)
    assert line in str(refused.value)


@pytest.mark.parametrize(
    ("robot", "missing"),
    [
        ({"action": ACTION}, "it lacks observation. Make it with"),
        (
            described(joints={"kind": "continuous", "low": 0}),
            "it lacks observation.joints.shape, observation.joints.high.",
        ),
        (described(arm={"shape": [3]}), "it lacks action.arm.kind."),
        (described(arm=None), "it lacks action.arm.kind."),
    ],
)
def test_a_description_that_lacks_keys_is_refused_in_one_line_that_names_them(robot, missing):
    with serving(MadePolicy(ROBOT)) as server, pytest.raises(RobotError) as refused:
        PolicyClient(server.address, robot=robot)
    assert missing in str(refused.value) and "\n" not in str(refused.value)


def test_a_server_whose_spec_lacks_keys_is_refused_in_one_line(monkeypatch):
    spec = ROBOT.to_json()
    spec["action"]["arm"] = {"kind": "continuous", "shape": [3], "high": 0.5}
    monkeypatch.setattr(type(ROBOT), "to_json", lambda self: spec)
    with serving(MadePolicy(ROBOT)) as server, pytest.raises(RobotError) as refused:
        PolicyClient(server.address)
    assert str(refused.value).endswith("is incomplete: it lacks action.arm.low. Is it a server of gato_jax?")


@pytest.mark.parametrize(
    ("content", "mode", "said"),
    [
        ("", 0o600, "has 0 bytes, expected a token alone"),
        ("x" * 5000, 0o600, "has more than 4096 bytes"),
        (SECRET, 0o640, "has mode 0640, expected 0600"),
        (SECRET, 0o604, "Run: chmod 600 "),
    ],
)
def test_a_file_of_a_token_that_others_can_read_is_refused(tmp_path, content, mode, said):
    file = tmp_path / "token"
    file.write_text(content)
    file.chmod(mode)
    with pytest.raises(SecretFileError, match=said):
        read_secret(file)
    file.write_text(f"{SECRET}\n")
    file.chmod(0o400)
    assert read_secret(file) == SECRET
    with pytest.raises(SecretFileError, match="No such file"):
        read_secret(tmp_path / "none")


def test_it_connects_again_and_says_that_the_policy_has_forgotten():
    seen = [observation_of(ROBOT, step) for step in range(2)]
    with serving(MadePolicy(ROBOT)) as server:
        client = PolicyClient(server.address)
        client.reset(seed=1)
        client.act(seen[0])
        port = int(server.address.rpartition(":")[2])
    with serving(MadePolicy(ROBOT), port=port):
        reply = client.act(seen[1])
        client.close()
    assert reply.begins and client.reconnects == 1
    np.testing.assert_array_equal(reply.action["arm"], played_locally(ROBOT, 1, seen[1:])[0]["arm"])
    with pytest.raises(ConnectionFailure, match="cannot reach"):
        PolicyClient(server.address, attempts=1)


def test_a_late_action_is_never_taken_for_that_of_a_later_observation():
    gate = threading.Event()
    gate.set()
    seen = [observation_of(ROBOT, step) for step in range(2)]
    with serving(MadePolicy(ROBOT, gate=gate)) as server, PolicyClient(server.address, timeout_s=0.3) as client:
        client.reset(seed=1)
        gate.clear()
        with pytest.raises(ConnectionFailure, match="no action within 0.3 s"):
            client.act(seen[0])
        gate.set()
        client._timeout_s = 20.0
        np.testing.assert_array_equal(client.act(seen[1]).action["arm"], played_locally(ROBOT, 1, seen[1:])[0]["arm"])


def test_a_server_that_is_full_is_asked_again():
    with serving(MadePolicy(ROBOT), limits=Limits(connections=1)) as server, PolicyClient(server.address) as first:
        threading.Timer(0.2, first.close).start()
        PolicyClient(server.address, attempts=10).close()
        with PolicyClient(server.address), pytest.raises(RefusedError, match="the server is full: it serves 1"):
            PolicyClient(server.address, attempts=1)


class Arm:
    def __init__(self):
        self.applied = []

    def observe(self):
        return observation_of(ROBOT, len(self.applied))

    def apply(self, action):
        self.applied.append(action)


def test_a_loop_drives_a_robot_and_ends_with_the_safe_action():
    arm = Arm()
    with serving(MadePolicy(ROBOT)) as server, PolicyClient(server.address) as client:
        loop = ControlLoop(client, arm, rate_hz=10, safe_action=SAFE, smoothing=Smoothing(method="hold"))
        report = loop.run(seconds=0.5)
        assert report.ticks + report.skipped == 5 and len(arm.applied) == report.ticks + 1
        assert arm.applied[-1]["arm"].tolist() == SAFE["arm"] and "ticks at 10 Hz" in str(report)
        assert sum(report.histogram().values()) == report.ticks == len(report.lateness_s)
        arm.observe = lambda: {"joints": 1}
        with pytest.raises(RefusedError, match="'instruction' is missing"):
            loop.run(seconds=5)
        for wrong, said in ((SAFE | {"arm": [9, 0, 0]}, "the safe action: 'arm' is"), ({}, "expected gripper, arm")):
            with pytest.raises(RobotError, match=said):
                ControlLoop(client, arm, rate_hz=10, safe_action=wrong, smoothing=Smoothing(method="hold"))
        with pytest.raises(ValueError, match="rate_hz is 100, expected 5 to 60"):
            ControlLoop(client, arm, rate_hz=100, safe_action=SAFE, smoothing=Smoothing(method="hold"))


def test_the_client_needs_neither_jax_nor_gato_jax():
    code = "import sys, gato_jax_client; print({'gato_jax', 'jax', 'PIL'} & set(sys.modules))"
    folder = pathlib.Path(__file__).parents[2] / "clients/gato_jax_client"
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, env={}, check=True)
    assert done.stdout == "set()\n"
