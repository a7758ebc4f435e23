"""Plans for the domains of DM Control with a pole, a ball or an arm: few joints and hardly a contact."""

from __future__ import annotations

import numpy as np

from gato_jax.experts.planning import MPPI, Budget, Objective, Plan, Readings, Sensor, SplinedNoise, tolerance


def _small_control(readings: Readings) -> np.ndarray:
    return (4 + tolerance(readings.action, margin=1.0, sigmoid="quadratic", at_margin=0.0).mean(axis=-1)) / 5


def _near_centre(readings: Readings) -> np.ndarray:
    distance = np.linalg.norm(readings.qpos[..., :2], axis=-1)
    return (distance < 0.012) - 10 * distance - 0.02 * np.sum(readings.qvel**2, axis=-1)


FINGER, TARGET = Sensor("framepos", "geom", "finger"), Sensor("framepos", "geom", "target")


def _finger_near_target(readings: Readings) -> np.ndarray:
    distance = np.linalg.norm((readings[FINGER] - readings[TARGET])[..., :2], axis=-1)
    return (distance < 0.055) - 10 * distance - 0.003 * np.sum(readings.qvel**2, axis=-1)


def _pole_up(readings: Readings) -> np.ndarray:
    upright = (np.cos(readings.position("hinge_1")) + 1) / 2
    centred = (1 + tolerance(readings.position("slider"), margin=2.0)) / 2
    small_control = (4 + tolerance(readings.action[..., 0], margin=1.0, sigmoid="quadratic", at_margin=0.0)) / 5
    still = (1 + tolerance(readings.velocity("hinge_1"), margin=5.0)) / 2
    return upright * centred * small_control * still


BALL, CUP = Sensor("framepos", "xbody", "ball"), Sensor("framepos", "site", "target")


def _ball_in_cup(readings: Readings) -> np.ndarray:
    x, _, z = np.moveaxis(readings[BALL] - readings[CUP], -1, 0)
    caught = (np.abs(x) < 0.03) & (np.abs(z) < 0.03)
    below, beside = np.maximum(0.0, -z), np.abs(x) * (z > -0.1)
    return 3 * caught - 0.6 * below - 0.8 * beside - 0.02 * np.sum(readings.qpos[..., :2] ** 2, axis=-1)


def _linear(knots: int) -> SplinedNoise:
    return SplinedNoise(knots=knots)


PLANS = {
    "point_mass/easy": Plan(
        objective=Objective(
            value=_near_centre, shaped="The reward is zero beyond a few centimetres, further than a short plan reaches."
        ),
        budget=Budget(samples=16, horizon=30),
        sampler=MPPI(noise=_linear(4), sigma=0.4),
        replan_every=2,
    ),
    "reacher/easy": Plan(
        objective=Objective(
            value=_finger_near_target,
            sensors=(FINGER, TARGET),
            shaped="The reward is zero until the finger is in the target.",
        ),
        budget=Budget(samples=16, horizon=25),
        sampler=MPPI(noise=_linear(4), sigma=0.4),
        replan_every=2,
    ),
    "cartpole/swingup": Plan(
        objective=Objective(value=_pole_up),
        budget=Budget(samples=24, horizon=80),
        sampler=MPPI(noise=_linear(10), sigma=0.6),
        replan_every=2,
    ),
    "ball_in_cup/catch": Plan(
        objective=Objective(
            value=_ball_in_cup,
            sensors=(BALL, CUP),
            shaped="The reward is zero until the ball is in the cup, and the way there leads over its rim.",
        ),
        budget=Budget(samples=48, horizon=60),
        sampler=MPPI(noise=_linear(6), sigma=0.7),
        replan_every=2,
    ),
}
