"""Datasets of Open X-Embodiment whose action is one vector, most of them converted by their own laboratories.

Features and the meaning of actions are from TFDS's catalogue and the releases of the laboratories, control rates from
the release's spreadsheet. Elements that flag the end of an episode are left out. Where a comment says that a limit is
chosen, no source gives one.
"""

from __future__ import annotations

import functools
import math

from gato_jax.episodes import Continuous, Discrete, Gripper
from gato_jax.sources.rlds.tables.entry import RldsEntry, arm, box, vector

_arm = functools.partial(arm, instruction="language_instruction")
_BINARY = Gripper(kind="binary", action="action", elements=(6,))
_CONTINUOUS = Gripper(kind="continuous", action="action", elements=(6,))
# UT Austin's datasets record the normalised inputs of one operational-space controller.
_NORMALISED = {"action": ("action", box((7, -1.0, 1.0)))}
_NORMALISED_MEANING = "normalised change of position and of axis-angle; gripper 1 closed, -1 open"

OPEN_X_VECTORS: dict[str, RldsEntry] = dict(
    [
        # BridgeData V2 as its own laboratory publishes it. The first two of its four cameras are read: image_0 looks
        # over the shoulder in every episode; image_1 looks from another side in many episodes and is black in the
        # others.
        #
        # The state is the position of the end effector (metres), roll, pitch, yaw (radians) and the opening of the
        # gripper in [0, 1]. In the published statistics of actions, the 1% and 99% quantiles are within 0.042 m and
        # 0.208 rad. The extremes, 0.4 m and 6.3 rad, are not motions of the arm in 0.2 s and would be useless as
        # limits.
        _arm(
            "bridge_dataset",
            robot="WidowX 250",
            collector="RAIL, UC Berkeley, and partners",
            control_rate_hz=5.0,
            cameras=("image_0", "image_1"),
            state={"state": vector(7)},
            actions={"action": ("action", box((3, -0.05, 0.05), (3, -0.25, 0.25), (1, 0.0, 1.0)))},
            meaning="change of position (m) and of roll, pitch, yaw (rad) in the base frame; gripper 1 open, 0 closed",
            gripper=_CONTINUOUS,
            agent="teleoperation and scripted policies",
            location="https://rail.eecs.berkeley.edu/datasets/bridge_release/data/tfds/bridge_dataset/1.0.0",
        ),
        # Seven kinds of arms make about one step a second. 0.15 m and 1 rad are chosen.
        _arm(
            "robo_net",
            robot="several: Sawyer, Baxter, WidowX, Franka, Kuka, Fetch",
            collector="RoboNet's laboratories",
            control_rate_hz=1.0,
            cameras=("image", "image1"),
            state={"state": vector(5)},
            actions={"action": ("action", box((3, -0.15, 0.15), (1, -1.0, 1.0), (1, -1.0, 1.0)))},
            meaning="change of position (m) and of the angle about the vertical (rad); gripper 1 closed, -1 open",
            gripper=Gripper(kind="continuous", action="action", elements=(4,)),
            agent="random policies",
            location="gs://gresearch/robotics/robo_net/1.0.0",
        ),
        # 0.1 m and 0.5 rad in 0.1 s are chosen: the arm is slower.
        _arm(
            "stanford_hydra_dataset_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="Stanford University",
            control_rate_hz=10.0,
            cameras=("image", "wrist_image"),
            bgr=("image", "wrist_image"),
            state={"state": vector(27)},
            actions={"action": ("action", box((3, -0.1, 0.1), (3, -0.5, 0.5), (1, 0.0, 1.0)))},
            meaning="change of position (m) and of Euler angles (rad); gripper 1 closed, 0 open",
            gripper=_BINARY,
        ),
        _arm(
            "austin_buds_dataset_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="UT Austin",
            control_rate_hz=20.0,
            cameras=("image", "wrist_image"),
            state={"state": vector(24)},
            actions=_NORMALISED,
            meaning=_NORMALISED_MEANING,
            gripper=_BINARY,
        ),
        # The elements of the end effector are read from fifteen; the first seven, velocities of joints, express the
        # same motion. 0.15 m and 0.75 rad in a third of a second are chosen.
        _arm(
            "nyu_franka_play_dataset_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="New York University",
            control_rate_hz=3.0,
            cameras=("image", "image_additional_view"),
            state={"state": vector(13)},
            actions={"action": ("action[7:14]", box((3, -0.15, 0.15), (3, -0.75, 0.75), (1, -1.0, 1.0)))},
            meaning="change of position (m) and of roll, pitch, yaw (rad); gripper above 0 open",
            gripper=_CONTINUOUS,
        ),
        # 0.1 m is more than the controller of the benchmark moves in a step of 0.1 s.
        _arm(
            "furniture_bench_dataset_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="KAIST",
            control_rate_hz=10.0,
            cameras=("image", "wrist_image"),
            state={"state": vector(35)},
            actions={"action": ("action", box((3, -0.1, 0.1), (4, -1.0, 1.0), (1, -1.0, 1.0)))},
            meaning="change of position (m) and of orientation (quaternion); gripper 1 closed, -1 open",
            gripper=Gripper(kind="binary", action="action", elements=(7,)),
        ),
        # The units are not published. The values fit millimetres and degrees, of which an xArm reaches 800 and 180.
        _arm(
            "ucsd_kitchen_dataset_converted_externally_to_rlds",
            robot="xArm 7",
            collector="UC San Diego",
            control_rate_hz=2.0,
            cameras=("image",),
            state={"state": vector(21)},
            actions={"action": ("action[0:7]", box((3, -800.0, 800.0), (3, -180.0, 180.0), (1, 0.0, 1.0)))},
            meaning="absolute position (mm) and Euler angles (degrees) that are commanded; gripper 1 open, 0 closed",
            gripper=_CONTINUOUS,
        ),
        _arm(
            "austin_sailor_dataset_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="UT Austin",
            control_rate_hz=20.0,
            cameras=("image", "wrist_image"),
            state={"state": vector(8)},
            actions=_NORMALISED,
            meaning=_NORMALISED_MEANING,
            gripper=_BINARY,
        ),
        _arm(
            "austin_sirius_dataset_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="UT Austin",
            control_rate_hz=20.0,
            cameras=("image", "wrist_image"),
            state={"state": vector(8)},
            actions=_NORMALISED,
            meaning=_NORMALISED_MEANING,
            gripper=_BINARY,
            agent="teleoperation, and a policy that people corrected",
        ),
        # The catalogue calls the values positions, other users read them as changes. The limits hold for both.
        _arm(
            "dlr_edan_shared_control_converted_externally_to_rlds",
            robot="DLR EDAN",
            collector="German Aerospace Center (DLR)",
            control_rate_hz=5.0,
            cameras=("image",),
            state={"state": vector(7)},
            actions={"action": ("action", box((3, -1.0, 1.0), (3, -math.pi, math.pi), (1, 0.0, 1.0)))},
            meaning="position (m) and Euler angles (rad, zxy) of the end effector; gripper 1 closed, 0 open",
            gripper=_CONTINUOUS,
            agent="shared control",
        ),
        _arm(
            "iamlab_cmu_pickup_insert_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="IAM Lab, Carnegie Mellon University",
            control_rate_hz=20.0,
            cameras=("image", "wrist_image"),
            state={"state": vector(20)},
            actions={"action": ("action", box((3, -1.0, 1.0), (4, -1.0, 1.0), (1, 0.0, 1.0)))},
            meaning="absolute position (m) and quaternion of the end effector; gripper 1 open, 0 closed",
            gripper=Gripper(kind="binary", action="action", elements=(7,)),
        ),
        _arm(
            "utaustin_mutex",
            robot="Franka Panda",
            collector="UT Austin",
            control_rate_hz=20.0,
            cameras=("image", "wrist_image"),
            bgr=("image", "wrist_image"),
            state={"state": vector(24)},
            actions=_NORMALISED,
            meaning=_NORMALISED_MEANING,
            gripper=_BINARY,
        ),
        # The gripper's command is not recorded. 0.05 m and 0.2 rad in 0.1 s are chosen.
        _arm(
            "berkeley_fanuc_manipulation",
            robot="FANUC LR Mate 200iD",
            collector="MSC Lab, UC Berkeley",
            control_rate_hz=10.0,
            cameras=("image", "wrist_image"),
            bgr=("image", "wrist_image"),
            state={"state": vector(13), "end_effector_state": vector(7)},
            actions={"action": ("action", box((3, -0.05, 0.05), (3, -0.2, 0.2)))},
            meaning="change of position (m) and of roll, pitch, yaw (rad)",
            gripper=None,
        ),
        # 0.1 m and 0.5 rad in 0.1 s are chosen, which a Stretch does not exceed.
        _arm(
            "cmu_stretch",
            robot="Hello Robot Stretch",
            collector="Carnegie Mellon University",
            control_rate_hz=10.0,
            cameras=("image",),
            state={"state": vector(4)},
            actions={"action": ("action[0:7]", box((3, -0.1, 0.1), (3, -0.5, 0.5), (1, 0.0, 1.0)))},
            meaning="change of position (m) and of orientation (rad); gripper 1 open, 0 closed",
            gripper=_BINARY,
        ),
        # Two of four cameras are read. 1 m/s and 1 rad/s are chosen; kneading dough is slower.
        _arm(
            "stanford_robocook_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="Stanford University",
            control_rate_hz=5.0,
            cameras=("image_1", "image_2"),
            state={"state": vector(7)},
            actions={"action": ("action", box((6, -1.0, 1.0), (1, -1.0, 1.0)))},
            meaning="velocity (m/s), angular velocity (rad/s) and velocity of the gripper (m/s, above 0 opens)",
            gripper=_CONTINUOUS,
        ),
        # The actions are the normalised twist of a 3D mouse.
        _arm(
            "fmb",
            robot="Franka Panda",
            collector="RAIL, UC Berkeley",
            control_rate_hz=10.0,
            cameras=("image_side_1", "image_side_2", "image_wrist_1"),
            state={"eef_pose": vector(7), "joint_pos": vector(7), "state_gripper_pose": Continuous(shape=())},
            actions={"action": ("action", box((6, -1.0, 1.0), (1, 0.0, 1.0)))},
            meaning="normalised twist of the end effector in its own frame; gripper 1 closed, 0 open",
            gripper=_BINARY,
            location="gs://gresearch/robotics/fmb/0.0.1",
        ),
        # A hand-held stick records 30 frames per second. 0.1 m and 0.5 rad between two frames are chosen.
        _arm(
            "dobbe",
            robot="Stick, a hand-held gripper",
            collector="New York University",
            control_rate_hz=30.0,
            cameras=("wrist_image",),
            state={"state": vector(7)},
            actions={"action": ("action", box((3, -0.1, 0.1), (3, -0.5, 0.5), (1, 0.0, 1.0)))},
            meaning="change of position (m) and of orientation (rad) in the camera's frame; gripper 1 open, 0 closed",
            gripper=_CONTINUOUS,
            licence="MIT",
            location="gs://gresearch/robotics/dobbe/0.0.1",
        ),
        # The joints of an xArm rotate at most at pi rad/s, which is 0.63 rad at 5 Hz.
        _arm(
            "berkeley_mvp_converted_externally_to_rlds",
            robot="xArm 7",
            collector="UC Berkeley",
            control_rate_hz=5.0,
            cameras=("hand_image",),
            state={"joint_pos": vector(7), "pose": vector(7), "gripper": Discrete(n=2)},
            actions={"action": ("action", box((7, -math.pi / 5, math.pi / 5), (1, 0.0, 1.0)))},
            meaning="change of the joints' angles (rad); gripper 1 closed, 0 open",
            gripper=Gripper(kind="binary", action="action", elements=(7,)),
        ),
        # The joints of a Franka rotate at most at 2.6 rad/s, which is 0.09 rad at 30 Hz.
        _arm(
            "berkeley_rpt_converted_externally_to_rlds",
            robot="Franka Panda",
            collector="UC Berkeley",
            control_rate_hz=30.0,
            cameras=("hand_image",),
            state={"joint_pos": vector(7), "gripper": Discrete(n=2)},
            actions={"action": ("action", box((7, -0.1, 0.1), (1, 0.0, 1.0)))},
            meaning="change of the joints' angles (rad); gripper 1 closed, 0 open",
            gripper=Gripper(kind="binary", action="action", elements=(7,)),
        ),
    ]
)
