"""Plans for the domains of DM Control that stand, walk and run: cheetah, hopper, walker, humanoids, quadruped, dog."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from gato_jax.experts.planning import (
    CEM,
    MPPI,
    Budget,
    ColouredNoise,
    Objective,
    Plan,
    Readings,
    Sensor,
    SplinedNoise,
    tolerance,
)

TORSO_VELOCITY = "torso_subtreelinvel"  # sensor of the suite's own models
TORSO, TORSO_Z = Sensor("framepos", "xbody", "torso"), Sensor("framezaxis", "xbody", "torso")


def _above(value: np.ndarray, least: float, **options) -> np.ndarray:
    return tolerance(value, least, np.inf, **options)


def _small_control(readings: Readings) -> np.ndarray:
    return (4 + tolerance(readings.action, margin=1.0, sigmoid="quadratic", at_margin=0.0).mean(axis=-1)) / 5


def _cheetah_run(readings: Readings) -> np.ndarray:
    fallen = np.maximum(np.abs(readings.position("rooty")) - 0.8, 0.0)
    return readings[TORSO_VELOCITY][..., 0] / 10 - np.minimum(fallen, 1.0)


HOPPER_TORSO, HOPPER_FOOT = Sensor("framepos", "body", "torso"), Sensor("framepos", "body", "foot")


def _hopper(readings: Readings, hop: bool) -> np.ndarray:
    height = readings[HOPPER_TORSO][..., 2] - readings[HOPPER_FOOT][..., 2]
    rising = tolerance(height, 0.65, 2.0, margin=0.6, sigmoid="linear", at_margin=0.0)
    standing = (rising + tolerance(height, 0.62, 2.0, margin=0.05)) / 2
    lean = np.minimum(np.abs(readings.position("rooty")), 2.0) / 2
    if hop:
        return standing * (0.6 + 0.6 * np.clip(readings[TORSO_VELOCITY][..., 0] / 2, -0.5, 1.0)) - 0.3 * lean
    return standing * _small_control(readings) - 0.3 * lean


def _walker(readings: Readings, speed: float) -> np.ndarray:
    standing = _above(readings[TORSO][..., 2], 1.2, margin=0.6)
    upright = (1 + readings[TORSO_Z][..., 2]) / 2
    stand = (3 * standing + upright) / 4
    if speed == 0:
        return stand
    forward = readings[TORSO_VELOCITY][..., 0]
    move = _above(forward, speed, margin=speed / 2, sigmoid="linear", at_margin=0.5)
    return stand * (5 * move + 1) / 6


def _walker_run(readings: Readings) -> np.ndarray:
    stand = _walker(readings, 0.0)
    return stand * (1 + 5 * np.clip(readings[TORSO_VELOCITY][..., 0] / 8, -1, 1)) / 6


def _humanoid(readings: Readings, speed: float, head: Sensor, up: Sensor, velocity: str) -> np.ndarray:
    standing = _above(readings[head][..., 2], 1.4, margin=0.35)
    upright = _above(readings[up][..., 2], 0.9, margin=1.9, sigmoid="linear", at_margin=0.0)
    horizontal = readings[velocity][..., :2]
    if speed == 0:
        move = tolerance(horizontal, margin=2.0).mean(axis=-1)
    else:
        pace = np.linalg.norm(horizontal, axis=-1)
        move = (5 * _above(pace, speed, margin=speed, sigmoid="linear", at_margin=0.0) + 1) / 6
    return _small_control(readings) * standing * upright * move


def _humanoid_up(readings: Readings, speed: float, head: Sensor, up: Sensor, velocity: str) -> np.ndarray:
    height = np.clip(readings[head][..., 2] / 1.4, 0.0, 1.0)
    return 0.5 * height + 0.1 * readings[up][..., 2] + _humanoid(readings, speed, head, up, velocity)


WORKSPACE, QUADRUPED_BALL = Sensor("framepos", "site", "workspace"), Sensor("framepos", "xbody", "ball")
QUADRUPED_TARGET = Sensor("framepos", "site", "target")


def _quadruped_upright(readings: Readings, degrees: float = 0.0) -> np.ndarray:
    cosine = float(np.cos(np.deg2rad(degrees)))
    return _above(readings[TORSO_Z][..., 2], cosine, margin=1 + cosine, sigmoid="linear", at_margin=0.0)


def _quadruped(readings: Readings, speed: float) -> np.ndarray:
    forward = readings["velocimeter"][..., 0]
    return _quadruped_upright(readings) * _above(forward, speed, margin=speed, sigmoid="linear", at_margin=0.5)


def _quadruped_escape(readings: Readings) -> np.ndarray:
    size = float(readings.model.hfield_size[0, 0])
    distance = np.linalg.norm(readings[WORKSPACE], axis=-1)
    return _quadruped_upright(readings, 20.0) * _above(distance, size, margin=size, sigmoid="linear", at_margin=0.0)


def _quadruped_fetch(readings: Readings) -> np.ndarray:
    model, ball = readings.model, readings[QUADRUPED_BALL][..., :2]
    arena = float(model.geom("floor").size[0] * np.sqrt(2))
    near = float(model.site("workspace").size[0] + model.geom("ball").size[0])
    to_ball = np.linalg.norm(readings[WORKSPACE][..., :2] - ball, axis=-1)
    to_target = np.linalg.norm(readings[QUADRUPED_TARGET][..., :2] - ball, axis=-1)
    reach = tolerance(to_ball, 0.0, near, margin=arena, sigmoid="linear", at_margin=0.0)
    radius = float(model.site("target").size[0])
    fetch = tolerance(to_target, 0.0, radius, margin=arena, sigmoid="linear", at_margin=0.0)
    return _quadruped_upright(readings) * reach * (0.5 + 0.5 * fetch)


DOG_PELVIS, DOG_PELVIS_Z = Sensor("framepos", "xbody", "pelvis"), Sensor("framezaxis", "xbody", "pelvis")
DOG_SKULL_Z, DOG_TORSO_X = Sensor("framezaxis", "xbody", "skull"), Sensor("framexaxis", "xbody", "torso")
DOG_BALL, DOG_TARGET = Sensor("framepos", "geom", "ball"), Sensor("framepos", "geom", "target")
DOG_BITES = (Sensor("framepos", "site", "upper_bite"), Sensor("framepos", "site", "lower_bite"))
DOG_HEIGHTS = 0.9 * np.array([0.35, 0.35])


def _dog_stand(readings: Readings) -> np.ndarray:
    heights = np.stack([readings[TORSO][..., 2], readings[DOG_PELVIS][..., 2]], axis=-1) / DOG_HEIGHTS
    standing = _above(heights, 1.0, margin=1.0).prod(axis=-1)
    cosine = float(np.cos(np.deg2rad(30)))
    axes = np.stack([readings[sensor][..., 2] for sensor in (DOG_SKULL_Z, TORSO_Z, DOG_PELVIS_Z)], axis=-1)
    return standing * _above(axes, cosine, margin=cosine + 1, sigmoid="linear", at_margin=0.0).prod(axis=-1)


def _dog_move(readings: Readings, speed: float) -> np.ndarray:
    forward = np.sum(readings["torso_linvel"] * readings[DOG_TORSO_X], axis=-1)
    move = tolerance(forward, speed, 2 * speed, margin=max(1.0, speed), sigmoid="linear", at_margin=0.0)
    return _dog_stand(readings) * (4 * move + 1) / 5


def _dog_fetch(readings: Readings) -> np.ndarray:
    ball = readings[DOG_BALL]
    to_mouth = sum(np.linalg.norm(ball - readings[bite], axis=-1) for bite in DOG_BITES) / 2
    reach = tolerance(np.asarray(to_mouth), 0.0, 0.02, margin=2.0, sigmoid="reciprocal")
    radius, arena = float(readings.model.geom("target").size[0]), float(readings.model.geom("floor").size[0])
    to_target = np.linalg.norm(ball - readings[DOG_TARGET], axis=-1)
    near_target = tolerance(to_target, 0.0, radius, margin=arena, sigmoid="reciprocal")
    reach = np.where(to_target < 2 * radius, 1.0, (6 * reach + 1) / 7)
    return _dog_stand(readings) * reach * (near_target + 1) / 2


def _linear(knots: int) -> SplinedNoise:
    return SplinedNoise(knots=knots)


def _hopper_plan(hop: bool) -> Plan:
    return Plan(
        objective=Objective(
            value=functools.partial(_hopper, hop=hop),
            sensors=(HOPPER_TORSO, HOPPER_FOOT),
            shaped="The reward is zero until the hopper stands, and it starts lying.",
        ),
        budget=Budget(samples=48, horizon=25, iterations=2),
        sampler=CEM(noise=ColouredNoise(exponent=2.0), sigma=1.0, elites=10, kept=5),
        hold=2,
    )


def _walker_plan(value: Callable[[Readings], np.ndarray]) -> Plan:
    return Plan(
        objective=Objective(value=value, sensors=(TORSO, TORSO_Z)),
        budget=Budget(samples=40, horizon=36),
        sampler=MPPI(noise=_linear(4), sigma=0.6),
        coarsening=2,
    )


_LYING = "The reward is nearly zero while the humanoid lies, in which state it starts."


def _humanoid_plan(speed: float, head: Sensor, up: Sensor, velocity: str) -> Plan:
    value = functools.partial(_humanoid_up, speed=speed, head=head, up=up, velocity=velocity)
    return Plan(
        objective=Objective(value=value, sensors=(head, up), shaped=_LYING),
        budget=Budget(samples=64, horizon=20),
        sampler=MPPI(noise=_linear(5), sigma=0.9),  # with less noise it stays where it lies
        hold=2,
        coarsening=2,
    )


_HUMANOID = functools.partial(
    _humanoid_plan, head=Sensor("framepos", "xbody", "head"), up=TORSO_Z, velocity=TORSO_VELOCITY
)
_CMU = functools.partial(
    _humanoid_plan,
    head=Sensor("framepos", "xbody", "head"),
    up=Sensor("frameyaxis", "xbody", "thorax"),
    velocity="thorax_subtreelinvel",
)


def _quadruped_plan(value: Callable[[Readings], np.ndarray], *sensors: Sensor) -> Plan:
    return Plan(
        objective=Objective(value=value, sensors=(TORSO_Z, *sensors)),
        budget=Budget(samples=32, horizon=25),
        sampler=MPPI(noise=_linear(5), sigma=0.5),
        hold=2,
        coarsening=2,
    )


def _dog_plan(value: Callable[[Readings], np.ndarray], *sensors: Sensor) -> Plan:
    return Plan(
        objective=Objective(
            value=value,
            sensors=(TORSO, TORSO_Z, DOG_PELVIS, DOG_PELVIS_Z, DOG_SKULL_Z, DOG_TORSO_X, *sensors),
            shaped="The reward for the touch of the feet is left out: it varies with single contacts.",
        ),
        budget=Budget(samples=64, horizon=15),
        sampler=MPPI(noise=_linear(4), sigma=0.3),
        hold=2,
    )


PLANS = {
    "cheetah/run": Plan(
        objective=Objective(
            value=_cheetah_run,
            shaped="The reward is the same on the back, from where the cheetah cannot run fast.",
        ),
        budget=Budget(samples=80, horizon=50, iterations=2),
        sampler=CEM(noise=ColouredNoise(exponent=3.0), sigma=1.0, elites=12, kept=8),
    ),
    "dog/stand": _dog_plan(_dog_stand),
    "dog/walk": _dog_plan(functools.partial(_dog_move, speed=1.0)),
    "dog/trot": _dog_plan(functools.partial(_dog_move, speed=3.0)),
    "dog/run": _dog_plan(functools.partial(_dog_move, speed=9.0)),
    "dog/fetch": _dog_plan(_dog_fetch, DOG_BALL, DOG_TARGET, *DOG_BITES),
    "hopper/stand": _hopper_plan(hop=False),
    "hopper/hop": _hopper_plan(hop=True),
    "humanoid/stand": _HUMANOID(0.0),
    "humanoid/walk": _HUMANOID(1.0),
    "humanoid/run": _HUMANOID(10.0),
    "humanoid/run_pure_state": _HUMANOID(10.0),
    "humanoid_CMU/stand": _CMU(0.0),
    "humanoid_CMU/walk": _CMU(1.0),
    "humanoid_CMU/run": _CMU(10.0),
    "quadruped/walk": _quadruped_plan(functools.partial(_quadruped, speed=0.5)),
    "quadruped/run": _quadruped_plan(functools.partial(_quadruped, speed=5.0)),
    "quadruped/escape": _quadruped_plan(_quadruped_escape, WORKSPACE),
    "quadruped/fetch": _quadruped_plan(_quadruped_fetch, WORKSPACE, QUADRUPED_BALL, QUADRUPED_TARGET),
    "walker/stand": _walker_plan(functools.partial(_walker, speed=0.0)),
    "walker/walk": _walker_plan(functools.partial(_walker, speed=1.0)),
    "walker/run": Plan(
        objective=Objective(
            value=_walker_run,
            sensors=(TORSO, TORSO_Z),
            shaped="The reward is the same for all speeds below zero, and hardly rises until the walker runs.",
        ),
        budget=Budget(samples=32, horizon=24, iterations=2),
        sampler=CEM(noise=ColouredNoise(exponent=2.0), sigma=1.2, kept=5),
        coarsening=2,
    ),
}
