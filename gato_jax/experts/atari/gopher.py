"""A script for Gopher, in which a farmer fills the holes of a gopher that digs for his carrots; it reads the screen.

Gopher is easy to learn. Over ten episodes of 1,000 steps random play scores 198 and the script 856; every constant
action scores nothing, as the farmer has to walk and to dig. The best action follows from a single frame (where the
farmer stands, where the highest hole is, whether the shovel is up), and objects are large even at 64x64. Mistakes cost
time, not the game: over six episodes the script scored 713, and 717 with three tenths of its actions replaced by random
ones.
"""

from __future__ import annotations

import dm_env
import numpy as np

from gato_jax.environments.suites.atari import Atari
from gato_jax.experts.base import Expert
from gato_jax.rollouts import Action

# Rows of the 210x160 screen, and colours on it.
_FARMER, _LEGS, _BELOW, _SOIL = slice(80, 146), slice(100, 146), slice(100, 200), slice(146, 184)
_DUG, _GOPHER = np.array([223, 183, 85]), np.array([72, 44, 0])
_TUNNEL_TOP = 180
_STANDING_PIXELS = 351  # pixels of the farmer when the shovel is down; the raised shovel covers some with black
_BUTTON_HELD = 70  # RAM address of a value that is not zero until the console has seen the button released
_REACH = 3  # distance in pixels within which a blow fills a hole; the farmer moves by 4
_HOLE_WIDTH = 4


class GopherScript(Expert[Atari]):
    """A script that walks to the gopher if it climbs, else to the highest hole, and digs there, which fills it.

    The console digs once for each press of the button, and sees a release only after the shovel is down again. So after
    each blow, while the shovel is up, the script steps aside and comes back; every action then follows from the frame
    alone. Sticky actions may swallow a release. The script reads RAM to notice it, and steps aside in this case too.
    """

    agent = "script for Gopher that reads the screen"
    default_noise = 0.1

    def act(self, environment: Atari, timestep: dm_env.TimeStep) -> Action:
        names = [action.name for action in environment.actions]
        return {"action": np.asarray(names.index(_choose(environment.screen.astype(np.int32), environment.console)))}


def _choose(screen: np.ndarray, console) -> str:
    farmer = _farmer(screen)
    offset = _target(screen, farmer) - farmer
    if abs(offset) > _REACH:
        return "RIGHT" if offset > 0 else "LEFT"
    digging = np.count_nonzero(screen[_FARMER].any(axis=-1)) < _STANDING_PIXELS
    if digging or console.getRAM()[_BUTTON_HELD]:
        return "LEFT" if offset >= 0 else "RIGHT"  # to the side that is farther from the target
    return "FIRE"


def _farmer(screen: np.ndarray) -> float:
    """Return the column, in pixels, at which the farmer stands on a screen (210, 160, 3); 80 if he is not seen."""
    legs = screen[_LEGS]
    columns = np.flatnonzero(((legs[..., 2] > 150) & (legs[..., 0] < 120)).any(axis=0))
    return float(columns[0] + columns[-1]) / 2 if columns.size else 80.0


def _target(screen: np.ndarray, farmer: float) -> float:
    """Return the column, in pixels, to go to: that of the gopher if it is above its tunnel, else that of a hole.

    It is the hole nearest to the farmer's column among the highest ones; the middle of the screen without any.

    Args:
      screen: The screen, (210, 160, 3) int32.
      farmer: Column of the farmer.
    """
    gopher = np.abs(screen[_BELOW] - _GOPHER).sum(axis=-1) < 10
    rows = np.flatnonzero(gopher.sum(axis=1) >= 3)
    if rows.size and _BELOW.start + rows[0] < _TUNNEL_TOP:
        return float(np.flatnonzero(gopher[rows[0] : rows[0] + 10].any(axis=0)).mean())
    soil = screen[_SOIL]
    dug = (np.abs(soil - _DUG).sum(axis=-1) < 10) | (soil.sum(axis=-1) < 10)
    heights = dug.sum(axis=0) * dug[-1]
    if not heights.any():
        return 80.0
    columns = np.flatnonzero(heights >= heights.max() - 2)
    holes = np.split(columns, np.flatnonzero(np.diff(columns) > 1) + 1)
    centres = [float(hole.mean()) for hole in holes if len(hole) >= _HOLE_WIDTH]
    return min(centres, key=lambda column: abs(column - farmer), default=80.0)
