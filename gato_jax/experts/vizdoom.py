"""Experts for ViZDoom: scripts that aim, walk, collect and dodge by the positions that the engine knows.

An expert knows where everything is in the level, whereas an imitator has to see it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import dm_env
import numpy as np

from gato_jax.environments.suites.vizdoom import FRAME_SKIP, VizDoom
from gato_jax.environments.suites.vizdoom_engine import Scene, Thing
from gato_jax.experts.base import Expert
from gato_jax.experts.vizdoom_maps import Map
from gato_jax.rollouts import Action

_MONSTERS = frozenset("Cacodemon Demon DoomImp MarineChainsawVzd Zombieman ShotgunGuy ChaingunGuy HellKnight".split())
_BODY = 20.0  # radius of the smallest monster, in units of the map
_TURN = 3.5  # half of the degrees of a turn
_KEPT_AWAY = 40.0  # units of the map to things that are bad
_WORTH_OF_A_DEGREE = 2.0  # of turning, in units of distance


class _Script(Expert[VizDoom]):
    """A script that names the buttons to press; noise replaces an action by any other."""

    default_noise = 0.05

    def __init__(self, task: str):
        self._task = task

    def act(self, environment: VizDoom, timestep: dm_env.TimeStep) -> Action:
        names = environment.action_names
        return {"action": np.asarray(names.index(self.choose(environment.scene())))}

    def choose(self, scene: Scene) -> str:
        """Return the name of the action in a scene."""
        raise NotImplementedError


class Strafer(_Script):
    """A marksman who looks ahead, steps sideways until a monster is in front, and shoots."""

    agent = "script that steps in front of the monster and shoots"

    def choose(self, scene: Scene) -> str:
        monsters = _monsters(scene)
        if not monsters:
            return "-"
        aside = monsters[0].position[1] - scene.position[1]  # the player looks along the first axis
        if abs(aside) < _BODY:
            return "ATTACK"
        return "MOVE_LEFT" if aside > 0 else "MOVE_RIGHT"


class Turret(_Script):
    """A marksman who cannot walk: turns to the monster that is the most urgent, and shoots when it is in the sights."""

    agent = "script that turns to the nearest monster and shoots"

    def choose(self, scene: Scene) -> str:
        monsters = _monsters(scene)
        if not monsters:
            return "-"
        target = min(monsters, key=lambda monster: _urgency(scene, monster))
        action, off = _aim(scene, target), abs(_error(scene, target.position))
        spare = self._task == "defend_the_line"  # it has bullets to spare
        return f"{action}+ATTACK" if spare and action != "ATTACK" and off < 2 * _TURN else action


class Marksman(_Script):
    """A marksman with one rocket, who shoots when the rocket will meet the monster, which walks to and fro."""

    agent = "script that shoots a rocket to where the monster will be"
    _ROCKET_SPEED = 20.0  # units a tic
    _DELAY = 8.0  # tics from the button to the rocket

    def reset(self, environment: VizDoom, seed: int) -> None:
        self._seen: list[np.ndarray] = []

    def choose(self, scene: Scene) -> str:
        monsters = _monsters(scene)
        if not monsters:
            return "-"
        place = monsters[0].position
        self._seen.append(place)
        past = self._seen[-25:]
        if len(past) < 12:
            return "-"
        velocity = (past[-1] - past[0]) / (FRAME_SKIP * (len(past) - 1))
        flight = np.linalg.norm(place - scene.position) / self._ROCKET_SPEED
        for _ in range(3):
            met = place + velocity * (self._DELAY + flight)
            flight = np.linalg.norm(met - scene.position) / self._ROCKET_SPEED
        error = _error(scene, met)
        if abs(error) < 1.2:
            return "ATTACK"
        if abs(error) > 2 * _TURN:
            return "TURN_LEFT" if error > 0 else "TURN_RIGHT"
        return "-"


class Collector(_Script):
    """A walker to the nearest thing of the kind that is good, around walls and around things that are bad."""

    agent = "shortest path to the nearest thing to collect"
    _GOOD = frozenset({"Medikit", "CustomMedikit", "GreenArmor"})
    _BAD = frozenset({"Poison"})

    def reset(self, environment: VizDoom, seed: int) -> None:
        self._places: tuple[tuple[float, ...], ...] | None = None

    def choose(self, scene: Scene) -> str:
        good = [thing.position for thing in scene.things if thing.name in self._GOOD]
        if not good:
            return "-"
        bad = np.array([thing.position for thing in scene.things if thing.name in self._BAD])
        places = tuple(map(tuple, bad))
        if places != self._places:
            self._places, self._map = places, Map(scene.walls, bad, _KEPT_AWAY)
        goal = min(good, key=lambda place: float(np.linalg.norm(place - scene.position)))
        return _walk(scene, self._map.next_place(scene.position, goal))


class Runner(_Script):
    """A fighter in a corridor, who shoots the monsters near, and then walks on to the armour at the end."""

    agent = "script that shoots the monsters near and walks to the armour"
    _NEAR = 250.0  # where they are seen from the front; from farther away, bullets miss

    def choose(self, scene: Scene) -> str:
        near = [one for one in _monsters(scene) if np.linalg.norm(one.position - scene.position) < self._NEAR]
        if near:
            return _aim(scene, min(near, key=lambda monster: _urgency(scene, monster)))
        goals = [thing.position for thing in scene.things if thing.name == "GreenArmor"]
        return _walk(scene, goals[0]) if goals else "MOVE_FORWARD"


class Dodger(_Script):
    """A dodger of fireballs, who steps to the side where they pass farthest."""

    agent = "script that steps out of the way of fireballs"
    _SPEED = 8.0  # units a tic of a step aside
    _SIDE = 60.0  # distance to keep from the ends of the room

    def reset(self, environment: VizDoom, seed: int) -> None:
        self._before: dict[int, np.ndarray] = {}

    def choose(self, scene: Scene) -> str:
        balls = [thing for thing in scene.things if thing.name.endswith("Ball")]
        flights = [
            (ball.position, (ball.position - self._before[ball.number]) / FRAME_SKIP)
            for ball in balls
            if ball.number in self._before
        ]
        self._before = {ball.number: ball.position for ball in balls}
        low, high = scene.walls[:, [1, 3]].min() + self._SIDE, scene.walls[:, [1, 3]].max() - self._SIDE
        middle = (low + high) / 2
        costs = {}
        for name, speed in (("-", 0.0), ("MOVE_LEFT", self._SPEED), ("MOVE_RIGHT", -self._SPEED)):
            cost = 1e-4 * abs(scene.position[1] + 4 * speed - middle)
            for tics in range(4, 41, 4):
                aside = np.clip(scene.position[1] + speed * min(tics, 16), low, high)
                here = np.array([scene.position[0], aside])
                for place, velocity in flights:
                    distance = float(np.linalg.norm(place + tics * velocity - here))
                    cost += max(0.0, 1.0 - distance / 80.0) * 40.0 / tics
            costs[name] = cost
        return min(costs, key=lambda name: costs[name])


def _monsters(scene: Scene) -> list[Thing]:
    return [thing for thing in scene.things if thing.name in _MONSTERS]


def _error(scene: Scene, place: np.ndarray) -> float:
    """Return the angle in degrees by which to turn left to look at a place, from -180 to 180."""
    x, y = place - scene.position
    return (math.degrees(math.atan2(y, x)) - scene.angle + 180.0) % 360.0 - 180.0


def _urgency(scene: Scene, monster: Thing) -> float:
    """Return the distance of a monster, with that of a turn to it; small for a monster that is to be shot first."""
    return float(np.linalg.norm(monster.position - scene.position)) + _WORTH_OF_A_DEGREE * abs(
        _error(scene, monster.position)
    )


def _aim(scene: Scene, monster: Thing) -> str:
    """Return the action to turn to a monster, or to shoot when it is in the sights."""
    error, distance = _error(scene, monster.position), float(np.linalg.norm(monster.position - scene.position))
    if abs(error) < max(_TURN / 2, math.degrees(math.atan2(_BODY, distance))):
        return "ATTACK"
    return "TURN_LEFT" if error > 0 else "TURN_RIGHT"


def _walk(scene: Scene, place: np.ndarray) -> str:
    """Return the action to walk to a place: turn on the spot if it is aside, or on the way if it is nearly ahead."""
    error = _error(scene, place)
    turn = "TURN_LEFT" if error > 0 else "TURN_RIGHT"
    if abs(error) > 45.0:
        return turn
    return f"MOVE_FORWARD+{turn}" if abs(error) > 2 * _TURN else "MOVE_FORWARD"


_KINDS: Sequence[tuple[type[_Script], str]] = (
    (Strafer, "basic rocket_basic"),
    (Turret, "defend_the_center defend_the_line"),
    (Marksman, "predict_position"),
    (Collector, "health_gathering health_gathering_supreme my_way_home"),
    (Runner, "deadly_corridor"),
    (Dodger, "take_cover"),
)

EXPERTS: dict[str, type[Expert]] = {f"vizdoom/{level}": kind for kind, levels in _KINDS for level in levels.split()}
