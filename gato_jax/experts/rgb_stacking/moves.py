"""Moves of the gripper as generators of commands, which look at the scene before each of them.

The same moves are made in the scene that is played and in the copy in which they are tried.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from gato_jax.environments.worlds.stacking.arm import MAX_ROTATION, MAX_SPEED, WORKSPACE
from gato_jax.environments.worlds.stacking.objects import COLOURS
from gato_jax.experts.rgb_stacking.grasps import Grasp
from gato_jax.experts.rgb_stacking.placements import Placement
from gato_jax.experts.rgb_stacking.workcell import Command, Workcell

CLEARANCE = 0.015  # metres between what is carried and what lies below it
APPROACH_HEIGHT = 0.03  # metres above the grasp, from which the gripper goes straight down
CLOSING_STEPS, OPENING_STEPS, LIFTING_STEPS = 13, 9, 14
_FINGERS_BELOW_PINCH = 0.012  # metres
_GAIN = 6.0  # per second, from distance to velocity
_TOLERANCE, _YAW_TOLERANCE = 0.003, 0.03  # metres, radians
_MAX_STEPS = 130  # of one move
_PROGRESS, _PATIENCE = 0.01, 12  # seconds of movement, within so many steps, without which a move is given up
_LOWERING_SPEED = 0.04  # metres per second


def toward(cell: Workcell, position: np.ndarray, yaw: float, close: bool) -> Command:
    """Return the command that leads to a pose of the gripper."""
    velocity = np.zeros(4)
    position = np.clip(position, *WORKSPACE)
    velocity[:3] = np.clip(_GAIN * (position - cell.pinch), -MAX_SPEED, MAX_SPEED)
    velocity[3] = np.clip(_GAIN * (yaw - cell.yaw), -MAX_ROTATION, MAX_ROTATION)
    return Command(velocity, close)


def move(cell: Workcell, position: np.ndarray, yaw: float, close: bool, steps: int = _MAX_STEPS) -> Iterator[Command]:
    """Move to a pose of the gripper, until it is reached, something is in the way, or the steps are over."""
    position = np.clip(position, *WORKSPACE)
    nearest, since = np.inf, 0
    for _ in range(steps):
        offset, turn = np.abs(position - cell.pinch).max(), abs(yaw - cell.yaw)
        if offset < _TOLERANCE and turn < _YAW_TOLERANCE:
            return
        distance = max(offset / MAX_SPEED, turn / MAX_ROTATION)  # seconds
        nearest, since = (distance, 0) if distance < nearest - _PROGRESS else (nearest, since + 1)
        if since == _PATIENCE:
            return
        yield toward(cell, position, yaw, close)


def pause(cell: Workcell, steps: int, close: bool) -> Iterator[Command]:
    """Hold still, with the fingers opening or closing."""
    for _ in range(steps):
        yield Command(np.zeros(4), close)


def approach(cell: Workcell, grasp: Grasp) -> Iterator[Command]:
    """Move above a grasp with open fingers, over everything that lies there."""
    top = max(float(cell.vertices(colour)[:, 2].max()) for colour in COLOURS)
    height = max(top + _FINGERS_BELOW_PINCH + CLEARANCE, grasp.position[2] + APPROACH_HEIGHT)
    yield from move(cell, np.array([*grasp.position[:2], height]), grasp.yaw, close=False)


def pick(cell: Workcell, grasp: Grasp) -> Iterator[Command]:
    """Go down to a grasp from above it, close the fingers, and lift."""
    yield from move(cell, grasp.position, grasp.yaw, close=False, steps=40)
    yield from pause(cell, CLOSING_STEPS, close=True)
    yield from lift(cell)


def lift(cell: Workcell) -> Iterator[Command]:
    """Lift with closed fingers by a few centimetres."""
    target = cell.pinch + [0.0, 0.0, MAX_SPEED * 0.05 * LIFTING_STEPS]
    yield from move(cell, target, cell.yaw, close=True, steps=LIFTING_STEPS)


def carry(cell: Workcell, placement: Placement, held: str, below: tuple[str, ...]) -> Iterator[Command]:
    """Carry an object above its place, over other objects.

    Args:
      cell: The scene.
      placement: Where to put the object.
      held: Colour of the object.
      below: Colours of the objects to lift it over.
    """
    top = max(float(cell.vertices(colour)[:, 2].max()) for colour in below)
    depth = cell.pinch[2] - float(cell.vertices(held)[:, 2].min())
    height = min(max(top + depth + CLEARANCE, placement.position[2] + CLEARANCE), WORKSPACE[1, 2])
    yield from move(cell, np.array([*cell.pinch[:2], height]), cell.yaw, close=True, steps=60)
    yield from move(cell, np.array([*placement.position[:2], height]), placement.yaw, close=True)


def put_down(cell: Workcell, placement: Placement, held: str, on: str) -> Iterator[Command]:
    """Lower an object until it touches the one below it, open the fingers, and rise."""
    for _ in range(60):
        if cell.criteria.objects_touch(held, on) or cell.pinch[2] < placement.position[2] - 0.012:
            break
        command = toward(cell, placement.position, placement.yaw, close=True)
        command.velocity[2] = -_LOWERING_SPEED
        yield command
    yield from pause(cell, OPENING_STEPS, close=False)
    yield from rise(cell)


def let_fall(cell: Workcell, placement: Placement) -> Iterator[Command]:
    """Lower an object to its place, open the fingers there, and rise."""
    yield from move(cell, placement.position, placement.yaw, close=True, steps=30)
    yield from pause(cell, OPENING_STEPS, close=False)
    yield from rise(cell)


def rise(cell: Workcell) -> Iterator[Command]:
    """Rise straight up with open fingers, clear of all objects."""
    top = max(float(cell.vertices(colour)[:, 2].max()) for colour in COLOURS)
    height = min(top + _FINGERS_BELOW_PINCH + CLEARANCE, WORKSPACE[1, 2])
    yield from move(cell, np.array([*cell.pinch[:2], max(height, cell.pinch[2])]), cell.yaw, close=False, steps=50)
