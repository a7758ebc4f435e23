"""The script: grasp red, look whether it is held, carry it over blue, put it down, and try again after a failure."""

from __future__ import annotations

from collections.abc import Iterator

import dm_env
import numpy as np

from gato_jax.environments.suites.rgb_stacking import RGBStacking
from gato_jax.environments.worlds.stacking.objects import COLOURS
from gato_jax.experts.base import Expert
from gato_jax.experts.rgb_stacking import moves
from gato_jax.experts.rgb_stacking.choices import Choices
from gato_jax.experts.rgb_stacking.grasps import Grasp
from gato_jax.experts.rgb_stacking.placements import Placement
from gato_jax.experts.rgb_stacking.workcell import Command, Workcell, played
from gato_jax.rollouts import Action


class StackingScript(Expert[RGBStacking]):
    """A script that reads shapes and poses of the objects from the simulator, whereas an imitator has to see them.

    Where red cannot be placed on blue as both lie, it first lets one of them fall over another object.
    """

    agent = "script that tries its grasps and placements in a copy of the simulator"

    def reset(self, environment: RGBStacking, seed: int) -> None:
        cell = played(environment)
        self._commands = _play(cell, Choices(cell, environment.triplet))

    def act(self, environment: RGBStacking, timestep: dm_env.TimeStep) -> Action:
        command = next(self._commands)
        return {"velocity": command.velocity.astype(np.float32), "close": np.array(command.close, np.int32)}


def _play(cell: Workcell, choices: Choices) -> Iterator[Command]:
    """Yield commands without end."""
    placeable = True
    while True:
        if cell.criteria.stacked():
            yield from moves.pause(cell, 1, close=False)
            continue
        grasp, promising = choices.grasp_to_stack()
        tumble = None if promising and placeable else choices.tumble()
        placeable = True
        if tumble is not None:
            yield from _tumble(cell, *tumble)
        elif grasp is not None:
            yield from moves.approach(cell, grasp)
            yield from moves.pick(cell, grasp)
            place = choices.placement() if cell.criteria.grasped() else None
            placeable = place is not None or not cell.criteria.grasped()
            if place is not None:
                yield from moves.carry(cell, place, "red", ("green", "blue"))
                yield from moves.put_down(cell, place, "red", "blue")
        yield from moves.pause(cell, 1, close=False)
        yield from moves.rise(cell)


def _tumble(cell: Workcell, colour: str, grasp: Grasp, displacement: np.ndarray) -> Iterator[Command]:
    """Grasp an object, and let it fall after a displacement."""
    target = cell.criteria.position(colour) + displacement
    yield from moves.approach(cell, grasp)
    yield from moves.pick(cell, grasp)
    if not cell.criteria.grasped():
        return
    position = cell.pinch + target - cell.criteria.position(colour)
    place = Placement(position=position, yaw=cell.yaw, drift=0.0)
    yield from moves.carry(cell, place, colour, tuple(other for other in COLOURS if other != colour))
    yield from moves.let_fall(cell, place)
