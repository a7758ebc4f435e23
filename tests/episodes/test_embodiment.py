"""A body that contradicts itself or its task is refused by name; any other survives JSON."""

import dataclasses
import json
import math

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from gato_jax.episodes import (
    Camera,
    Continuous,
    Discrete,
    Embodiment,
    Gripper,
    Image,
    Joint,
    SpecError,
    TaskSpec,
    Text,
)
from tests.episodes.unchecked import unchecked

OBSERVATION = {
    "front/rgb": Image(height=48, width=64),
    "wrist/rgb": Image(height=32, width=32),
    "joints": Continuous(shape=(3,)),
}
ACTION = {
    "arm": Continuous(shape=(3,), low=(-3.0, -1.0, 0.0), high=(3.0, 1.0, 0.5)),
    "hand": Continuous(shape=(2, 2), low=-1.0, high=(1.0, 1.0, 1.0, math.inf)),
    "grip": Continuous(shape=(), low=0.0, high=1.0),
    "stuck": Continuous(shape=(1,), low=0.0, high=0.0),
    "buttons": Discrete(n=2, shape=(3,)),
    "level": Discrete(n=5),
    "free": Continuous(shape=(1,)),
    "say": Text(),
}
JOINTS = (
    Joint(name="turn", kind="revolute", low=-math.inf, high=math.inf),
    Joint(name="bend", kind="revolute", low=-1.0, high=1.5),
    Joint(name="lift", kind="prismatic", low=0.0, high=0.5),
)
POSE = np.array([[0.0, -1.0, 0.0, 0.5], [1.0, 0.0, 0.0, -0.25], [0.0, 0.0, 1.0, 2.0], [0.0, 0.0, 0.0, 1.0]], np.float64)


def task(**body) -> TaskSpec:
    return TaskSpec(
        suite="lab",
        task="lift",
        observation=OBSERVATION,
        action=ACTION,
        embodiment=Embodiment(**{"robot": "arm", **body}),
    )


def through_json(spec: TaskSpec) -> TaskSpec:
    return TaskSpec.from_json(json.loads(json.dumps(spec.to_json(), allow_nan=False)))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"name": ""}, "Joint.name is '', expected a non-empty string"),
        ({"kind": "ball"}, "joint 'elbow'.kind is 'ball', expected 'revolute' or 'prismatic'"),
        ({"low": 1.0}, "joint 'elbow': low 1.0 is not below high 1.0"),
        ({"low": math.nan}, "joint 'elbow': low nan is not below high 1.0"),
        ({"low": "far"}, "joint 'elbow'.low is 'far', expected float"),
        ({"high": 90.0}, "joint 'elbow': high is 90.0, which looks like degrees; give radians"),
        ({"low": -4 * math.pi - 1e-9}, "low is -12.56.*, which looks like degrees"),
        ({"low": -math.inf}, "limits -inf and 1.0; a joint that turns without end has two infinite ones"),
        (
            {"kind": "prismatic", "high": math.inf},
            "high is inf, expected a finite limit of a prismatic joint; give it in metres",
        ),
    ],
)
def test_a_joint_that_contradicts_itself(fields, said):
    with pytest.raises(SpecError, match=said):
        unchecked(Joint, **{"name": "elbow", "kind": "revolute", "low": -1.0, "high": 1.0, **fields})


def test_joints_at_the_border_of_what_is_allowed():
    assert Joint(name="wrist", kind="revolute", low=-4 * math.pi, high=4 * math.pi).high == 4 * math.pi
    assert Joint(name="rail", kind="prismatic", low=-20.0, high=100.0).high == 100.0


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "suction"}, "gripper.kind is 'suction', expected 'binary' or 'continuous' or 'pose'"),
        ({"action": ["grip"]}, r"gripper.action is \['grip'\], expected str or None"),
        ({"elements": (6,)}, r"gripper.elements is \(6,\), but gripper.action is None; name the action"),
        ({"action": "grip", "elements": (0, 0)}, r"gripper.elements is \(0, 0\), expected distinct indices from 0"),
        ({"action": "grip", "elements": (-1,)}, r"gripper.elements is \(-1,\), expected distinct indices from 0"),
        ({"action": "grip", "elements": (0.0,)}, r"gripper.elements\[0\] is 0.0, expected int"),
    ],
)
def test_a_gripper_that_contradicts_itself(fields, said):
    with pytest.raises(SpecError, match=said):
        unchecked(Gripper, **{"kind": "continuous", **fields})


