"""The choice of grasps and placements by trial in a copy of the scene."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gato_jax.experts.rgb_stacking import moves, placements
from gato_jax.experts.rgb_stacking.drops import Drops
from gato_jax.experts.rgb_stacking.grasps import Grasp, candidates, distinct
from gato_jax.experts.rgb_stacking.placements import Placement
from gato_jax.experts.rgb_stacking.workcell import Trials, Workcell

_MAX_TRIED_GRASPS, _MAX_TRIED_PLACEMENTS = 8, 3
_GOOD_DRIFT = 0.02  # metres; a placement below it needs no better one
_POOR_DRIFT = 0.035  # metres; a placement above it falls about as often as not
_LIFTED = 0.02  # metres that a held object rises at least
_ABOVE_PLACE = 0.006  # metres above a placement from which it is tried


class Choices:
    """The choices of one episode.

    Args:
      cell: The scene that is played, which they never change.
      triplet: Names of the red, the green and the blue object.
    """

    def __init__(self, cell: Workcell, triplet: Sequence[str]):
        self._cell, self._trials, self._drops = cell, Trials(cell), Drops(cell, triplet)

    def grasp_to_stack(self) -> tuple[Grasp | None, bool]:
        """Return the grasp of red after which it can be placed best, and True if it is likely to stay there.

        The grasp is None if no grasp holds.
        """
        start, best, least = self._trials.state_of(self._cell), None, np.inf
        for grasp in self._grasps("red", start):
            if not self._holds(grasp, "red", start):
                continue
            places = placements.stable_placements(self._trials, self._drops)
            drift = places[0].drift if places else np.inf
            if best is None or drift < least:
                best, least = grasp, drift
            if drift < _GOOD_DRIFT:
                break
        return best, least < _POOR_DRIFT

    def placement(self) -> Placement | None:
        """Return the first of the most stable placements of the held red object that succeeds in a trial.

        If none succeeds, the most stable one that the arm can reach is returned; None if it is poor.
        """
        start, reached = self._trials.state_of(self._cell), None
        self._trials.put_state(start)
        for place in placements.stable_placements(self._trials, self._drops)[:_MAX_TRIED_PLACEMENTS]:
            self._trials.put_state(start)
            if not self._trials.carry_to(place.position + [0.0, 0.0, _ABOVE_PLACE], place.yaw, "red"):
                continue
            if place.drift < _POOR_DRIFT:
                reached = reached or place
            self._trials.run(moves.put_down(self._trials, place, "red", "blue"))
            if self._trials.criteria.stacked():
                return place
        return reached

    def tumble(self) -> tuple[str, Grasp, np.ndarray] | None:
        """Return an object to grasp and to let fall over another one, after which red can be placed on blue.

        Returns:
          Colour, grasp, and the displacement (3,) of the object before it is let go; None if none is found.
        """
        start = self._trials.state_of(self._cell)
        self._trials.put_state(start)
        found = placements.best_tumble(self._trials, self._drops)
        if found is None:
            return None
        colour, displacement = found
        held = (grasp for grasp in self._grasps(colour, start) if self._holds(grasp, colour, start))
        grasp = next(held, None)
        return None if grasp is None else (colour, grasp, displacement)

    def _grasps(self, colour: str, start: np.ndarray) -> list[Grasp]:
        self._trials.put_state(start)
        return distinct(candidates(self._trials, colour))[:_MAX_TRIED_GRASPS]

    def _holds(self, grasp: Grasp, colour: str, start: np.ndarray) -> bool:
        """Return True if a grasp lifts the object in a trial, after which the trial's state is that of the lift."""
        self._trials.put_state(start)
        height = self._trials.criteria.position(colour)[2]
        if not self._trials.carry_to(grasp.position + [0.0, 0.0, moves.APPROACH_HEIGHT], grasp.yaw, None):
            return False
        self._trials.run(moves.pick(self._trials, grasp))
        return self._trials.criteria.grasped() and self._trials.criteria.position(colour)[2] > height + _LIFTED
