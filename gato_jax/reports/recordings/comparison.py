"""Comparison of two datasets, for example of simulated and of real recordings of one task."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gato_jax.reports.recordings.findings import DataStatistics, Dimension, DiscreteElement, Spread, Texts

_CELLS = 32  # of a histogram


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """The difference between two datasets in one quantity that both have.

    Attributes:
      side: "observation" or "action"; empty for a quantity of episodes.
      name: name of the dimension, measure, discrete element, text key or quantity of episodes.
      kind: "continuous", "image", "discrete", "text" or "episode".
      distance: in [0, 1]. For numbers it is the Kolmogorov-Smirnov distance, the largest difference between the
        cumulative distributions of both samples; for discrete values and texts the total variation distance.
      mean_difference: second mean minus first mean, divided by the square root of the mean of both variances; None if
        there are no means, or if both variances are zero and the means differ.
      first_mean, second_mean, first_deviation, second_deviation: means and standard deviations; None without means.
      histograms: counts of both datasets over the same bins or discrete values; the page draws them, the JSON leaves
        them out.
    """

    side: str
    name: str
    kind: str
    distance: float
    mean_difference: float | None = None
    first_mean: float | None = None
    second_mean: float | None = None
    first_deviation: float | None = None
    second_deviation: float | None = None
    histograms: tuple[tuple[int, ...], ...] = dataclasses.field(default=(), repr=False)

    def to_json(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "histograms"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Comparison:
    """All differences between two datasets.

    Attributes:
      first, second: names of the tasks.
      differences: the largest distance first.
      warnings: signs that the datasets are of different tasks: other names or keys.
      only_first, only_second: quantities, as "action joints[2]", that only one of them has, or that are of different
        kinds or numbers of discrete values.
    """

    first: str
    second: str
    differences: tuple[Difference, ...]
    warnings: tuple[str, ...]
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "differences": [difference.to_json() for difference in self.differences]}


def compare(first: DataStatistics, second: DataStatistics) -> Comparison:
    """Compare two datasets in every quantity that both have under one side, name and kind.

    These are episode lengths, returns if either has rewards, continuous elements, image measures, discrete elements and
    texts.
    """
    first_parts, second_parts = _by_name(first), _by_name(second)
    shared = [
        name for name, part in first_parts.items() if name in second_parts and _comparable(part, second_parts[name])
    ]
    differences = [
        *_episode_differences(first, second),
        *(_difference(*name, first_parts[name], second_parts[name]) for name in shared),
    ]
    return Comparison(
        first=first.dataset,
        second=second.dataset,
        differences=tuple(sorted(differences, key=_order)),
        warnings=tuple(_warnings(first, second)),
        only_first=tuple(" ".join(name[1:]) for name in first_parts if name not in shared),
        only_second=tuple(" ".join(name[1:]) for name in second_parts if name not in shared),
    )


def _warnings(first: DataStatistics, second: DataStatistics) -> Iterator[str]:
    """Yield sentences, without full stop, on signs that two datasets are of different tasks: other names or keys."""
    if first.dataset != second.dataset:
        names = f"{first.dataset} and {second.dataset}"
        yield f"{names} are different tasks: the differences may be those of the tasks, not of the recordings"
    for which, data, other in (("first", first, second), ("second", second, first)):
        if keys := [key for key in data.keys if key not in other.keys]:
            yield f"the tasks have different keys: only the {which} has {', '.join(keys)}"


_Part = Dimension | DiscreteElement | Texts
_Name = tuple[str, str, str]  # kind, side, name


def _by_name(data: DataStatistics) -> dict[_Name, _Part]:
    """Return {(kind, side, name): part} of the dimensions, image measures, discrete elements and texts of a dataset."""
    parts: dict[_Name, _Part] = {("continuous", d.side, d.name): d for d in data.dimensions}
    parts |= {("image", m.side, m.name): m for camera in data.cameras for m in camera.measures}
    parts |= {("discrete", e.side, e.name): e for e in data.discrete}
    return parts | {("text", texts.side, texts.key): texts for texts in data.texts}


def _comparable(one: _Part, other: _Part) -> bool:
    """Return whether two parts of one kind can be compared: discrete elements need the same number of values."""
    return not isinstance(one, DiscreteElement) or len(one.counts) == len(getattr(other, "counts", ()))


def _episode_differences(first: DataStatistics, second: DataStatistics) -> Iterator[Difference]:
    for name in ("lengths", "returns") if first.rewarded or second.rewarded else ("lengths",):
        one, other = getattr(first, name), getattr(second, name)
        yield _numeric_difference("episode", "", name, one, one.values, other, other.values)


def _difference(kind: str, side: str, name: str, one: _Part, other: _Part) -> Difference:
    if isinstance(one, Dimension) and isinstance(other, Dimension):
        return _numeric_difference(kind, side, name, one, one.sample, other, other.sample)
    if isinstance(one, DiscreteElement) and isinstance(other, DiscreteElement):
        histograms = one.counts, other.counts
        distance = total_variation(*(dict(enumerate(counts)) for counts in histograms))
        return Difference(kind=kind, side=side, name=name, distance=distance, histograms=histograms)
    if isinstance(one, Texts) and isinstance(other, Texts):
        return Difference(kind=kind, side=side, name=name, distance=total_variation(one.counts, other.counts))
    raise TypeError(f"{name} is {type(one).__name__} in one dataset and {type(other).__name__} in the other")


def _numeric_difference(
    kind: str, side: str, name: str, one: Spread | Dimension, values: np.ndarray, other: Spread | Dimension,
    other_values: np.ndarray,
) -> Difference:  # fmt: skip
    spread = math.sqrt((one.standard_deviation**2 + other.standard_deviation**2) / 2)
    mean_gap = other.mean - one.mean
    ends = min(values.min(), other_values.min()), max(values.max(), other_values.max())
    return Difference(
        kind=kind,
        side=side,
        name=name,
        distance=kolmogorov_smirnov(values, other_values),
        mean_difference=0.0 if mean_gap == 0 else mean_gap / spread if spread else None,
        first_mean=one.mean,
        second_mean=other.mean,
        first_deviation=one.standard_deviation,
        second_deviation=other.standard_deviation,
        histograms=tuple(histogram(sample, ends) for sample in (values, other_values)),
    )


def histogram(values: np.ndarray, ends: tuple[float, float] | None = None) -> tuple[int, ...]:
    """Return the counts of (N,) values in 32 equal bins between `ends`; values beyond them are not counted.

    If `ends` is None, the bins lie between the minimum and the maximum of the values.
    """
    return tuple(np.histogram(values, _CELLS, ends)[0].tolist())


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """Return the largest difference between the cumulative distributions of (N,) and (M,) values, in [0, 1]."""
    values = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def total_variation(first: Mapping[Any, int], second: Mapping[Any, int]) -> float:
    """Return the total variation distance of two counts {value: number}, in [0, 1].

    It is half of the summed absolute differences of each value's share. A value that is missing counts 0.
    """
    totals = [max(sum(counts.values()), 1) for counts in (first, second)]
    keys = dict.fromkeys([*first, *second])
    return 0.5 * math.fsum(abs(first.get(key, 0) / totals[0] - second.get(key, 0) / totals[1]) for key in keys)


def _order(difference: Difference) -> tuple[float, float, str]:
    """Return a sort key: the largest distance first, then the largest difference of the means, then the name."""
    if difference.first_mean is None:
        mean_gap = 0.0
    else:
        mean_gap = math.inf if difference.mean_difference is None else abs(difference.mean_difference)
    return -difference.distance, -mean_gap, difference.name