@pytest.mark.parametrize(
    ("gripper", "said"),
    [
        ({"action": "grp"}, "action is 'grp', but action 'grp' is missing; nearest .*: 'grip'"),
        ({"action": "say"}, r"action is 'say', but action 'say' is Text\(\)"),
        ({"action": "hand", "elements": (4,)}, r"elements is \(4,\), action 'hand' has elements 0 to 3"),
        ({"action": "arm"}, "a continuous gripper needs one element, got 3 of action 'arm'; name them"),
        ({"kind": "binary", "action": "buttons"}, "a binary gripper needs one element, got 3 of action 'buttons'"),
        ({"kind": "pose", "action": "grip"}, "a pose gripper needs two or more elements, got 1 of action 'grip'"),
        ({"action": "level"}, r"a continuous gripper cannot be commanded by 'level', Discrete\(n=5"),
        ({"kind": "binary", "action": "level"}, r"binary gripper cannot be commanded by 'level'.*Discrete\(n=2\)"),
        ({"kind": "pose", "action": "buttons"}, "a pose gripper cannot be commanded by 'buttons'"),
        ({"kind": "pose", "action": "hand"}, r"have limits .*\[1.0, 1.0, 1.0, inf\]; give finite ones"),
        ({"action": "hand", "elements": (3,)}, r"have limits \[-1.0\] and \[inf\]; give finite ones"),
        ({"kind": "binary", "action": "stuck"}, r"have limits \[0.0\] and \[0.0\]; give finite ones, low below high"),
    ],
)
def test_a_gripper_that_its_action_contradicts(gripper, said):
    with pytest.raises(SpecError, match=f"lab/lift: embodiment.gripper.*{said}"):
        task(gripper=Gripper(**{"kind": "continuous", **gripper}))


@pytest.mark.parametrize(
    "gripper",
    [
        Gripper(kind="pose"),
        Gripper(kind="binary", action="grip"),
        Gripper(kind="binary", action="buttons", elements=(2,)),
        Gripper(kind="continuous", action="hand", elements=(2,)),
        Gripper(kind="pose", action="hand", elements=(0, 2)),
        Gripper(kind="pose", action="arm"),
    ],
)
def test_grippers_that_fit_their_action(gripper):
    assert through_json(task(gripper=gripper)).embodiment.gripper == gripper


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ({"key": ""}, "Camera.key is '', expected a non-empty string"),
        ({"intrinsics": (50.0, 50.0, 32.0)}, "camera 'front/rgb': intrinsics is .*, expected 4 numbers"),
        ({"intrinsics": (50.0, math.inf, 32.0, 24.0)}, "intrinsics .* are not all finite"),
        ({"intrinsics": (0.0, 50.0, 32.0, 24.0)}, r"focal lengths \(0.0, 50.0\) must be positive"),
        ({"intrinsics": 50.0}, "intrinsics is 50.0, expected a list of float or None"),
        ({"extrinsics": tuple(POSE.ravel()[:12])}, "extrinsics is .*, expected 16 numbers"),
        ({"extrinsics": (math.nan,) * 16}, r"extrinsics .*nan.* are not all finite"),
        ({"extrinsics": (math.inf,) * 16}, "extrinsics .* are not all finite"),
    ],
)
def test_a_camera_that_contradicts_itself(camera, said):
    with pytest.raises(SpecError, match=said):
        unchecked(Camera, **{"key": "front/rgb", **camera})


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pose: pose.T, r"transposed pose: \[0.5, -0.25, 2.0, 1.0\] belongs into the last column"),
        (lambda pose: pose + np.eye(4)[3], r"last row \[0.0, 0.0, 0.0, 2.0\], needs 0, 0, 0, 1"),
        (lambda pose: pose * [[1.0, 1.0, -1.0, 1.0]], "reflection, determinant -1"),
        (lambda pose: pose * [[2.5], [2.5], [2.5], [1.0]], "rotation scaled by 2.5; divide"),
        (lambda pose: pose * [[1.002, 1.0, 1.0, 1.0]], "columns are not orthonormal"),
        (lambda pose: np.diag([0.0, 0.0, 0.0, 1.0]), "columns are not orthonormal"),
        (lambda pose: pose + np.eye(4)[[2, 3, 3, 3]] * [[1.0], [0.0], [0.0], [0.0]], "columns are not orthonormal"),
    ],
)
def test_extrinsics_that_are_no_pose(change, said):
    with pytest.raises(SpecError, match=f"camera 'wrist': extrinsics.*{said}"):
        Camera(key="wrist", extrinsics=tuple(change(POSE).ravel().tolist()))


