"""Plans for the domains of DM Control that swim: fish and swimmers."""

from __future__ import annotations

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

TORSO_Z = Sensor("framezaxis", "xbody", "torso")
MOUTH, NOSE, TARGET = (Sensor("framepos", "geom", name) for name in ("mouth", "nose", "target"))


def _fish_upright(readings: Readings) -> np.ndarray:
    return tolerance(readings[TORSO_Z][..., 2], 1.0, 1.0, margin=1.0)


def _fish_swim(readings: Readings) -> np.ndarray:
    radii = float(readings.model.geom("mouth").size[0] + readings.model.geom("target").size[0])
    distance = np.linalg.norm(readings[MOUTH] - readings[TARGET], axis=-1)
    in_target = tolerance(distance, 0.0, radii, margin=2 * radii)
    return (7 * in_target + 0.5 * (readings[TORSO_Z][..., 2] + 1)) / 8


def _fish_to_target(readings: Readings) -> np.ndarray:
    return _fish_swim(readings) - np.linalg.norm(readings[MOUTH] - readings[TARGET], axis=-1)


def _swimmer(readings: Readings) -> np.ndarray:
    size = float(readings.model.geom("target").size[0])
    distance = np.linalg.norm((readings[NOSE] - readings[TARGET])[..., :2], axis=-1)
    return tolerance(distance, 0.0, size, margin=5 * size, sigmoid="long_tail")


def _swimmer_to_target(readings: Readings) -> np.ndarray:
    distance = np.linalg.norm((readings[NOSE] - readings[TARGET])[..., :2], axis=-1)
    return _swimmer(readings) - distance


_SWIM = Plan(
    objective=Objective(
        value=_swimmer_to_target,
        sensors=(NOSE, TARGET),
        shaped="The reward is nearly flat far from the target, where each step has to bring the nose closer.",
    ),
    budget=Budget(samples=64, horizon=15, iterations=2),
    sampler=CEM(noise=ColouredNoise(exponent=2.0), sigma=1.5, elites=10, kept=5),
    hold=3,
    final=10.0,
    coarsening=9,
)

PLANS = {
    "fish/upright": Plan(
        objective=Objective(value=_fish_upright, sensors=(TORSO_Z,)),
        budget=Budget(samples=24, horizon=20),
        sampler=MPPI(noise=SplinedNoise(knots=6), sigma=0.6),
        coarsening=2,
    ),
    "fish/swim": Plan(
        objective=Objective(
            value=_fish_to_target,
            sensors=(TORSO_Z, MOUTH, TARGET),
            shaped="The reward is flat beyond a few centimetres from the target.",
        ),
        budget=Budget(samples=64, horizon=24, iterations=2),
        sampler=CEM(noise=ColouredNoise(exponent=2.0), sigma=1.5, elites=10, kept=5),
        final=10.0,
        coarsening=2,
    ),
    "swimmer/swimmer6": _SWIM,
    "swimmer/swimmer15": _SWIM,
}
