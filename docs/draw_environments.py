"""Script that draws docs/environments.png: a frame of every domain, as `render` returns it, with the task's name.

    python docs/draw_environments.py

Each task is played with random actions from seed SEED for some steps. Tasks that do not run here are left out, with a
message.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from sheet import Sheet

from gato_jax.environments import load, status, task_names
from gato_jax.rollouts import random_action

SEED = 1
COLUMNS, SIDE, GAP, LABEL = 6, 150, 10, 46  # of the sheet and its cells, in pixels


class Frame(NamedTuple):
    """Frame of one domain.

    Attributes:
      title: Name of the domain.
      task: Task that is shown.
      steps: Number of random actions before the frame.
    """

    title: str
    task: str
    steps: int = 10


FRAMES = (
    Frame("ALE Atari", "atari/ms_pacman", 60),
    Frame("Atari Extended", "atari_extended/space_invaders", 40),
    Frame("Procgen", "procgen/coinrun", 20),
    Frame("Sokoban", "sokoban/hard"),
    Frame("BabyAI", "babyai/BossLevel-v0"),
    Frame("DM Control", "dm_control/humanoid/walk"),
    Frame("DM Control Pixels", "dm_control_pixels/cheetah/run"),
    Frame("Random Small", "dm_control_random_small/walker/walk", 0),
    Frame("Random Large", "dm_control_random_large/walker/walk", 0),
    Frame("Meta-World", "meta_world/shelf-place-v3"),
    Frame("Modular RL", "modular_rl/cheetah_7_full"),
    Frame("Manipulation", "manipulation/stack_2_bricks_features"),
    Frame("RGB Stacking", "rgb_stacking/skill_generalisation"),
    Frame("Fetch", "fetch/pick_and_place"),
    Frame("Kitchen", "kitchen/complete"),
    Frame("Adroit", "adroit/hammer"),
    Frame("PushT", "pusht/push"),
    Frame("MiniWorld (DM Lab)", "miniworld/PickupObjects-v0"),
    Frame("ViZDoom (DM Lab)", "vizdoom/deadly_corridor"),
)


def main():
    """Play the tasks, draw their frames and write the picture."""
    parser = argparse.ArgumentParser(description="Draw a frame of every domain.")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).with_name("environments.png"))
    given = parser.parse_args()
    known = set(task_names())
    frames = [frame for frame in FRAMES if frame.task in known and status(frame.task)[0] == "runnable"]
    for frame in FRAMES:
        if frame not in frames:
            print(f"left out: {frame.task} does not run here", file=sys.stderr)
    draw_sheet([(frame, play(frame)) for frame in frames]).save(given.output, optimize=True)
    print(f"{given.output}: {len(frames)} frames, {given.output.stat().st_size / 1000:.0f} kB")


def play(frame: Frame) -> np.ndarray:
    """Return the frame of a task after its random actions, (height, width, 3) uint8."""
    environment = load(frame.task)
    generator = np.random.default_rng(SEED)
    environment.seed(SEED)
    environment.reset()
    for _ in range(frame.steps):
        environment.step(random_action(environment.task_spec, generator))
    image = np.array(environment.render())
    environment.close()
    return image


def draw_sheet(frames: list[tuple[Frame, np.ndarray]]) -> Pillow.Image:
    """Return the picture of all frames with their labels."""
    rows = -(-len(frames) // COLUMNS)
    width, height = COLUMNS * (SIDE + GAP) + GAP, rows * (SIDE + LABEL + GAP) + GAP
    sheet = Sheet(width, height)
    for number, (frame, image) in enumerate(frames):
        left = GAP + number % COLUMNS * (SIDE + GAP)
        top = GAP + number // COLUMNS * (SIDE + LABEL + GAP)
        sheet.paste(image, (left, top), SIDE)
        sheet.write((left, top + SIDE + 2), frame.title, frame.task, below=17)
    return sheet.quantize()


if __name__ == "__main__":
    main()