def test_extrinsics_may_be_rounded():
    rounded = POSE + 4e-4 * np.array([[1, 1, -1, 0], [-1, 1, 1, 0], [1, -1, 1, 0], [0, 0, 0, 0]], np.float64)
    camera = Camera(key="front/rgb", extrinsics=tuple(rounded.ravel().tolist()))
    assert camera.extrinsics[3] == 0.5


@pytest.mark.parametrize(
    ("camera", "said"),
    [
        ({"key": "front/rbg"}, r"cameras\[1\].key is 'front/rbg', but .* is missing; nearest Image: 'front/rgb'"),
        ({"key": "joints"}, r"cameras\[1\].key is 'joints', but observation 'joints' is Continuous.*; nearest Image: "),
        ({"intrinsics": (60.0, 60.0, 64.0, 24.0)}, r"principal point \(64.0, 24.0\) .* 64 wide and 48 high; scale"),
        ({"intrinsics": (60.0, 60.0, 32.0, 48.0)}, r"principal point \(32.0, 48.0\) of 'front/rgb' is outside"),
        ({"intrinsics": (60.0, 60.0, -1.0, 24.0)}, r"principal point \(-1.0, 24.0\) of 'front/rgb' is outside"),
    ],
)
def test_a_camera_that_its_observation_contradicts(camera, said):
    with pytest.raises(SpecError, match=f"lab/lift: embodiment.*{said}"):
        task(cameras=(Camera(key="wrist/rgb"), Camera(**{"key": "front/rgb", **camera})))


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"robot": ""}, "embodiment.robot is '', expected a non-empty string"),
        ({"cameras": (Camera(key="a"), Camera(key="a"))}, "embodiment.cameras: 'a' occurs twice; remove or rename one"),
        ({"joints": (JOINTS[0], JOINTS[0])}, "embodiment.joints: 'turn' occurs twice"),
        (
            {"joints": (JOINTS[0], "elbow")},
            r"embodiment.joints\[1\] is 'elbow', expected an object with the keys name, kind",
        ),
        (
            {"cameras": Camera(key="a")},
            "embodiment.cameras is Camera.*, expected a list of an object with the keys key",
        ),
        ({"gripper": "binary"}, "embodiment.gripper is 'binary', expected an object with the keys kind, action"),
        ({"joint_targets": ("arm",)}, r"embodiment.joint_targets is \('arm',\), expected str or None"),
        ({"joint_targets": "arm"}, "embodiment.joint_targets is 'arm', but joints is empty; give them"),
    ],
)
def test_a_body_that_contradicts_itself(body, said):
    with pytest.raises(SpecError, match=said):
        unchecked(Embodiment, **{"robot": "arm", **body})


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"joint_targets": "arn"}, "joint_targets is 'arn', but action 'arn' is missing; nearest Continuous: 'arm'"),
        ({"joint_targets": "level"}, r"joint_targets is 'level', but action 'level' is Discrete\(n=5"),
        (
            {"joints": JOINTS[1:2], "joint_targets": "free"},
            r"'free' commands joint 'bend' within \[-inf, inf\], its lim",
        ),
        ({"joints": JOINTS[:2]}, "joint_targets: 'arm' has 3 elements for 2 joints; give one each"),
        (
            {"joints": (*JOINTS[:2], dataclasses.replace(JOINTS[2], high=0.4))},
            r"'arm' commands joint 'lift' within \[0.0, 0.5\], its limits are \[0.0, 0.4\]; narrow the action",
        ),
        (
            {"joints": (dataclasses.replace(JOINTS[0], low=-2.0, high=3.0), *JOINTS[1:])},
            r"'arm' commands joint 'turn' within \[-3.0, 3.0\], its limits are \[-2.0, 3.0\]",
        ),
    ],
)
def test_joint_targets_that_the_action_contradicts(body, said):
    with pytest.raises(SpecError, match=f"lab/lift: embodiment.*{said}"):
        task(**{"joints": JOINTS, "joint_targets": "arm", **body})


def test_a_joint_without_end_may_have_targets_without_limits():
    assert task(joints=JOINTS[:1], joint_targets="free").embodiment.joints == JOINTS[:1]


