"""Rules that infer action limits, gripper and control rate from the numbers of a recording, with the evidence."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from gato_jax.episodes import Continuous, Discrete, Episode, Gripper, Image, Modality, TaskSpec

QUANTILES = (0.01, 0.5, 0.99)
_TIME_KEYS = ("timestamp", "timestamps", "time")
# Units of recorded times, and how many of each make a second.
_UNITS = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))
_ROUNDING = 1e-6  # relative tolerance: limits are often float64, actions float32
_END_FRACTION = 0.05  # fraction of the range within which a value counts as being at an end of it

_GripperKind = Literal["binary", "continuous"]
# {key: (S, size) float64}, the flattened values of S sampled steps.
Columns = Mapping[str, np.ndarray]


class Statement(NamedTuple):
    """One finding about a recording, for a person to read.

    Attributes:
      subject: what the finding concerns: a key, one of its elements, or a part of the robot.
      claim: the finding, in words.
      evidence: the data that support it, in words.
      confidence: confidence in [0, 1]. It is 1 for a property that was declared or counted, and 0 if nothing is known.
      declared: whether the task declares the property. If not, it is inferred from the data.
      problem: whether a person must look at it, because an element is constant, the data contradict the declaration, or
        recorded times give no plausible control rate.
    """

    subject: str
    claim: str
    evidence: str
    confidence: float
    declared: bool = False
    problem: bool = False


class Element(NamedTuple):
    """Statistics of one element of a continuous observation or action over the sampled steps.

    Attributes:
      key: "observation KEY" or "action KEY".
      number: index of the element in the flattened value.
      low: smallest value.
      high: largest value.
      quantiles: the quantiles at `QUANTILES`: 1%, 50% and 99%.
      distinct: number of distinct values.
    """

    key: str
    number: int
    low: float
    high: float
    quantiles: tuple[float, ...]
    distinct: int


def summarize_elements(side: str, modalities: Mapping[str, Modality], columns: Columns) -> list[Element]:
    """Return statistics of each element of the continuous keys, in the order of `columns`; other keys are skipped.

    Args:
      side: "observation" or "action", which begins the key of each element.
      modalities: {key: modality} of that side.
      columns: the sampled values, {key: (S, size)}.
    """
    return [
        Element(
            f"{side} {key}",
            number,
            float(values.min()),
            float(values.max()),
            tuple(np.quantile(values, QUANTILES).tolist()),
            len(np.unique(values)),
        )
        for key, column in columns.items()
        if isinstance(modalities[key], Continuous)
        for number, values in enumerate(column.T)
    ]


def report_constant(element: Element) -> Statement:
    """Return the statement, marked as a problem, that an element has the same value at all sampled steps.

    The function does not check that the value is the same.
    """
    return Statement(
        f"{element.key}[{element.number}]",
        "it never changes",
        f"every value is {element.low:.6g}; leave it out, or declare its limits",
        1.0,
        problem=True,
    )


def propose_action_limits(
    modalities: Mapping[str, Modality], actions: Columns
) -> tuple[dict[str, Modality], list[Statement]]:
    """Propose finite limits for each continuous action.

    Both limits of an element stay if both are declared and finite; values beyond them make its statement a problem.
    Otherwise both are estimated from the data, also if one of them is declared. A constant element gets equal limits.

    Args:
      modalities: {key: modality} of the actions. Those that are not continuous are returned as they are.
      actions: the sampled actions, {key: (S, size)}.

    Returns:
      {key: modality} of all actions, with finite limits, and one statement for each element of the continuous ones.
    """
    proposed, statements = dict(modalities), []
    for key, modality in modalities.items():
        if not isinstance(modality, Continuous):
            continue
        low, high = (limit.copy() for limit in modality.limits)
        for number, values in enumerate(actions[key].T):
            subject, smallest, largest = f"action {key}[{number}]", float(values.min()), float(values.max())
            evidence = f"{smallest:.6g} to {largest:.6g} over {len(values):,} steps"
            if np.isfinite((low[number], high[number])).all():
                beyond = _count_outside(values, low[number], high[number])
                claim = f"limits [{low[number]:.6g}, {high[number]:.6g}]"
                evidence += f", {beyond:,} of them beyond the limits" if beyond else ""
                statements.append(Statement(subject, claim, evidence, 1.0, declared=True, problem=beyond > 0))
                continue
            low[number], high[number], confidence, method = _estimate_limits(values)
            claim = f"limits [{low[number]:.6g}, {high[number]:.6g}]"
            statements.append(Statement(subject, claim, f"{evidence}; {method}", confidence))
        proposed[key] = dataclasses.replace(modality, low=tuple(low.tolist()), high=tuple(high.tolist()))
    return proposed, statements


def _count_outside(values: Float[np.ndarray, " steps"], low: float, high: float) -> int:
    """Return the number of values outside of [low, high], with a tolerance for float32 rounding.

    The tolerance is 1e-6 times the largest of 1, |low| and |high|.
    """
    slack = _ROUNDING * max(1.0, abs(low), abs(high))
    return int(((values < low - slack) | (values > high + slack)).sum())


def _estimate_limits(values: Float[np.ndarray, " steps"]) -> tuple[float, float, float, str]:
    """Estimate the limits of an element from its values.

    The limits are the extremes, unless the extremes are outliers: more than three times as far apart as the 1% and 99%
    quantiles, so that most of the scaled range would be unused. In that case the limits are the two quantiles, if they
    differ from each other.

    Returns:
      Low limit, high limit, confidence (0.7 for extremes, 0.4 for quantiles), and the method in words.
    """
    smallest, lower, upper, largest = np.quantile(values, (0.0, 0.01, 0.99, 1.0)).tolist()
    if 0 < 3 * (upper - lower) < largest - smallest:
        return lower, upper, 0.4, "the extremes are far out, so its 1% and 99% quantiles"
    return smallest, largest, 0.7, "its extremes"


def check_joint_limits(spec: TaskSpec, actions: Columns) -> list[Statement]:
    """Compare the declared limits of each joint with the actions that command it; values beyond them are a problem.

    Joints are never inferred: a list of numbers does not show whether a joint is revolute or prismatic.

    Args:
      spec: the task.
      actions: the sampled actions.

    Returns:
      One statement for each declared joint, whether or not an action commands it. If no joint is declared, a single
      statement that says so, with confidence 0, which is not a problem.
    """
    body = spec.embodiment
    if body is None or not body.joints:
        return [Statement("joints", "not declared", "their kinds cannot be inferred from numbers; declare them", 0.0)]
    statements = []
    for number, joint in enumerate(body.joints):
        claim, evidence, beyond = (
            f"{joint.kind}, limits [{joint.low:.6g}, {joint.high:.6g}]",
            "no action commands it",
            0,
        )
        if body.joint_targets is not None:
            values = actions[body.joint_targets][:, number]
            beyond = _count_outside(values, joint.low, joint.high)
            evidence = f"commanded from {values.min():.6g} to {values.max():.6g}, {beyond:,} steps beyond the limits"
        statements.append(Statement(f"joint {joint.name}", claim, evidence, 1.0, declared=True, problem=beyond > 0))
    return statements


def find_gripper(spec: TaskSpec, actions: Columns) -> tuple[Gripper | None, Statement]:
    """Return the declared gripper, or the action element that most resembles one.

    If several elements are equally likely, the last is chosen, because datasets usually put the gripper last, and the
    confidence is divided by their number.

    Args:
      spec: the task.
      actions: the sampled actions.

    Returns:
      The gripper, or None if no element resembles one, and a statement about it.
    """
    if spec.embodiment is not None and spec.embodiment.gripper is not None:
        gripper = spec.embodiment.gripper
        claim = f"{gripper.kind}, action {gripper.action!r}, elements {list(gripper.elements)}"
        return gripper, Statement("gripper", claim, "the task declares it", 1.0, declared=True)
    guesses: list[tuple[float, str, int, _GripperKind, str]] = [
        (confidence, key, number, kind, evidence)
        for key, column in actions.items()
        for number, values in enumerate(column.T)
        for confidence, kind, evidence in _score_as_gripper(spec.action[key], key, values)
    ]
    if not guesses:
        return None, Statement("gripper", "none found", "no element of an action looks like one", 0.5)
    best = max(guess[0] for guess in guesses)
    ties = [guess for guess in guesses if guess[0] == best]
    confidence, key, number, kind, evidence = ties[-1]
    if len(ties) > 1:
        confidence /= len(ties)
        evidence += f"; so do {', '.join(f'{other[1]}[{other[2]}]' for other in ties[:-1])}"
    gripper = Gripper(kind=kind, action=key, elements=(number,))
    return gripper, Statement("gripper", f"{kind}, action {key}[{number}]", f"element {number} {evidence}", confidence)


def _score_as_gripper(
    modality: Modality, key: str, values: Float[np.ndarray, " steps"]
) -> Iterator[tuple[float, _GripperKind, str]]:
    """Yield (confidence, kind, evidence) once if an action element resembles a gripper command, otherwise nothing.

    The kind is "binary" if the element takes exactly two values (confidence 0.9), or if more than 95% of the steps are
    near its smallest or its largest value, within 5% of its range, and more than 5% are near each of the two (0.7). The
    kind is "continuous" if the element stays in [0, 1] and covers more than half of it (0.4). A key that contains
    "grip" raises the confidence by 0.05 for two values, otherwise by 0.1. A constant element is no gripper.

    Args:
      modality: modality of the action. A Discrete one with n other than 2 is no gripper.
      key: key of the action.
      values: values of one element over all sampled steps.
    """
    if isinstance(modality, Discrete) and modality.n != 2:
        return
    low, high, steps, named = values.min(), values.max(), f"over {len(values):,} steps", "grip" in key.lower()
    if low == high:
        return
    distinct = np.unique(values)
    if len(distinct) == 2:
        yield 0.95 if named else 0.9, "binary", f"takes 2 values, {low:.6g} and {high:.6g}, {steps}"
        return
    at_low, at_high = (
        (values <= low + _END_FRACTION * (high - low)).mean(),
        (values >= high - _END_FRACTION * (high - low)).mean(),
    )
    if at_low + at_high > 0.95 and min(at_low, at_high) > 0.05:
        ends = f"{at_low:.0%} near {low:.6g}, {at_high:.0%} near {high:.6g}"
        yield 0.8 if named else 0.7, "binary", f"is at its ends, {ends}, {steps}"
    elif low >= 0 and high <= 1 and high - low > 0.5:
        yield 0.5 if named else 0.4, "continuous", f"stays in [0, 1], from {low:.6g} to {high:.6g}, {steps}"


def describe_cameras(spec: TaskSpec, episodes: int) -> list[Statement]:
    """Return one statement about each camera, that is, each image observation, with its size and channels.

    Args:
      spec: the task.
      episodes: number of episodes in the sample.
    """
    declared = {camera.key for camera in spec.embodiment.cameras} if spec.embodiment else set()
    return [
        Statement(
            f"camera {key}",
            f"images {image.height} high, {image.width} wide, of {image.channels} channels",
            f"as read in {episodes} episodes; intrinsics and extrinsics cannot be inferred",
            1.0,
            declared=key in declared,
        )
        for key, image in spec.observation.items()
        if isinstance(image, Image)
    ]


def infer_control_rate(
    spec: TaskSpec, sample: Sequence[Episode], timestamps: str | None
) -> tuple[float | None, Statement]:
    """Return the declared control rate, or infer it from an observation that holds times.

    The rate follows from the median interval, in the unit (s, ms, us or ns) that puts it above 1 Hz and at most at
    1000 Hz. If there is no such unit, or an interval is not positive, the rate is None and the statement is a problem.
    A declared rate is always returned; the statement is a problem if the rate differs from the data by 5% or more in
    every unit.

    Args:
      spec: the task.
      sample: the sampled episodes.
      timestamps: key of an observation that holds the times of the steps, in addition to the usual names: a key whose
        last part is "timestamp", "timestamps" or "time", as in "robot/time". None for these alone.

    Returns:
      The rate in hertz, or None if it is unknown, and a statement about it.
    """
    subject, declared = "control rate", spec.control_rate_hz
    names = {*_TIME_KEYS, timestamps}
    key = next((key for key in spec.observation if key in names or key.split("/")[-1] in _TIME_KEYS), None)
    times = (
        []
        if key is None
        else [np.diff(one.observation[key].reshape(len(one), -1)[:, 0].astype(float)) for one in sample]
    )
    intervals = np.concatenate(times) if times else np.zeros(0)
    if not len(intervals):
        evidence = "no observation holds times"
        claim = "unknown" if declared is None else f"{declared:.6g} Hz"
        return declared, Statement(
            subject, claim, evidence, 0.0 if declared is None else 1.0, declared=declared is not None
        )
    typical, spread = float(np.median(intervals)), float(np.quantile(intervals, 0.99) - np.quantile(intervals, 0.01))
    evidence = (
        f"the median interval of {key} is {typical:.6g}, its spread {spread:.2g}, over {len(intervals):,} intervals"
    )
    if declared is not None:
        ratio = [unit for unit, per_second in _UNITS if abs(typical * declared / per_second - 1) < 0.05]
        return declared, Statement(subject, f"{declared:.6g} Hz", evidence, 1.0, declared=True, problem=not ratio)
    unit = next(((unit, per_second) for unit, per_second in _UNITS if 1e-3 <= typical / per_second < 1), None)
    if unit is None or (intervals <= 0).any():
        return None, Statement(
            subject, "unknown", f"{evidence}; no unit gives a plausible control rate", 0.0, problem=True
        )
    rate = unit[1] / typical
    confidence = 0.9 if spread < 0.2 * typical else 0.6
    return rate, Statement(subject, f"{rate:.6g} Hz", f"{evidence}, read as {unit[0]}", confidence)
