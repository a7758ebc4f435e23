"""Benchmark of LeRobot's own DataLoader, the peer of our loader, in timesteps per second.

The script imports lerobot and nothing of this project, so it runs in an environment of its own:

    python3 -m venv lerobot_venv && lerobot_venv/bin/pip install lerobot==0.4.4
    lerobot_venv/bin/python benchmarks/lerobot_loader.py write EPISODES.npz FOLDER [--videos]
    lerobot_venv/bin/python benchmarks/lerobot_loader.py read FOLDER

EPISODES.npz holds the columns of all episodes, concatenated, and the `lengths` of the episodes. The result is one line
of JSON on stdout.
"""

# pyright: reportMissingImports=false
# The environment in which the linters run has no lerobot.

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

FPS = 25


def main():
    """Write a dataset with LeRobot's own writer, or measure how fast its own loader reads one."""
    parser = argparse.ArgumentParser(description="Benchmark of LeRobot's loader.")
    parser.add_argument("job", choices=("write", "read"), help="Write a dataset or measure reading it.")
    parser.add_argument("paths", nargs="+", type=Path, help="EPISODES.npz and folder to write, or folder to read.")
    parser.add_argument("--videos", action="store_true", help="Store images as videos.")
    parser.add_argument("--batch", type=int, default=64, help="Timesteps of a batch.")
    parser.add_argument("--workers", type=int, default=2, help="Worker processes of the DataLoader.")
    parser.add_argument("--seconds", type=float, default=15.0, help="Duration of the measurement in seconds.")
    given = parser.parse_args()
    if given.job == "write":
        write(*given.paths, videos=given.videos)
    else:
        print(json.dumps(read(given.paths[0], given)))


def write(episodes: Path, folder: Path, *, videos: bool):
    """Write a LeRobot dataset.

    Args:
      episodes: .npz file with the columns of all episodes.
      folder: folder of the new dataset.
      videos: store images as videos with LeRobot's default codec, not as PNG within Parquet.
    """
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
    """Return the timesteps per second of shuffled batches, measured after the first batch of each worker."""
    import lerobot
    import torch
    from lerobot.datasets.lerobot_dataset import LeRobotDataset

    # The other decoder, torchcodec, would need an FFmpeg that is installed on the system.
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
