"""How two datasets differ, as simulated and real recordings of one task do: most different first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gato_jax.reports.recordings.findings import DataStatistics, Dimension, DiscreteElement, Spread, Texts

_CELLS = 32


@dataclasses.dataclass(frozen=True, kw_only=True)
class Difference:
    """One thing that both datasets have.

    Attributes:
      kind: continuous, image, discrete, text or episode.
      distance: in [0, 1]. Of numbers that of Kolmogorov and Smirnov, the largest difference between the cumulative
        distributions of both samples; of discrete values and texts the total variation, the share that would have to
        change.
      mean_difference: of the second mean from the first, in standard deviations (the root of the mean of both
        variances); None where there is no mean, or where both are constant and differ.
      histograms: of both over the same cells, or how often each discrete value came; the page draws them.
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
    """Two datasets.

    Attributes:
      differences: the largest distance first.
      warnings: why the differences may be those of two tasks; none where names and keys are the same.
      only_first, only_second: what one of them has, and the other has not, or not of the same kind.
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
    """What both have, compared element by element."""
    ours, theirs = _by_name(first), _by_name(second)
    shared = [name for name in ours if name in theirs and _comparable(ours[name], theirs[name])]
    differences = [*_of_episodes(first, second), *(_difference(*name, ours[name], theirs[name]) for name in shared)]
    return Comparison(
        first=first.dataset,
        second=second.dataset,
        differences=tuple(sorted(differences, key=_order)),
        warnings=tuple(_warnings(first, second)),
        only_first=tuple(" ".join(name[1:]) for name in ours if name not in shared),
        only_second=tuple(" ".join(name[1:]) for name in theirs if name not in shared),
    )


def _warnings(first: DataStatistics, second: DataStatistics) -> Iterator[str]:
    if first.dataset != second.dataset:
        yield f"{first.dataset} and {second.dataset} are two tasks: what differs may be the tasks, not the recordings"
    for which, data, other in (("first", first, second), ("second", second, first)):
        if keys := [key for key in data.keys if key not in other.keys]:
            yield f"the tasks have different keys: only the {which} has {', '.join(keys)}"


_Part = Dimension | DiscreteElement | Texts
_Name = tuple[str, str, str]  # kind, side, name


def _by_name(data: DataStatistics) -> dict[_Name, _Part]:
    parts: dict[_Name, _Part] = {("continuous", d.side, d.name): d for d in data.dimensions}
    parts |= {("image", m.side, m.name): m for camera in data.cameras for m in camera.measures}
    parts |= {("discrete", e.side, e.name): e for e in data.discrete}
    return parts | {("text", texts.side, texts.key): texts for texts in data.texts}


def _comparable(one: _Part, other: _Part) -> bool:
    """Discrete elements with other numbers of values are not the same thing."""
    return not isinstance(one, DiscreteElement) or len(one.counts) == len(getattr(other, "counts", ()))


def _of_episodes(first: DataStatistics, second: DataStatistics) -> Iterator[Difference]:
    for name in ("lengths", "returns") if first.rewarded or second.rewarded else ("lengths",):
        one, other = getattr(first, name), getattr(second, name)
        yield _of_numbers("episode", "", name, one, one.values, other, other.values)


def _difference(kind: str, side: str, name: str, one: _Part, other: _Part) -> Difference:
    if isinstance(one, Dimension) and isinstance(other, Dimension):
        return _of_numbers(kind, side, name, one, one.sample, other, other.sample)
    if isinstance(one, DiscreteElement) and isinstance(other, DiscreteElement):
        histograms = one.counts, other.counts
        distance = total_variation(*(dict(enumerate(counts)) for counts in histograms))
        return Difference(kind=kind, side=side, name=name, distance=distance, histograms=histograms)
    if isinstance(one, Texts) and isinstance(other, Texts):
        return Difference(kind=kind, side=side, name=name, distance=total_variation(one.counts, other.counts))
    raise TypeError(f"{name}: {type(one).__name__} and {type(other).__name__}")  # names say their kinds


def _of_numbers(
    kind: str, side: str, name: str, one: Spread | Dimension, values: np.ndarray, other: Spread | Dimension,
    other_values: np.ndarray,
) -> Difference:  # fmt: skip
    spread = math.sqrt((one.standard_deviation**2 + other.standard_deviation**2) / 2)
    apart = other.mean - one.mean
    ends = min(values.min(), other_values.min()), max(values.max(), other_values.max())
    return Difference(
        kind=kind,
        side=side,
        name=name,
        distance=kolmogorov_smirnov(values, other_values),
        mean_difference=0.0 if apart == 0 else apart / spread if spread else None,
        first_mean=one.mean,
        second_mean=other.mean,
        first_deviation=one.standard_deviation,
        second_deviation=other.standard_deviation,
        histograms=tuple(histogram(sample, ends) for sample in (values, other_values)),
    )


def histogram(values: np.ndarray, ends: tuple[float, float] | None = None) -> tuple[int, ...]:
    """How many of (N,) values are in each of 32 equal cells between the ends, their own by default."""
    return tuple(np.histogram(values, _CELLS, ends)[0].tolist())


def kolmogorov_smirnov(first: np.ndarray, second: np.ndarray) -> float:
    """The largest difference between the cumulative distributions of (N,) and (M,) values."""
    values = np.concatenate([first, second])
    below = [np.searchsorted(np.sort(sample), values, side="right") / len(sample) for sample in (first, second)]
    return float(np.abs(below[0] - below[1]).max())


def total_variation(first: Mapping[Any, int], second: Mapping[Any, int]) -> float:
    """Half of the summed differences between the shares of each value."""
    totals = [max(sum(counts.values()), 1) for counts in (first, second)]
    keys = dict.fromkeys([*first, *second])
    return 0.5 * math.fsum(abs(first.get(key, 0) / totals[0] - second.get(key, 0) / totals[1]) for key in keys)


def _order(difference: Difference) -> tuple[float, float, str]:
    apart = math.inf if difference.mean_difference is None else abs(difference.mean_difference)
    return -difference.distance, -apart if difference.first_mean is not None else 0.0, difference.name
