"""A copy of PushT's simulation, in which an expert tries out pushes."""

from __future__ import annotations

import dataclasses
from typing import Any

SUBSTEPS, DT = 10, 0.01  # of gym-pusht, for one action
_STIFFNESS, _DAMPING = 100.0, 20.0  # of its controller, which drives the disc


@dataclasses.dataclass(frozen=True, kw_only=True)
class State:
    """State of disc and block.

    Attributes:
      disc: Position of the disc, (x, y).
      velocity: Velocity of the disc per second.
      block: Position of the block's origin.
      angle: Angle of the block in radians.
      block_velocity: Velocity of the block, with which it moves once more before it stops.
      spin: Angular velocity of the block.
    """

    disc: tuple[float, float]
    velocity: tuple[float, float]
    block: tuple[float, float]
    angle: float
    block_velocity: tuple[float, float]
    spin: float


def read(disc: Any, block: Any) -> State:
    """Return the state of two bodies of pymunk."""
    return State(
        disc=tuple(disc.position),
        velocity=tuple(disc.velocity),
        block=tuple(block.position),
        angle=float(block.angle),
        block_velocity=tuple(block.velocity),
        spin=float(block.angular_velocity),
    )


class Copy:
    """A space of pymunk with the bodies of gym-pusht. Its damping is total: the block stops when nothing pushes it."""

    def __init__(self):
        import pymunk
        from gym_pusht.envs import PushTEnv

        self._space = pymunk.Space()
        self._space.damping = 0.0
        corners = ((5, 506), (5, 5), (506, 5), (506, 506))
        for start, end in zip(corners, (*corners[1:], corners[0]), strict=True):
            self._space.add(PushTEnv.add_segment(self._space, start, end, 2))
        self._disc = PushTEnv.add_circle(self._space, (256, 400), 15)
        self._block, self._shapes = PushTEnv.add_tee(self._space, (256, 300), 0)

    @property
    def state(self) -> State:
        return read(self._disc, self._block)

    def restore(self, state: State) -> None:
        """Continue from a state, as if nothing had been in contact before."""
        # Contacts that the solver remembers are forgotten with the shapes.
        self._space.remove(*self._shapes)
        self._disc.position, self._disc.velocity = state.disc, state.velocity
        self._block.angle = state.angle  # turns the block about its centre of gravity, so its position comes later
        self._block.position = state.block
        self._block.velocity, self._block.angular_velocity = state.block_velocity, state.spin
        self._space.add(*self._shapes)
        self._space.reindex_shapes_for_body(self._disc)

    def step(self, target: tuple[float, float]) -> None:
        """Drive the disc to a target for the time of one action."""
        (x, y), (dx, dy) = self._disc.position, self._disc.velocity
        for _ in range(SUBSTEPS):
            dx += (_STIFFNESS * (target[0] - x) - _DAMPING * dx) * DT
            dy += (_STIFFNESS * (target[1] - y) - _DAMPING * dy) * DT
            self._disc.velocity = (dx, dy)
            self._space.step(DT)
            x, y = self._disc.position
