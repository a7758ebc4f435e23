"""Script that draws docs/experts.png: moments of one episode of an expert of each domain, from first to last step.

    python docs/draw_experts.py

A row shows the first task of its domain that has an expert and runs here. Domains without one are left out, with a
message. Scenes of MuJoCo are drawn by ray casting, which needs no OpenGL.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from typing import NamedTuple

import numpy as np
from PIL import Image as Pillow
from sheet import Sheet

from gato_jax.environments import load, status
from gato_jax.environments.base import Environment
from gato_jax.environments.rendering import set_renderer
from gato_jax.episodes import Episode
from gato_jax.experts import ExpertActor, expert_names
from gato_jax.rollouts.play import play_as_they_end

SEED = 1
COLUMNS, SIDE, GAP, LABEL = 7, 96, 6, 150  # moments of an episode; sizes in pixels


class Domain(NamedTuple):
    """A row of the picture: the title, and the tasks of which the first with an expert is shown."""

    title: str
    tasks: tuple[str, ...]


DOMAINS = (
    Domain("ALE Atari", ("atari/ms_pacman", "atari/gopher", "atari/pong")),
    Domain("Atari Extended", ("atari_extended/ms_pacman", "atari_extended/gopher", "atari_extended/pong")),
    Domain("Procgen", ("procgen/maze", "procgen/heist", "procgen/coinrun")),
    Domain("Sokoban", ("sokoban/medium",)),
    Domain("BabyAI", ("babyai/UnlockPickup-v0", "babyai/GoToLocal-v0")),
    Domain("DM Control", ("dm_control/walker/walk", "dm_control/cheetah/run", "dm_control/cartpole/swingup")),
    Domain("DM Control Pixels", ("dm_control_pixels/cheetah/run", "dm_control_pixels/cartpole/swingup")),
    Domain("Random Small", ("dm_control_random_small/walker/walk", "dm_control_random_small/cartpole/balance")),
    Domain("Random Large", ("dm_control_random_large/walker/walk", "dm_control_random_large/cartpole/balance")),
    Domain("Meta-World", ("meta_world/basketball-v3", "meta_world/push-v3")),
    Domain("Modular RL", ("modular_rl/cheetah_7_full", "modular_rl/hopper_5")),
    Domain("Manipulation", ("manipulation/lift_large_box_features", "manipulation/place_brick_features")),
    Domain("RGB Stacking", ("rgb_stacking/skill_generalisation", "rgb_stacking/skill_mastery")),
    Domain("Fetch", ("fetch/pick_and_place", "fetch/push", "fetch/reach")),
    Domain("PushT", ("pusht/push",)),
    Domain("MiniWorld (DM Lab)", ("miniworld/FourRooms-v0", "miniworld/OneRoom-v0")),
    Domain("ViZDoom (DM Lab)", ("vizdoom/basic", "vizdoom/my_way_home")),
)


class Film:
    """Frames of an episode at equal distances, of which there are never many however long the episode is.

    Args:
      environment: The environment that is played.
    """

    def __init__(self, environment: Environment):
        self._environment = environment
        self._frames: list[np.ndarray] = []
        self._steps, self._stride = 0, 1

    def take(self) -> None:
        """Keep the frame after a step if it is due; twice as many steps are between two frames once there are many."""
        if self._steps % self._stride == 0:
            self._frames.append(np.array(self._environment.render()))
            if len(self._frames) == 4 * COLUMNS:
                self._frames, self._stride = self._frames[::2], 2 * self._stride
        self._steps += 1

    def moments(self) -> list[np.ndarray]:
        """Return COLUMNS frames from the first to that of the last step, or fewer of a shorter episode."""
        frames = [*self._frames, np.array(self._environment.render())]
        chosen = np.unique(np.linspace(0, len(frames) - 1, COLUMNS).round().astype(int))
        return [frames[number] for number in chosen]


def main():
    """Play the tasks, draw their moments and write the picture."""
    parser = argparse.ArgumentParser(description="Draw moments of an episode of an expert of each domain.")
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path(__file__).with_name("experts.png"))
    parser.add_argument("--domains", default="", help="Titles of the domains to draw, comma-separated. Default: all.")
    given = parser.parse_args()
    set_renderer("raycast")
    strips = []
    for domain in DOMAINS:
        if given.domains and domain.title not in given.domains.split(","):
            continue
        if (task := shown_task(domain)) is None:
            print(f"left out: {domain.title}: none of {', '.join(domain.tasks)} has an expert here", file=sys.stderr)
            continue
        score, moments = play(task)
        print(f"{task}: score {score}", flush=True)
        strips.append((domain.title, task, score, moments))
    draw_sheet(strips).save(given.output, optimize=True)
    print(f"{given.output}: {len(strips)} strips, {given.output.stat().st_size / 1000:.0f} kB")


def shown_task(domain: Domain) -> str | None:
    """Return the first task of a domain that has an expert and runs here; None without one."""
    experts = set(expert_names())
    return next((task for task in domain.tasks if task in experts and status(task)[0] == "runnable"), None)


def play(task: str) -> tuple[str, list[np.ndarray]]:
    """Play one episode with the expert; return its score as a text, and its moments, (height, width, 3) uint8 each."""
    environment = load(task)
    film = Film(environment)
    played = play_as_they_end(ExpertActor, [(task, SEED)], load=lambda _: environment, on_step=film.take)
    ((_, result),) = list(played)
    moments = film.moments()
    environment.close()
    if not isinstance(result, Episode):
        return "given up", moments
    return ("success" if result.success else f"{result.score:.4g}"), moments


def draw_sheet(strips: list[tuple[str, str, str, list[np.ndarray]]]) -> Pillow.Image:
    """Return the picture of (title, task, score, moments) of all rows."""
    width, height = LABEL + COLUMNS * (SIDE + GAP) + GAP, len(strips) * (SIDE + GAP) + GAP
    sheet = Sheet(width, height)
    for row, (title, task, score, moments) in enumerate(strips):
        top = GAP + row * (SIDE + GAP)
        sheet.write((GAP, top + 22), title, task, below=20, score=score)
        for column, moment in enumerate(moments):
            sheet.paste(moment, (LABEL + column * (SIDE + GAP), top), SIDE)
    return sheet.quantize()


if __name__ == "__main__":
    main()
