"""The rules by which `inference` says what the numbers of a recording mean, each with the evidence for it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Float

from gato_jax.episodes import Continuous, Discrete, Episode, Gripper, Image, Modality, TaskSpec

QUANTILES = (0.01, 0.5, 0.99)
_TIMES = ("timestamp", "timestamps", "time")
# Of each unit, what makes a control step between a millisecond and a second.
_UNITS = (("s", 1.0), ("ms", 1e3), ("us", 1e6), ("ns", 1e9))
_ROUNDING = 1e-6  # relative: limits are often float64, actions float32
_END = 0.05  # of its range: where a value counts as at an end

_Kind = Literal["binary", "continuous"]
# {key: (S, size) float64} over all sampled steps.
Columns = Mapping[str, np.ndarray]


class Statement(NamedTuple):
    """What is said of a recording.

    Attributes:
      about: the key, element or part of the body.
      claim, evidence: in words.
      confidence: in [0, 1]; 1 where it was declared or counted.
      declared: whether the task says so; inferred otherwise.
      problem: whether a person has to look at it: it is degenerate, or not as declared.
    """

    about: str
    claim: str
    evidence: str
    confidence: float
    declared: bool = False
    problem: bool = False


class Element(NamedTuple):
    """One element, row-major, of a continuous key over the sampled steps; `quantiles` are those of `QUANTILES`."""

    key: str
    number: int
    low: float
    high: float
    quantiles: tuple[float, ...]
    distinct: int


def elements_of(side: str, modalities: Mapping[str, Modality], columns: Columns) -> list[Element]:
    """The elements of the continuous keys."""
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


def degenerate(element: Element) -> Statement:
    """What is said of an element that has one value."""
    return Statement(
        f"{element.key}[{element.number}]",
        "it never changes",
        f"every value is {element.low:.6g}; leave it out, or declare its limits",
        1.0,
        problem=True,
    )


def action_limits(modalities: Mapping[str, Modality], acted: Columns) -> tuple[dict[str, Modality], list[Statement]]:
    """Each action with finite limits: its own where they are, else those of the data; and what is said of them."""
    proposed, statements = dict(modalities), []
    for key, modality in modalities.items():
        if not isinstance(modality, Continuous):
            continue
        low, high = (limit.copy() for limit in modality.limits)
        for number, values in enumerate(acted[key].T):
            about, least, most = f"action {key}[{number}]", float(values.min()), float(values.max())
            evidence = f"{least:.6g} to {most:.6g} over {len(values):,} steps"
            if np.isfinite((low[number], high[number])).all():
                beyond = _beyond(values, low[number], high[number])
                claim = f"limits [{low[number]:.6g}, {high[number]:.6g}]"
                evidence += f", {beyond:,} of them beyond the limits" if beyond else ""
                statements.append(Statement(about, claim, evidence, 1.0, declared=True, problem=beyond > 0))
                continue
            low[number], high[number], confidence, how = _range(values)
            claim = f"limits [{low[number]:.6g}, {high[number]:.6g}]"
            statements.append(Statement(about, claim, f"{evidence}; {how}", confidence))
        proposed[key] = dataclasses.replace(modality, low=tuple(low.tolist()), high=tuple(high.tolist()))
    return proposed, statements


def _beyond(values: Float[np.ndarray, " steps"], low: float, high: float) -> int:
    """How many lie outside of the limits, but for the rounding of float32."""
    slack = _ROUNDING * max(1.0, abs(low), abs(high))
    return int(((values < low - slack) | (values > high + slack)).sum())


def _range(values: Float[np.ndarray, " steps"]) -> tuple[float, float, float, str]:
    """Low, high, confidence and how they were found: a few extremes far from all others are no limits to scale by."""
    least, lower, upper, most = np.quantile(values, (0.0, 0.01, 0.99, 1.0)).tolist()
    if 0 < 3 * (upper - lower) < most - least:
        return lower, upper, 0.4, "the extremes are far out, so its 1% and 99% quantiles"
    return least, most, 0.7, "its extremes"


def joint_limits(spec: TaskSpec, acted: Columns) -> list[Statement]:
    """Of joints that are declared; none is ever made up."""
    body = spec.embodiment
    if body is None or not body.joints:
        return [Statement("joints", "not declared", "numbers do not tell their kinds; declare them", 0.0)]
    statements = []
    for number, joint in enumerate(body.joints):
        claim, evidence, beyond = (
            f"{joint.kind}, limits [{joint.low:.6g}, {joint.high:.6g}]",
            "no action commands it",
            0,
        )
        if body.joint_targets is not None:
            values = acted[body.joint_targets][:, number]
            beyond = _beyond(values, joint.low, joint.high)
            evidence = f"commanded from {values.min():.6g} to {values.max():.6g}, {beyond:,} steps beyond the limits"
        statements.append(Statement(f"joint {joint.name}", claim, evidence, 1.0, declared=True, problem=beyond > 0))
    return statements


def find_gripper(spec: TaskSpec, acted: Columns) -> tuple[Gripper | None, Statement]:
    """The declared one, or the element of an action that most looks like one; of equals the last, as is usual."""
    if spec.embodiment is not None and spec.embodiment.gripper is not None:
        gripper = spec.embodiment.gripper
        claim = f"{gripper.kind}, action {gripper.action!r}, elements {list(gripper.elements)}"
        return gripper, Statement("gripper", claim, "the task says so", 1.0, declared=True)
    guesses: list[tuple[float, str, int, _Kind, str]] = [
        (confidence, key, number, kind, evidence)
        for key, column in acted.items()
        for number, values in enumerate(column.T)
        for confidence, kind, evidence in _looks_like_gripper(spec.action[key], key, values)
    ]
    if not guesses:
        return None, Statement("gripper", "none found", "no element of an action looks like one", 0.5)
    best = max(guess[0] for guess in guesses)
    alike = [guess for guess in guesses if guess[0] == best]
    confidence, key, number, kind, evidence = alike[-1]
    if len(alike) > 1:
        confidence /= len(alike)
        evidence += f"; so do {', '.join(f'{other[1]}[{other[2]}]' for other in alike[:-1])}"
    gripper = Gripper(kind=kind, action=key, elements=(number,))
    return gripper, Statement("gripper", f"{kind}, action {key}[{number}]", f"element {number} {evidence}", confidence)


def _looks_like_gripper(
    modality: Modality, key: str, values: Float[np.ndarray, " steps"]
) -> Iterator[tuple[float, _Kind, str]]:
    """(confidence, kind, evidence), at most one."""
    if isinstance(modality, Discrete) and modality.n != 2:
        return
    low, high, steps, named = values.min(), values.max(), f"over {len(values):,} steps", "grip" in key.lower()
    if low == high:
        return
    distinct = np.unique(values)
    if len(distinct) == 2:
        yield 0.95 if named else 0.9, "binary", f"takes 2 values, {low:.6g} and {high:.6g}, {steps}"
        return
    at_low, at_high = (values <= low + _END * (high - low)).mean(), (values >= high - _END * (high - low)).mean()
    if at_low + at_high > 0.95 and min(at_low, at_high) > 0.05:
        ends = f"{at_low:.0%} near {low:.6g}, {at_high:.0%} near {high:.6g}"
        yield 0.8 if named else 0.7, "binary", f"is at its ends, {ends}, {steps}"
    elif low >= 0 and high <= 1 and high - low > 0.5:
        yield 0.5 if named else 0.4, "continuous", f"stays in [0, 1], from {low:.6g} to {high:.6g}, {steps}"


def of_cameras(spec: TaskSpec, episodes: int) -> list[Statement]:
    """One for each image that is observed."""
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


def control_rate(spec: TaskSpec, sample: Sequence[Episode], timestamps: str | None) -> tuple[float | None, Statement]:
    """The declared rate, or that of an observation that holds times."""
    about, declared = "control rate", spec.control_rate_hz
    names = {*_TIMES, timestamps}
    key = next((key for key in spec.observation if key in names or key.split("/")[-1] in _TIMES), None)
    times = (
        []
        if key is None
        else [np.diff(one.observation[key].reshape(len(one), -1)[:, 0].astype(float)) for one in sample]
    )
    intervals = np.concatenate(times) if times else np.zeros(0)
    if not len(intervals):
        said = "no observation holds times"
        claim = "unknown" if declared is None else f"{declared:.6g} Hz"
        return declared, Statement(about, claim, said, 0.0 if declared is None else 1.0, declared=declared is not None)
    typical, spread = float(np.median(intervals)), float(np.quantile(intervals, 0.99) - np.quantile(intervals, 0.01))
    evidence = (
        f"the median interval of {key} is {typical:.6g}, its spread {spread:.2g}, over {len(intervals):,} intervals"
    )
    if declared is not None:
        ratio = [unit for unit, per_second in _UNITS if abs(typical * declared / per_second - 1) < 0.05]
        return declared, Statement(about, f"{declared:.6g} Hz", evidence, 1.0, declared=True, problem=not ratio)
    unit = next(((unit, per_second) for unit, per_second in _UNITS if 1e-3 <= typical / per_second < 1), None)
    if unit is None or (intervals <= 0).any():
        return None, Statement(about, "unknown", f"{evidence}; no unit makes control of it", 0.0, problem=True)
    rate = unit[1] / typical
    confidence = 0.9 if spread < 0.2 * typical else 0.6
    return rate, Statement(about, f"{rate:.6g} Hz", f"{evidence}, read as {unit[0]}", confidence)