def test_limits_of_targets_may_have_been_float32():
    high = 2.8973
    assert float(np.float32(high)) > high
    joint = Joint(name="panda_joint1", kind="revolute", low=-high, high=high)
    arm = Continuous(shape=(1,), low=-float(np.float32(high)), high=float(np.float32(high)))
    body = Embodiment(robot="panda", joints=(joint,), joint_targets="arm")
    spec = TaskSpec(suite="lab", task="reach", observation={}, action={"arm": arm}, embodiment=body)
    assert spec.embodiment == body


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (
            lambda body: body.update(grippper=None),
            "lab/lift: spec.embodiment has the unknown key 'grippper'. Did you mean 'gripper'",
        ),
        (lambda body: body.pop("robot"), "lab/lift: spec.embodiment lacks the key 'robot'"),
        (
            lambda body: body.update(gripper="binary"),
            "spec.embodiment.gripper is 'binary', expected an object with the keys kind",
        ),
        (lambda body: body.update(cameras="front"), "spec.embodiment.cameras is 'front', expected a list"),
        (lambda body: body["joints"][1].update(unit="m"), r"spec.embodiment.joints\[1\] has the unknown key 'unit'"),
        (
            lambda body: body["joints"][1].update(low="nan"),
            r"lab/lift: spec.embodiment.joints\[1\].low is 'nan', expected float",
        ),
    ],
)
def test_json_of_a_body_that_says_something_else(change, said):
    fields = task(joints=JOINTS).to_json()
    change(fields["embodiment"])
    with pytest.raises(SpecError, match=said):
        TaskSpec.from_json(fields)


def test_an_endless_joint_in_json():
    fields = task(joints=JOINTS, joint_targets="arm").to_json()["embodiment"]
    assert fields["joints"][0] == {"name": "turn", "kind": "revolute", "low": "-inf", "high": "inf"}


finite = st.floats(-4, 4)
names = st.text(min_size=1, max_size=6)


@st.composite
def joints(draw) -> Joint:
    kind = draw(st.sampled_from(["revolute", "prismatic"]))
    low, high = sorted(draw(st.lists(finite, min_size=2, max_size=2, unique=True)))
    endless = kind == "revolute" and draw(st.booleans())
    limits = {"low": -math.inf, "high": math.inf} if endless else {"low": low, "high": high}
    return Joint(name=draw(names), kind=kind, **limits)


@st.composite
def cameras(draw, key: str) -> Camera:
    inside = st.floats(0, 31)
    focal = st.floats(1e-3, 1e6)
    intrinsics = draw(st.none() | st.tuples(focal, focal, inside, inside))
    a, b = draw(st.tuples(st.floats(-math.pi, math.pi), st.floats(-math.pi, math.pi)))
    about_z = np.array([[math.cos(a), -math.sin(a), 0], [math.sin(a), math.cos(a), 0], [0, 0, 1]], np.float64)
    about_x = np.array([[1, 0, 0], [0, math.cos(b), -math.sin(b)], [0, math.sin(b), math.cos(b)]], np.float64)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = about_z @ about_x, draw(st.lists(finite, min_size=3, max_size=3))
    extrinsics = tuple(pose.ravel().tolist()) if draw(st.booleans()) else None
    return Camera(key=key, intrinsics=intrinsics, extrinsics=extrinsics)


grippers = st.one_of(
    st.builds(Gripper, kind=st.sampled_from(["binary", "continuous", "pose"])),
    st.builds(
        Gripper, kind=st.sampled_from(["binary", "continuous"]), action=st.just("arm"),
        elements=st.tuples(st.integers(0, 2)),
    ),
    st.builds(
        Gripper, kind=st.just("pose"), action=st.just("arm"),
        elements=st.lists(st.integers(0, 2), min_size=2, max_size=3, unique=True).map(tuple),
    ),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the checker of signatures draws what it checks
@hypothesis.settings(max_examples=150, deadline=None)
@hypothesis.given(st.data())
def test_round_trip_of_any_body(data):
    keys = data.draw(st.sets(st.sampled_from(["front/rgb", "wrist/rgb"])))
    body = {
        "robot": data.draw(names),
        "joints": tuple(data.draw(st.lists(joints(), max_size=4, unique_by=lambda joint: joint.name))),
        "gripper": data.draw(st.none() | grippers),
        "cameras": tuple(data.draw(cameras(key)) for key in sorted(keys)),
    }
    spec = task(**body)
    assert through_json(spec) == spec and spec.embodiment == Embodiment(**body)
