"""Writers of small HDF5 recordings in the layouts of robomimic, ACT, DROID and RoboNet."""

import io
import json
from pathlib import Path

import av
import h5py
import numpy as np
import PIL.Image

from gato_jax.episodes import Continuous, Image, Provenance, Text
from gato_jax.sources.fields import Fields

SERIALS = {"wrist_cam_serial": "18026681", "ext1_cam_serial": "22008760"}
PROVENANCE = Provenance(source="made for a test", licence="MIT", kind="real", collector="nobody")


def pictures(steps: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """Return (steps, height, width, 3) uint8 images, smooth so that JPEG and H.264 preserve them, and ever brighter."""
    y, x = np.mgrid[0:height, 0:width]
    plane = np.stack([y * 80 // height, x * 80 // width, 0 * x + seed], -1)
    return (plane + 10 * np.arange(steps)[:, None, None, None] + 20).astype(np.uint8)


def jpeg(picture: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(picture).save(file, format="JPEG", quality=95)
    return file.getvalue()


def mp4(frames: np.ndarray) -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as container:
        stream = container.add_stream("h264", rate=15, options={"crf": "8"})
        stream.height, stream.width, stream.pix_fmt = *frames.shape[1:3], "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return file.getvalue()


def robomimic(file: Path, lengths=(5, 6, 7), masks=None, **env_args) -> Path:
    """Write one file of demonstrations; `masks` is {split: numbers of demonstrations}."""
    about = {"env_name": "Lift", "type": 1, "env_version": "1.4.1"}
    about["env_kwargs"] = {"robots": ["Panda"], "control_freq": 20, "camera_names": ["agentview"]}
    with h5py.File(file, "w") as root:
        data = root.create_group("data")
        data.attrs["total"], data.attrs["env_args"] = sum(lengths), json.dumps(about | env_args, indent=4)
        for number, steps in enumerate(lengths):
            random, demo = np.random.default_rng(number), data.create_group(f"demo_{number}")
            demo.attrs["num_samples"], demo.attrs["model_file"] = steps, "<mujoco/>"
            demo["actions"] = random.uniform(-1, 1, (steps, 7))
            demo["states"], demo["dones"] = random.normal(size=(steps, 32)), np.arange(steps) == steps - 1
            demo["rewards"] = (np.arange(steps) == steps - 1).astype(np.float64)
            for side in ("obs", "next_obs"):
                demo[f"{side}/robot0_eef_pos"] = random.normal(size=(steps, 3))
                demo[f"{side}/agentview_depth"] = random.uniform(size=(steps, 84, 84, 1)).astype(np.float32)
                image = pictures(steps, 84, 84, number)
                demo.create_dataset(f"{side}/agentview_image", data=image, compression="gzip", chunks=(1, 84, 84, 3))
        for split, numbers in (masks or {}).items():
            root[f"mask/{split}"] = np.array([f"demo_{number}" for number in numbers], dtype="S")
    return file


def aloha(file: Path, steps=5, *, compress=True, image=None) -> Path:
    """Write one episode of ACT, with raw images, or with JPEG files in rows padded to the longest."""
    random, image = np.random.default_rng(steps), pictures(steps, 48, 64) if image is None else image
    with h5py.File(file, "w", rdcc_nbytes=1024**2 * 2) as root:
        root.attrs["sim"], root.attrs["compress"] = False, compress
        for name in ("observations/qpos", "observations/qvel", "action"):
            root[name] = random.normal(size=(steps, 14)).astype(np.float32)
        if compress:
            files = [jpeg(picture) for picture in image]
            rows = np.zeros((steps, max(map(len, files), default=1) + 500), np.uint8)  # as of a camera with more detail
            for row, content in zip(rows, files, strict=True):
                row[: len(content)] = np.frombuffer(content, np.uint8)
            root.create_dataset("observations/images/cam_high", data=rows)
            root["compress_len"] = np.array([[len(content) for content in files]], np.float32)
        else:
            root.create_dataset("observations/images/cam_high", data=image)
    return file


def droid(folder: Path, steps=5, **metadata) -> Path:
    """Write the folder of one DROID episode, and return the file of its trajectory."""
    random = np.random.default_rng(steps)
    (folder / "recordings" / "MP4").mkdir(parents=True)
    about = {"uuid": "AUTOLab+5d05c5aa+2023-07-07-09h-42m-23s", "lab": "AUTOLab", "user": "A. Collector"}
    about |= {"date": "2023-07-07", "success": True, "robot_serial": "panda-295341-1326595"}
    about |= {"current_task": "Put the cup on the shelf", "trajectory_length": steps} | SERIALS | metadata
    (folder / f"metadata_{about['uuid']}.json").write_text(json.dumps(about))
    for number, serial in enumerate(SERIALS.values()):
        (folder / "recordings" / "MP4" / f"{serial}.mp4").write_bytes(mp4(pictures(steps, 90, 160, number)))
    with h5py.File(folder / "trajectory.h5", "w") as root:
        root.attrs["success"] = True
        for name, size in (("cartesian_velocity", 6), ("cartesian_position", 6), ("joint_velocity", 7)):
            root[f"action/{name}"] = random.uniform(-1, 1, (steps, size))
        root["action/gripper_position"] = random.uniform(0, 1, steps)
        root["observation/robot_state/joint_positions"] = random.normal(size=(steps, 7))
        root["observation/robot_state/cartesian_position"] = random.normal(size=(steps, 6))
        root["observation/robot_state/gripper_position"] = random.uniform(0, 1, steps)
        root["observation/timestamp/control/step_start"] = 1688748143000 + 66 * np.arange(steps)
        root["observation/timestamp/skip_action"] = np.zeros(steps, bool)
    return folder / "trajectory.h5"


def robonet(file: Path, actions=5, *, encoding="mp4", image_format="RGB") -> Path:
    """Write one RoboNet episode, which has one state and image more than actions."""
    random, frames = np.random.default_rng(actions), pictures(actions + 1, 48, 64)
    stored = frames[..., ::-1] if image_format == "BGR" else frames
    with h5py.File(file, "w") as root:
        root["file_version"] = "0.1.0"
        root["env/state"], root["policy/actions"] = (
            random.normal(size=(actions + 1, 5)),
            random.normal(size=(actions, 4)),
        )
        root["env"].attrs["n_cams"], root["env"].attrs["cam_encoding"] = 1, encoding
        camera = root.create_group("env/cam0_video")
        if encoding == "jpg":
            for number, frame in enumerate(stored):
                camera[f"frame{number}"] = np.frombuffer(jpeg(np.ascontiguousarray(frame)), np.uint8)
        else:
            camera["frames"] = stored if encoding == "raw" else np.frombuffer(mp4(stored), np.uint8)
        for dataset in camera.values():
            dataset.attrs["shape"], dataset.attrs["T"] = frames.shape[1:], actions + 1
            dataset.attrs["image_format"] = image_format
        root.create_group("misc")
        root.create_group("metadata").attrs["robot"] = "sawyer"
    return file


def aloha_fields(**changes) -> Fields:
    return Fields(
        **{
            "suite": "aloha",
            "task": "cups",
            "observation": {
                "qpos": ("observations/qpos", Continuous(shape=(14,))),
                "cam_high": ("observations/images/cam_high", Image(height=48, width=64)),
            },
            "action": {"action": ("action", Continuous(shape=(14,), low=-4.0, high=4.0))},
            "provenance": PROVENANCE,
            "control_rate_hz": 50.0,
        }
        | changes
    )


DROID_FIELDS = Fields(
    suite="droid",
    task="raw",
    observation={
        "instruction": ("metadata/current_task", Text()),
        "wrist": ("recordings/MP4/{wrist_cam_serial}.mp4", Image(height=90, width=160)),
        "left": ("recordings/MP4/22008760.mp4", Image(height=45, width=80)),
        "joints": ("observation/robot_state/joint_positions", Continuous(shape=(7,))),
    },
    action={
        "velocity": ("action/cartesian_velocity", Continuous(shape=(6,), low=-1.0, high=1.0)),
        "gripper": ("action/gripper_position", Continuous(shape=(1,), low=0.0, high=1.0)),
    },
    provenance=PROVENANCE,
    control_rate_hz=15.0,
    success="metadata/success",
    timestamps="observation/timestamp/control/step_start",
)

ROBONET_FIELDS = Fields(
    suite="robonet",
    task="sawyer",
    observation={
        "image": ("env/cam0_video/frames", Image(height=48, width=64)),
        "state": ("env/state", Continuous(shape=(5,))),
    },
    action={"action": ("policy/actions", Continuous(shape=(4,), low=-5.0, high=5.0))},
    provenance=PROVENANCE,
)


def libero(file: Path, instruction, env_name="Libero_Kitchen_Tabletop_Manipulation") -> Path:
    """Write a LIBERO file of two demonstrations: robomimic's layout, with the instruction in `problem_info`."""
    robomimic(file, (3, 4), env_name=env_name, bddl_file="kitchen.bddl")
    with h5py.File(file, "a") as root:
        about = {"problem_name": env_name, "domain_name": "robosuite", "language_instruction": instruction}
        root["data"].attrs["problem_info"] = json.dumps(about)
    return file


def d4rl(file: Path, terminals=(2, 9), timeouts=(5,), steps=12) -> Path:
    """Write flat arrays whose rows count from 0, and which end at the given rows."""
    rows = np.arange(steps)
    with h5py.File(file, "w") as root:
        root["observations"] = np.repeat(rows[:, None], 3, 1).astype(np.float32)
        root["actions"], root["rewards"] = (rows[:, None] / steps).astype(np.float32), rows.astype(np.float32)
        root["terminals"], root["infos/qpos"] = np.isin(rows, terminals), np.ones((steps, 2))
        root["metadata/algorithm"] = np.bytes_(b"SAC")
        if timeouts is not None:
            root["timeouts"] = np.isin(rows, timeouts)
    return file


D4RL_FIELDS = Fields(
    suite="d4rl",
    task="hopper",
    observation={"observation": ("observations", Continuous(shape=(3,)))},
    action={"action": ("actions", Continuous(shape=(1,), low=-1.0, high=1.0))},
    provenance=PROVENANCE,
    reward="rewards",
)


def groups(file: Path, names=("episode_0", "episode_1"), final=0) -> Path:
    """Write one group for each episode, of 4, 5, ... steps; `final` observations follow the last action."""
    with h5py.File(file, "w") as root:
        root.attrs["fps"] = 10
        for number, name in enumerate(names):
            steps = np.arange(4 + number + final) + 10.0 * number
            root[f"{name}/obs"] = np.repeat(steps[:, None], 3, 1)
            root[f"{name}/actions"] = steps[: 4 + number, None] / 100
    return file


GROUP_FIELDS = Fields(
    suite="lab",
    task="push",
    observation={"state": ("obs", Continuous(shape=(3,)))},
    action={"action": ("actions", Continuous(shape=(1,), low=-1.0, high=1.0))},
    provenance=PROVENANCE,
)
