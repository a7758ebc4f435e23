"""Scripts for the four tasks of the Fetch arm that are observed as state vectors; slide simulates strikes.

Reach, push, and pick and place are functions of the observation alone. In slide the puck leaves the arm's reach, so one
strike has to be right: the expert simulates strikes on copies of the simulator's data, and corrects direction and
speed of each by the place where the puck of the one before came to lie.
"""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

import dm_env
import numpy as np

from gato_jax.environments.suites.fetch import MAX_DISPLACEMENT
from gato_jax.environments.suites.fetch_state import MAX_STEPS, FetchState
from gato_jax.experts.base import Expert
from gato_jax.experts.fetch import pick_and_place
from gato_jax.experts.fetch_dynamics import FetchDynamics
from gato_jax.rollouts import Action


class Scene(NamedTuple):
    """Positions in metres that the observation has: gripper, object and goal, (3,) each, and the fingers' distance."""

    gripper: np.ndarray
    item: np.ndarray
    goal: np.ndarray
    opening: float


def observed_scene(timestep: dm_env.TimeStep) -> Scene:
    """Return the scene of an observation; without an object, it is the gripper itself."""
    observation = timestep.observation
    numbers, achieved = observation["observation"].astype(np.float64), observation["achieved_goal"].astype(np.float64)
    opening = float(numbers[9:11].sum()) if len(numbers) == 25 else 0.0
    return Scene(numbers[:3], achieved, observation["desired_goal"].astype(np.float64), opening)


def command(displacement: np.ndarray, fingers: float = -1.0) -> Action:
    """Return the action that moves the gripper by a displacement in metres, clipped, and the fingers by -1 to 1."""
    return {"action": np.clip(np.append(displacement / MAX_DISPLACEMENT, fingers), -1.0, 1.0).astype(np.float32)}


class FetchReach(Expert[FetchState]):
    """The straight way to the goal."""

    agent = "script: straight to the goal"
    default_noise = 0.1

    def act(self, environment: FetchState, timestep: dm_env.TimeStep) -> Action:
        scene = observed_scene(timestep)
        return command(scene.goal - scene.gripper)


class FetchPickAndPlace(Expert[FetchState]):
    """The script of the suite `fetch`, on the observation of this one; it holds the block at the goal."""

    agent = "script for pick and place"
    default_noise = 0.1

    def act(self, environment: FetchState, timestep: dm_env.TimeStep) -> Action:
        scene = observed_scene(timestep)
        displacement, opening = pick_and_place(scene.gripper, scene.opening, scene.item, scene.goal)
        return command(displacement, 2 * opening - 1)


_PUSH_BEHIND = 0.065  # distance in metres from the block's centre at which the gripper comes down
_PUSH_ABOVE = 0.07  # height in metres above the block at which the gripper travels
_PUSH_ALIGNED = 0.02  # largest distance in metres of the gripper from the line through block and goal
_PUSH_DONE = 0.015  # distance in metres from the goal at which the block is left alone


class FetchPush(Expert[FetchState]):
    """A script that goes over the block to the side away from the goal, comes down, and pushes along the line to it."""

    agent = "script for pushing along the line to the goal"
    default_noise = 0.1

    def act(self, environment: FetchState, timestep: dm_env.TimeStep) -> Action:
        scene = observed_scene(timestep)
        to_goal = (scene.goal - scene.item) * [1.0, 1.0, 0.0]
        distance = float(np.linalg.norm(to_goal))
        if distance < _PUSH_DONE:
            return command(np.zeros(3))
        direction = to_goal / distance
        offset = (scene.gripper - scene.item) * [1.0, 1.0, 0.0]
        aside = offset - (offset @ direction) * direction
        height = scene.gripper[2] - scene.item[2]
        if offset @ direction < -0.025 and np.linalg.norm(aside) < _PUSH_ALIGNED and height < 0.03:
            return command(direction * min(0.5 * distance + 0.01, 0.03) - aside)
        behind = scene.item - _PUSH_BEHIND * direction
        to_behind = behind - scene.gripper
        if np.linalg.norm(to_behind[:2]) < 0.015:
            return command(to_behind)
        return command(to_behind + [0.0, 0.0, _PUSH_ABOVE])


@dataclasses.dataclass(frozen=True)
class Strike:
    """A strike that sends the puck off.

    Attributes:
      angle: Direction in the plane, in radians.
      speed: Speed of the gripper as a fraction of the largest one.
      shift: Distance in metres of the gripper's line from the puck's centre, to its left: the fingers have flat sides,
        and send the puck off at an angle only from their edges.
    """

    angle: float
    speed: float
    shift: float = 0.0

    @property
    def direction(self) -> np.ndarray:
        """The unit vector of the direction, (3,)."""
        return np.array([np.cos(self.angle), np.sin(self.angle), 0.0])


