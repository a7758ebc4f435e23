"""Plans for the domains of DM Control that touch and hold objects: finger, manipulator and stacker."""

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


def _finger_spin(readings: Readings) -> np.ndarray:
    speed = -readings["hinge_velocity"][..., 0]
    return (speed >= 15.0) + 0.5 * np.clip(speed / 15.0, -1.0, 3.0)


def _finger_turn(readings: Readings) -> np.ndarray:
    to_target = (readings["target"] - readings["tip"])[..., [0, 2]]
    distance = np.linalg.norm(to_target, axis=-1) - readings.model.site("target").size[0]
    still = np.minimum(np.abs(readings["hinge_velocity"][..., 0]), 10.0)
    tip = readings["touchtop_pos"]
    away = np.linalg.norm((tip - readings["tip"])[..., [0, 2]], axis=-1)
    return (distance <= 0) - 4 * np.maximum(distance, 0.0) - 0.02 * still - 0.5 * away


GRASP, PINCH = Sensor("framepos", "site", "grasp"), Sensor("framepos", "site", "pinch")
BALL, TARGET_BALL = Sensor("framepos", "site", "ball"), Sensor("framepos", "site", "target_ball")
HAND_Z = Sensor("framezaxis", "xbody", "hand")


def _distance(readings: Readings, first: Sensor, second: Sensor) -> np.ndarray:
    return np.linalg.norm(readings[first] - readings[second], axis=-1)


def _bring_ball(readings: Readings) -> np.ndarray:
    at_target = _distance(readings, BALL, TARGET_BALL)
    in_hand = _distance(readings, BALL, GRASP)
    close = tolerance(at_target, 0.0, 0.01, margin=0.02)
    open_when_far = np.clip(in_hand / 0.06, 0.0, 1.0) * readings.position("thumb")
    return 3 * close - 2 * at_target - 2 * in_hand + 0.3 * tolerance(in_hand, margin=0.05) - 0.1 * open_when_far


PEG, TARGET_PEG = Sensor("framepos", "site", "peg"), Sensor("framepos", "site", "target_peg")
PEG_TIP, TARGET_PEG_TIP = Sensor("framepos", "site", "peg_tip"), Sensor("framepos", "site", "target_peg_tip")
PEG_GRASP, PEG_PINCH = Sensor("framepos", "site", "peg_grasp"), Sensor("framepos", "site", "peg_pinch")


def _bring_peg(readings: Readings) -> np.ndarray:
    def close(distance):
        return tolerance(distance, 0.0, 0.01, margin=0.02)

    grasp, pinch = _distance(readings, PEG_GRASP, GRASP), _distance(readings, PEG_PINCH, PINCH)
    bring, tip = _distance(readings, PEG, TARGET_PEG), _distance(readings, PEG_TIP, TARGET_PEG_TIP)
    reward = np.maximum((close(bring) + close(tip)) / 2, (close(grasp) + close(pinch)) / 6)
    return 3 * reward - grasp - pinch - bring - tip


STACK_TARGET = Sensor("framepos", "site", "target")


def _stack(readings: Readings, box: Sensor) -> np.ndarray:
    size = float(readings.model.geom("target").size[0])
    to_target, to_hand = _distance(readings, box, STACK_TARGET), _distance(readings, box, GRASP)
    close = tolerance(to_target, margin=2 * size)
    far = tolerance(_distance(readings, GRASP, STACK_TARGET), 0.1, np.inf, margin=0.01)
    return 3 * close * far + close - 2 * to_target - 2 * to_hand * (to_target > 0.02)


def _arm_plan(value: Callable[[Readings], np.ndarray], *sensors: Sensor) -> Plan:
    return Plan(
        objective=Objective(
            value=value,
            sensors=(GRASP, *sensors),
            shaped="The reward is zero until the object is within centimetres of its place.",
        ),
        budget=Budget(samples=32, horizon=20),
        sampler=MPPI(noise=SplinedNoise(knots=5), sigma=0.5),
        hold=2,
        coarsening=5,
    )


_SPIN = Plan(
    objective=Objective(value=_finger_spin, shaped="The reward is zero until the body spins fast."),
    budget=Budget(samples=48, horizon=20, iterations=3),
    sampler=CEM(noise=ColouredNoise(exponent=1.0), sigma=1.5),  # the mean of different strokes misses the body
)
_TURN = Plan(
    objective=Objective(value=_finger_turn, shaped="The reward is zero until the tip of the body is in the target."),
    budget=Budget(samples=32, horizon=30),
    sampler=MPPI(noise=SplinedNoise(knots=6), sigma=0.7),
)
_BRING_BALL = _arm_plan(_bring_ball, BALL, TARGET_BALL)
_BRING_PEG = _arm_plan(_bring_peg, PINCH, PEG, TARGET_PEG, PEG_TIP, TARGET_PEG_TIP, PEG_GRASP, PEG_PINCH)
_BOX = Sensor("framepos", "site", "box0")
_STACK = _arm_plan(functools.partial(_stack, box=_BOX), _BOX, STACK_TARGET)

PLANS = {
    "finger/spin": _SPIN,
    "finger/turn_easy": _TURN,
    "finger/turn_hard": _TURN,
    "manipulator/bring_ball": _BRING_BALL,
    "manipulator/bring_peg": _BRING_PEG,
    "manipulator/insert_ball": _BRING_BALL,
    "manipulator/insert_peg": _BRING_PEG,
    "stacker/stack_2": _STACK,
    "stacker/stack_4": _STACK,
}
