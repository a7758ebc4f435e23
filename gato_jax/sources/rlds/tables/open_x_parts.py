"""Datasets of Open X-Embodiment whose action is a tree, such as `action/world_vector`; each leaf is an action key.

Features and the meaning of actions are from TFDS's catalogue and the releases of the laboratories, control rates from
the release's spreadsheet. `terminate_episode` and the motion of bases, which stand still, are left out. Where a comment
says that a limit is chosen, no source gives one.
"""

from __future__ import annotations

import math

from gato_jax.episodes import Continuous, Discrete, Gripper
from gato_jax.sources.rlds.tables.entry import Field, RldsEntry, arm, box, vector

_BINARY = Discrete(n=2)
_GRIPPER = "gripper_closedness_action"


def _motion(metres: float, radians: float) -> dict[str, Field]:
    """Return the actions `world_vector` and `rotation_delta`, three elements each, which move and rotate the gripper.

    Their limits are plus and minus `metres` and `radians`.
    """
    return {
        "world_vector": ("action/world_vector", box((3, -metres, metres))),
        "rotation_delta": ("action/rotation_delta", box((3, -radians, radians))),
    }


def _gripper_closedness(size: int = 1) -> dict[str, Field]:
    """Return the action of the gripper in [-1, 1]: a vector of one element (size 1) or a number (size 0)."""
    return {_GRIPPER: (f"action/{_GRIPPER}", Continuous(shape=(1,) * size, low=-1.0, high=1.0))}


_OPEN_GRIPPER = {"open_gripper": ("action/open_gripper", _BINARY)}
_CONTINUOUS = Gripper(kind="continuous", action=_GRIPPER)
_OPEN_OR_CLOSED = Gripper(kind="binary", action="open_gripper")

