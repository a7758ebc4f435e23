"""How fast LeRobot's own DataLoader gives the steps of episodes: the peer that our loader is measured beside.

Needs lerobot and nothing of ours, so an environment of its own runs it:

    python3 -m venv lerobot_venv && lerobot_venv/bin/pip install lerobot==0.4.4
    lerobot_venv/bin/python benchmarks/lerobot_loader.py write EPISODES.npz FOLDER [--videos]
    lerobot_venv/bin/python benchmarks/lerobot_loader.py read FOLDER

EPISODES.npz holds the columns of all episodes, one after the other, and `lengths`. The result is one line of JSON.
"""

# pyright: reportMissingImports=false
# (The environment of the linters holds no lerobot.)

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

FPS = 25


def main():
    """Writes a dataset by LeRobot's own writer, or reads one by its own loader."""
    parser = argparse.ArgumentParser(description="LeRobot's loader.")
    parser.add_argument("job", choices=("write", "read"))
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--videos", action="store_true")
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=15.0)
    given = parser.parse_args()
    if given.job == "write":
        write(*given.paths, videos=given.videos)
    else:
        print(json.dumps(read(given.paths[0], given)))


def write(episodes: Path, folder: Path, *, videos: bool):
    """Of images as PNG within Parquet, or as videos of their default codec."""
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    columns = dict(np.load(episodes))
    lengths, texts = columns.pop("lengths"), columns.pop("instruction")
    features = {}
    for name, column in columns.items():
        kind = ("video" if videos else "image") if column.dtype == np.uint8 else "float32"
        features[name] = {"dtype": kind, "shape": column.shape[1:], "names": None}
        if column.dtype == np.uint8:
            features[name]["names"] = ["height", "width", "channels"]
    dataset = LeRobotDataset.create(f"local/{folder.name}", FPS, features, root=folder, use_videos=videos)
    start = 0
    for length, text in zip(lengths, texts, strict=True):
        for step in range(start, start + length):
            dataset.add_frame({name: column[step] for name, column in columns.items()} | {"task": str(text)})
        dataset.save_episode()
        start += length
    dataset.finalize()


def read(folder: Path, given) -> dict:
    """Steps a second of shuffled batches, after the first batch of each worker."""
    import lerobot
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    # Its other decoder, torchcodec, needs an FFmpeg of the system.
    dataset = LeRobotDataset(f"local/{folder.name}", root=folder, video_backend="pyav")
    loader = torch.utils.data.DataLoader(
        dataset, batch_size=given.batch, shuffle=True, num_workers=given.workers, drop_last=True
    )
    steps, started = 0, None
    while started is None or time.perf_counter() - started < given.seconds:
        for number, batch in enumerate(loader):
            if started is None:
                started = time.perf_counter() if number == given.workers else None
            else:
                steps += len(batch["action"])
                if time.perf_counter() - started > given.seconds:
                    break
    seconds = time.perf_counter() - started
    return {
        "steps_per_second": steps / seconds, "workers": given.workers, "batch": given.batch, "cores": os.cpu_count(),
        "lerobot": lerobot.__version__, "torch": torch.__version__,
    }  # fmt: skip


if __name__ == "__main__":
    main()