_STREAM = 0x736C6964  # separates the search from the other random numbers of the episode, which have the same seed
_RUN_UP = 0.09  # distance in metres from the puck's centre at which the strike begins
_FOLLOW = 0.06  # distance in metres behind the puck's first place at which the gripper stops
_STRIKE_HEIGHT = 0.015  # height in metres of the gripper above the puck's centre, so that it does not rub the table
_CLEARANCE = 0.06  # height in metres above the puck's centre at which the gripper travels
_ATTEMPTS = 60  # strikes that are simulated at most
_AT_REST = 0.003  # distance in metres that the puck has moved at most before the strike
_CLOSE_ENOUGH = 0.025  # distance in metres from the goal at which the search ends


def strike_actions(dynamics: FetchDynamics, strike: Strike, steps: int) -> list[Action]:
    """Simulate a strike, and return its actions.

    Args:
      dynamics: Copy of the simulator at the start; at the end of the strike on return.
      strike: Direction and speed.
      steps: Number of steps.
    """
    direction, actions, striking = strike.direction, [], False
    centre = dynamics.item + strike.shift * np.array([-direction[1], direction[0], 0.0])
    for _ in range(steps):
        offset = dynamics.gripper - centre
        along = offset @ direction
        aside = (offset - along * direction) * [1.0, 1.0, 0.0]
        start = -_RUN_UP * direction + [0.0, 0.0, _STRIKE_HEIGHT] - offset
        striking = striking or bool(np.linalg.norm(start) < 0.015)
        if not striking:
            travels = np.linalg.norm(start[:2]) > 0.03
            action = command(start + [0.0, 0.0, _CLEARANCE * travels])
        elif along < _FOLLOW:
            action = command(
                strike.speed * MAX_DISPLACEMENT * direction - aside + [0.0, 0.0, _STRIKE_HEIGHT - offset[2]]
            )
        else:
            action = command(np.zeros(3))
        actions.append(action)
        dynamics.step(action["action"])
    return actions


class FetchSlide(Expert[FetchState]):
    """One strike of the puck, whose direction, speed and line are searched by simulation at the start of the episode.

    Under noise, the strike is searched again from where the noise has led to, until the puck moves.
    """

    agent = "script for one strike, chosen among simulated ones"
    default_noise = 0.0

    def __init__(self, task: str):
        super().__init__(task)
        self._plan: list[Action] = []

    def reset(self, environment: FetchState, seed: int) -> None:
        self._generator = np.random.default_rng([seed, _STREAM])
        self._start = FetchDynamics(environment.simulator).item
        self._steps_left = environment.max_steps or MAX_STEPS
        self._plan = self._search(environment)
        self._as_planned = True

    def act(self, environment: FetchState, timestep: dm_env.TimeStep) -> Action:
        moved = np.linalg.norm(observed_scene(timestep).item - self._start)
        if not self._as_planned and moved < _AT_REST:
            self._plan = self._search(environment)
        return self._plan[0]

    def acted(self, action: Action) -> None:
        self._as_planned = np.array_equal(self._plan[0]["action"], action["action"])
        self._plan = self._plan[1:]
        self._steps_left -= 1

    def _search(self, environment: FetchState) -> list[Action]:
        """Return the actions of the strike, of those simulated, whose puck lies nearest to the goal at the end."""
        simulator = environment.simulator
        start, goal = FetchDynamics(simulator).item, simulator.goal
        angle, distance = _polar(goal - start)
        strike = centre = Strike(angle, min(1.1 * np.sqrt(distance), 1.0))
        best, nearest = [], np.inf
        for _ in range(_ATTEMPTS):
            dynamics = FetchDynamics(simulator)
            actions = strike_actions(dynamics, strike, self._steps_left)
            error = float(np.linalg.norm(dynamics.item - goal))
            if error < nearest:
                best, nearest = actions, error
                reached_angle, reached = _polar(dynamics.item - start)
                turn = (angle - reached_angle + np.pi) % (2 * np.pi) - np.pi
                factor = np.clip(np.sqrt(distance / max(reached, 0.01)), 0.7, 1.4)
                centre = Strike(
                    strike.angle + 0.5 * turn, float(np.clip(strike.speed * factor, 0.05, 1.0)), strike.shift
                )
            if error < _CLOSE_ENOUGH:
                break
            spread = min(nearest / distance, 0.3) * self._generator.standard_normal(3)
            strike = Strike(
                centre.angle + spread[0],
                float(np.clip(centre.speed * (1 + 0.3 * spread[1]), 0.05, 1.0)),
                centre.shift + 0.05 * spread[2],
            )
        return best


def _polar(vector: np.ndarray) -> tuple[float, float]:
    """Return the angle in radians and the length of a vector's projection to the plane."""
    return float(np.arctan2(vector[1], vector[0])), float(np.hypot(vector[0], vector[1]))


EXPERTS = {
    "fetch_state/reach": FetchReach,
    "fetch_state/push": FetchPush,
    "fetch_state/slide": FetchSlide,
    "fetch_state/pick_and_place": FetchPickAndPlace,
}
