"""Plans for the domains of DM Control with a pole, a ball or an arm: few joints and hardly a contact."""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.experts.planning import MPPI, Budget, Objective, Plan, Readings, Sensor, SplinedNoise, tolerance


def _poles(readings: Readings) -> np.ndarray:
    """Return the cosines of the angles of the poles of cartpole with the vertical, (..., poles)."""
    return np.cos(np.cumsum(readings.qpos[..., 1:], axis=-1))


def _poles_up(readings: Readings) -> np.ndarray:
    upright = (_poles(readings).mean(axis=-1) + 1) / 2
    centred = (1 + tolerance(readings.position("slider"), margin=2.0)) / 2
    small_control = (4 + tolerance(readings.action[..., 0], margin=1.0, sigmoid="quadratic", at_margin=0.0)) / 5
    still = (1 + tolerance(readings.qvel[..., 1:], margin=5.0).min(axis=-1)) / 2
    return upright * small_control * still * centred


def _pole_up_at_the_centre(readings: Readings) -> np.ndarray:
    centred = tolerance(readings.position("slider"), -0.25, 0.25, margin=0.5)
    upright = tolerance(_poles(readings)[..., 0], 0.995, 1.0, margin=0.1)
    return _poles_up(readings) + 0.3 * centred * upright


def _pendulum_up(readings: Readings) -> np.ndarray:
    cosine = np.cos(readings.position("hinge"))
    in_target = tolerance(cosine, np.cos(np.deg2rad(8)), 1.0, margin=0.1)
    angle = np.arccos(np.clip(cosine, -1.0, 1.0))
    at_rest = tolerance(angle, margin=0.15) * tolerance(readings.velocity("hinge"), margin=1.0)
    return (cosine + 1) / 4 + in_target / 2 + at_rest / 2


ACROBOT_TIP, ACROBOT_TARGET = Sensor("framepos", "site", "tip"), Sensor("framepos", "site", "target")


def _acrobot_up(readings: Readings) -> np.ndarray:
    distance = np.linalg.norm(readings[ACROBOT_TIP] - readings[ACROBOT_TARGET], axis=-1)
    still = tolerance(readings.qvel, margin=10.0).mean(axis=-1)
    return tolerance(distance, 0.0, 0.1, margin=1.0) * (1 + still) / 2 + 0.1 * (1 - distance / 4)


BALL, CUP = Sensor("framepos", "xbody", "ball"), Sensor("framepos", "site", "target")


def _ball_in_cup(readings: Readings) -> np.ndarray:
    x, _, z = np.moveaxis(readings[BALL] - readings[CUP], -1, 0)
    caught = (np.abs(x) < 0.03) & (np.abs(z) < 0.03)
    below, beside = np.maximum(0.0, -z), np.abs(x) * (z > -0.1)
    return 3 * caught - 0.6 * below - 0.8 * beside - 0.02 * np.sum(readings.qpos[..., :2] ** 2, axis=-1)


def _mass_at_centre(readings: Readings) -> np.ndarray:
    distance = np.linalg.norm(readings.qpos[..., :2], axis=-1)
    return (distance < 0.012) - 10 * distance - 0.02 * np.sum(readings.qvel**2, axis=-1)


FINGER, TARGET = Sensor("framepos", "geom", "finger"), Sensor("framepos", "geom", "target")


def _finger_in_target(readings: Readings) -> np.ndarray:
    distance = np.linalg.norm((readings[FINGER] - readings[TARGET])[..., :2], axis=-1)
    radii = readings.model.geom("target").size[0] + readings.model.geom("finger").size[0]
    return (distance < 0.9 * radii) - 10 * distance - 0.003 * np.sum(readings.qvel**2, axis=-1)


def _regulated(readings: Readings) -> np.ndarray:
    return 1 - 0.5 * np.sum(readings.qpos**2, axis=-1) - 0.05 * np.sum(readings.action**2, axis=-1)


def _linear(knots: int) -> SplinedNoise:
    return SplinedNoise(knots=knots)


_POLE = Objective(value=_poles_up)
_POLE_SPARSE = Objective(
    value=_pole_up_at_the_centre, shaped="The reward is zero until the pole is nearly upright at the centre."
)
_ACROBOT_SENSORS = (ACROBOT_TIP, ACROBOT_TARGET)
_ACROBOT = Objective(
    value=_acrobot_up,
    sensors=_ACROBOT_SENSORS,
    shaped="The reward does not ask for a slow tip, without which the acrobot passes the target and falls.",
)
_POINT_MASS = Objective(
    value=_mass_at_centre, shaped="The reward is zero beyond a few centimetres, further than a short plan reaches."
)
_REACHER = Objective(
    value=_finger_in_target, sensors=(FINGER, TARGET), shaped="The reward is zero until the finger is in the target."
)
_BALL_IN_CUP = Objective(
    value=_ball_in_cup,
    sensors=(BALL, CUP),
    shaped="The reward is zero until the ball is in the cup, and the way there leads over its rim.",
)
_SWINGUP = Plan(
    objective=_POLE,
    budget=Budget(samples=48, horizon=40),
    sampler=MPPI(noise=_linear(8), sigma=0.6, fresh=0.2),
    hold=3,
)
_SWINGUP_SPARSE = dataclasses.replace(_SWINGUP, objective=_POLE_SPARSE)
_SWINGUP_ACROBOT = Plan(
    objective=_ACROBOT,
    budget=Budget(samples=64, horizon=60),
    sampler=MPPI(noise=_linear(12), sigma=0.6, fresh=0.2),
    hold=4,
    coarsening=2,
)
_SHORT = Plan(
    objective=_POINT_MASS,
    budget=Budget(samples=16, horizon=30),
    sampler=MPPI(noise=_linear(4), sigma=0.4),
    replan_every=2,
)
_REACH = Plan(
    objective=_REACHER,
    budget=Budget(samples=16, horizon=25),
    sampler=MPPI(noise=_linear(4), sigma=0.4),
    replan_every=2,
)
_REGULATE = Plan(
    objective=Objective(value=_regulated),
    budget=Budget(samples=32, horizon=30),
    sampler=MPPI(noise=_linear(8), sigma=0.3),
)

PLANS = {
    "acrobot/swingup": _SWINGUP_ACROBOT,
    "acrobot/swingup_sparse": _SWINGUP_ACROBOT,
    "ball_in_cup/catch": Plan(
        objective=_BALL_IN_CUP,
        budget=Budget(samples=48, horizon=60),
        sampler=MPPI(noise=_linear(6), sigma=0.7),
        replan_every=2,
    ),
    "cartpole/balance": _SWINGUP,
    "cartpole/balance_sparse": _SWINGUP_SPARSE,
    "cartpole/swingup": _SWINGUP,
    "cartpole/swingup_sparse": _SWINGUP_SPARSE,
    "cartpole/two_poles": _SWINGUP,
    "cartpole/three_poles": _SWINGUP,
    "lqr/lqr_2_1": _REGULATE,
    "lqr/lqr_6_2": _REGULATE,
    "pendulum/swingup": Plan(
        objective=Objective(
            value=_pendulum_up,
            shaped="The reward is flat within eight degrees, from whose edge the torque cannot bring the pole back.",
        ),
        budget=Budget(samples=32, horizon=60),
        sampler=MPPI(noise=_linear(8), sigma=0.6, fresh=0.2),
        hold=2,
    ),
    "point_mass/easy": _SHORT,
    "point_mass/hard": _SHORT,
    "reacher/easy": _REACH,
    "reacher/hard": _REACH,
}