OPEN_X_PARTS: dict[str, RldsEntry] = dict(
    [
        # An earlier form of bridge_dataset, with the same limits. The first action of an episode is 0.
        arm(
            "bridge",
            robot="WidowX 250",
            collector="RAIL, UC Berkeley, and partners",
            control_rate_hz=5.0,
            cameras=("image",),
            state={"state": vector(7)},
            actions=_motion(0.05, 0.25) | _OPEN_GRIPPER,
            meaning="change of position (m) and of roll, pitch, yaw (rad) in the base frame; gripper 1 open, 0 closed",
            gripper=_OPEN_OR_CLOSED,
        ),
        # Rotation has RT-1's own limits, a quarter turn. RT-1 limits the position to 1 m, which no arm reaches in a
        # third of a second; 0.3 m is about the speed of this one.
        arm(
            "fractal20220817_data",
            robot="Google robot",
            collector="Google",
            control_rate_hz=3.0,
            cameras=("image",),
            state={"base_pose_tool_reached": vector(7), "gripper_closed": vector(1)},
            actions=_motion(0.3, math.pi / 2) | _gripper_closedness(),
            meaning="change of position (m) and of roll, pitch, yaw (rad) relative to the base; gripper 1 closes, -1 "
            "opens, 0 leaves it",
            gripper=_CONTINUOUS,
        ),
        # QT-Opt rotates about the vertical only, by any angle. 0.2 m in 0.1 s is chosen, more than an iiwa moves.
        arm(
            "kuka",
            robot="Kuka iiwa",
            collector="Google",
            control_rate_hz=10.0,
            cameras=("image",),
            state={"clip_function_input/base_pose_tool_reached": vector(7), "gripper_closed": vector(1)},
            actions=_motion(0.2, math.pi) | _gripper_closedness(),
            meaning="change of position (m) and of the angle about the vertical (rad, third); gripper 1 closes, -1 "
            "opens, 0 leaves it",
            gripper=_CONTINUOUS,
            success="/success",
            agent="QT-Opt and scripted policies",
        ),
        # Relative actions are scaled to [-1, 1], as in CALVIN. The catalogue says that -1 opens the gripper, other
        # users read 1 as open; the numbers are not changed here.
        arm(
            "taco_play",
            robot="Franka Panda",
            collector="University of Freiburg",
            control_rate_hz=15.0,
            cameras=("rgb_static", "rgb_gripper"),
            state={"robot_obs": vector(15)},
            actions={"rel_actions_world": ("action/rel_actions_world", box((7, -1.0, 1.0)))},
            meaning="scaled change of position and of Euler angles in the base frame; gripper -1 open, 1 closed",
            gripper=Gripper(kind="binary", action="rel_actions_world", elements=(6,)),
        ),
        # 0.2 m is the largest change that the joystick commands. The laboratory's own release has the same licence.
        arm(
            "jaco_play",
            robot="Kinova Jaco 2",
            collector="CLVR, University of Southern California",
            control_rate_hz=10.0,
            cameras=("image", "image_wrist"),
            state={"end_effector_cartesian_pos": vector(7), "joint_pos": vector(8)},
            actions={"world_vector": ("action/world_vector", box((3, -0.2, 0.2)))} | _gripper_closedness(),
            meaning="change of position (m); gripper 1 closes, -1 opens, 0 leaves it",
            gripper=_CONTINUOUS,
        ),
        # The task is slow, and the gripper holds the cable throughout. 1 m/s and 1 rad/s are chosen.
        arm(
            "berkeley_cable_routing",
            robot="Franka Panda",
            collector="UC Berkeley",
            control_rate_hz=10.0,
            cameras=("image", "top_image", "wrist45_image", "wrist225_image"),
            state={"robot_state": vector(7)},
            actions=_motion(1.0, 1.0),
            meaning="velocity of position (m/s) and angular velocity about the vertical (rad/s, third); no gripper",
            gripper=None,
        ),
        # The release does not bound the commands of the phone. 0.25 m and 1 rad in 0.1 s are chosen.
        arm(
            "roboturk",
            robot="Rethink Sawyer",
            collector="Stanford University",
            control_rate_hz=10.0,
            cameras=("front_rgb",),
            state={},
            actions=_motion(0.25, 1.0) | _gripper_closedness(),
            meaning="change of position (m) and of orientation (rad), from a phone; gripper above 0 closed, else open",
            gripper=_CONTINUOUS,
        ),
        # The actions are the normalised inputs of the operational-space controller.
        arm(
            "viola",
            robot="Franka Panda",
            collector="UT Austin",
            control_rate_hz=20.0,
            cameras=("agentview_rgb", "eye_in_hand_rgb"),
            state={"joint_states": vector(7), "gripper_states": vector(1)},
            actions=_motion(1.0, 1.0) | _gripper_closedness(0),
            meaning="normalised change of position and of axis-angle, from a 3D mouse; gripper 1 closed, -1 open",
            gripper=_CONTINUOUS,
        ),
        # Steps of teleoperation at 5 Hz are at most a few centimetres. 0.05 m and 0.15 rad are chosen.
        arm(
            "berkeley_autolab_ur5",
            robot="UR5",
            collector="AUTOLab, UC Berkeley",
            control_rate_hz=5.0,
            cameras=("image", "hand_image"),
            bgr=("hand_image",),
            state={"robot_state": vector(15)},
            actions=_motion(0.05, 0.15) | _gripper_closedness(0),
            meaning="change of position (m) and of roll, pitch, yaw (rad); gripper 1 closes, -1 opens, 0 leaves it",
            gripper=_CONTINUOUS,
        ),
        # The catalogue does not give the meaning. The values lie in the workspace and not around 0, so they are poses.
        arm(
            "toto",
            robot="Franka Panda",
            collector="Carnegie Mellon University and Meta AI",
            control_rate_hz=30.0,
            cameras=("image",),
            state={"state": vector(7)},
            actions=_motion(1.0, math.pi) | _OPEN_GRIPPER,
            meaning="absolute position (m) and roll, pitch, yaw (rad) that are commanded; gripper 1 open, 0 closed",
            gripper=_OPEN_OR_CLOSED,
        ),
        # The limits are those of the release's own environment. The rate is the spreadsheet's; the paper acts at 5 Hz.
        # The release's own training code leaves the last step out, as its action has no meaning.
        arm(
            "language_table",
            robot="xArm 6",
            collector="Google",
            control_rate_hz=10.0,
            cameras=("rgb",),
            state={"effector_translation": vector(2)},
            instruction="code_points(observation/instruction)",
            actions={"action": ("action", box((2, -0.1, 0.1)))},
            meaning="change of the cylinder's position on the table (m)",
            gripper=None,
            location="gs://gresearch/robotics/language_table/0.0.1",
            final_observation=True,
        ),
        # Each step holds the next ten actions, of which the first is read. 0.1 m and 0.5 rad in 0.1 s are chosen.
        arm(
            "bc_z",
            robot="Google robot",
            collector="Google",
            control_rate_hz=10.0,
            cameras=("image",),
            state={
                "present/xyz": vector(3),
                "present/axis_angle": vector(3),
                "present/sensed_close": vector(1),
            },
            actions={
                "xyz_residual": ("action/future/xyz_residual[0:3]", box((3, -0.1, 0.1))),
                "axis_angle_residual": ("action/future/axis_angle_residual[0:3]", box((3, -0.5, 0.5))),
                "target_close": ("action/future/target_close[0:1]", Discrete(n=2, shape=(1,))),
            },
            meaning="change of position (m) and of axis-angle (rad); gripper 1 closed, 0 open",
            gripper=Gripper(kind="binary", action="target_close"),
            success="observation/episode_success",
            agent="teleoperation, and a policy that people corrected",
        ),
        # The actions are rates that the operator of a hand-held pad commands. DROID's controller takes them in [-1, 1].
        arm(
            "droid",
            robot="Franka Panda",
            collector="the DROID consortium",
            control_rate_hz=15.0,
            cameras=("exterior_image_1_left", "exterior_image_2_left", "wrist_image_left"),
            state={"cartesian_position": vector(6), "joint_position": vector(7), "gripper_position": vector(1)},
            instruction="language_instruction",
            actions={
                "cartesian_velocity": ("action_dict/cartesian_velocity", box((6, -1.0, 1.0))),
                "gripper_position": ("action_dict/gripper_position", box((1, 0.0, 1.0))),
            },
            meaning="normalised velocity of position and of Euler angles in the base frame; gripper 1 closed, 0 open",
            gripper=Gripper(kind="continuous", action="gripper_position"),
            location="gs://gresearch/robotics/droid/1.0.0",
        ),
        # The actions are poses near the robot; 2 m is chosen. The dataset has no rewards and no licence, and its only
        # instruction is the code of the task.
        arm(
            "mt_opt/rlds",
            robot="Kuka iiwa",
            collector="Google",
            control_rate_hz=10.0,
            cameras=("image",),
            state={"state_dense": vector(7), "gripper_closed": _BINARY, "height_to_bottom": Continuous(shape=())},
            instruction="/task_code",
            actions={
                "target_pose": ("action/target_pose", box((3, -2.0, 2.0), (4, -1.0, 1.0))),
                "close_gripper": ("action/close_gripper", _BINARY),
                "open_gripper": ("action/open_gripper", _BINARY),
            },
            meaning="absolute position (m) and quaternion to go to; one flag closes the gripper, another opens it",
            gripper=Gripper(kind="binary", action="close_gripper"),
            reward=None,
            agent="MT-Opt and scripted policies",
            licence="unknown",
            location="gs://gresearch/robotics/mt_opt_rlds/1.0.0",
        ),
    ]
)
