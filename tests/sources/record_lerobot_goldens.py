"""Script that writes tiny datasets with LeRobot and records the values that LeRobot reads from them.

    python3 -m venv ENV && ENV/bin/pip install lerobot==0.4.4
    ENV/bin/python tests/sources/record_lerobot_goldens.py tests/sources/lerobot_goldens

lerobot 0.4.4 writes format v3.0, with videos and with images. Format v2.1 needs lerobot==0.3.3 'numpy<2.4' in another
environment. Each dataset is NAME.zip, and the values read from it are in NAME.npz.
"""

import shutil
import sys
from pathlib import Path

import numpy as np

FPS, HEIGHT, WIDTH = 10, 32, 48
EPISODES = ((5, "push the block"), (7, "lift the block"), (4, "push the block"))  # steps, task
CAMERAS = ("observation.images.front", "observation.images.wrist")


def features(dtype: str) -> dict:
    """Return the features in LeRobot's form; `dtype` of the cameras is video or image."""
    camera = {"dtype": dtype, "shape": (HEIGHT, WIDTH, 3), "names": ["height", "width", "channels"]}
    return {
        **dict.fromkeys(CAMERAS, camera),
        "observation.state": {"dtype": "float32", "shape": (6,), "names": [f"joint_{i}" for i in range(6)]},
        "action": {"dtype": "float32", "shape": (3,), "names": ["x", "y", "gripper"]},
        "next.reward": {"dtype": "float32", "shape": (1,), "names": None},
        "next.success": {"dtype": "bool", "shape": (1,), "names": None},
    }


def frames(number: int):
    """Yield the steps of an episode: images of a moving bar, random numbers, and a gripper that never moves."""
    steps, task = EPISODES[number]
    random = np.random.default_rng(number)
    for step in range(steps):
        picture = np.full((HEIGHT, WIDTH, 3), 20 + 60 * number, np.uint8)
        picture[:, 5 * step : 5 * step + 8, 1] = 230
        yield (
            {
                CAMERAS[0]: picture,
                CAMERAS[1]: np.ascontiguousarray(picture[::-1, ::-1, ::-1]),
                "observation.state": random.normal(size=6).astype(np.float32),
                "action": np.array([*random.uniform(-1, 1, 2), 0.5], np.float32),
                "next.reward": np.array([step == steps - 1], np.float32),
                "next.success": np.array([step == steps - 1 and number != 1]),
            },
            task,
        )


def record(root: Path, dtype: str):
    """Write one dataset to `root`.zip and the values that LeRobot reads from it to `root`.npz."""
    from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION, LeRobotDataset

    name = f"local/{root.name}"
    videos = dtype == "video"
    dataset = LeRobotDataset.create(
        name, FPS, features(dtype), root=root, robot_type="so100_follower", use_videos=videos
    )
    for number in range(len(EPISODES)):
        for frame, task in frames(number):
            if CODEBASE_VERSION.startswith("v2"):
                dataset.add_frame(frame, task)
            else:
                dataset.add_frame(frame | {"task": task})
        dataset.save_episode()
    if not CODEBASE_VERSION.startswith("v2"):
        dataset.finalize()
    read = LeRobotDataset(name, root=root, video_backend="pyav")
    items = [read[position] for position in range(len(read))]
    ends = np.cumsum([steps for steps, _ in EPISODES])
    shown = np.sort(np.concatenate([ends - 1, ends - [steps for steps, _ in EPISODES]]))  # first and last steps
    numbers = ("observation.state", "action", "next.reward", "next.success", "timestamp", "episode_index")
    pixels = {key: np.stack([items[i][key].numpy().transpose(1, 2, 0) for i in shown]) for key in CAMERAS}
    np.savez_compressed(
        root.with_suffix(".npz"),
        task=np.array([item["task"] for item in items]),
        shown=shown,
        **{key: np.stack([item[key].numpy() for item in items]) for key in numbers},
        **{key: np.rint(values * 255).astype(np.uint8) for key, values in pixels.items()},
    )
    shutil.make_archive(str(root), "zip", root)
    shutil.rmtree(root)


if __name__ == "__main__":
    from lerobot.datasets.lerobot_dataset import CODEBASE_VERSION

    for kind in ("video", "image"):
        record(Path(sys.argv[1]) / f"{CODEBASE_VERSION.replace('.', '_')}_{kind}", kind)
