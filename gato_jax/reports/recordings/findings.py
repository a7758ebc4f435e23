"""Dataclasses with the results of a data report, for its page and its JSON; all values are in the units of the data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Provenance
from gato_jax.episodes.licences import parse_terms
from gato_jax.reports.degeneracy import describe_count
from gato_jax.sources.reader import Rejection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """The distribution of a number that each episode has, such as its length or its return.

    Attributes:
      mean, standard_deviation, minimum, maximum: of `values`; the deviation is that of the population.
      values: (N,) the number of each episode; the page draws a histogram, the JSON leaves them out.
    """

    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    values: np.ndarray = dataclasses.field(repr=False)

    @classmethod
    def from_values(cls, values: Sequence[float]) -> Spread:
        numbers = np.array(values, np.float64)
        return cls(
            mean=float(numbers.mean()),
            standard_deviation=float(numbers.std()),
            minimum=float(numbers.min()),
            maximum=float(numbers.max()),
            values=numbers,
        )

    def to_json(self) -> dict[str, float]:
        return {name: value for name, value in vars(self).items() if name != "values"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """Statistics of one element of a continuous key, or of one measure of a camera's images.

    Attributes:
      side: "observation" or "action".
      key: key of the observation or action.
      element: index of the element in the flattened value, or of the measure.
      name: the key with the index of the element, or with the name of the measure.
      count: number of steps that were measured; of a camera, its images.
      left_out: number of steps that were not measured because some value of the key, in any element, was not finite.
      mean, standard_deviation, minimum, maximum: over all measured steps; the deviation is that of the population.
      quantile_1, quantile_99: the 1% and the 99% quantile of `sample`.
      clip_rate: share of values beyond the limits of the modality, in [0, 1]; None if the element has no finite limit.
      reason: why the dimension is degenerate (hardly varies), such as "constant, always 0"; empty if it is not.
      sample: (N,) values of steps drawn at random, or of all steps if they are few.
    """

    side: str
    key: str
    element: int
    name: str
    count: int
    left_out: int
    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    quantile_1: float
    quantile_99: float
    clip_rate: float | None
    reason: str
    sample: np.ndarray = dataclasses.field(repr=False)

    @property
    def degenerate(self) -> bool:
        return bool(self.reason)

    def to_json(self) -> dict[str, Any]:
        fields = {name: value for name, value in vars(self).items() if name != "sample"}
        return {**fields, "degenerate": self.degenerate, "sampled": len(self.sample)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Camera:
    """Statistics of the images of one key. The brightness of a pixel is the mean of its channels.

    Attributes:
      side, key: "observation" or "action", and the key.
      reason: why the images are degenerate (all alike in each of `measures`); empty if they are not.
      images: number of images.
      channel_means, channel_deviations: (C,) mean and standard deviation of each channel over all pixels of all images,
        in [0, 255].
      brightness: histogram of the brightness of all pixels, with 32 equal bins in [0, 256).
      measures: statistics over images of each channel's mean, of brightness, of contrast (standard deviation of
        brightness within an image) and of edges (mean difference of brightness between neighbouring pixels).
    """

    side: str
    key: str
    reason: str
    images: int
    channel_means: tuple[float, ...]
    channel_deviations: tuple[float, ...]
    brightness: tuple[int, ...]
    measures: tuple[Dimension, ...]

    @property
    def name(self) -> str:
        return self.key

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "measures": [measure.to_json() for measure in self.measures]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscreteElement:
    """Counts of one element of a discrete key.

    Attributes:
      side, key, element: "observation" or "action", the key, and the index in the flattened value.
      name: the key, with the index of the element if the key has several.
      counts: (n,) number of steps at which the element took each of its n values.
    """

    side: str
    key: str
    element: int
    name: str
    counts: tuple[int, ...]

    @property
    def shares(self) -> np.ndarray:
        return np.array(self.counts) / max(sum(self.counts), 1)

    @property
    def reason(self) -> str:
        """The reason why the element is degenerate, such as "constant, always 3"; empty if it is not constant."""
        seen = np.flatnonzero(self.counts)
        return f"constant, always {seen[0]}" if len(seen) == 1 else ""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "values_seen": int(np.count_nonzero(self.counts)), "reason": self.reason}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """Statistics of the texts of one key.

    Attributes:
      side, key: "observation" or "action", and the key.
      count: number of steps.
      empty: number of steps whose text is empty.
      mean_characters: mean number of characters of a text.
      counts: {text: number of steps} for the first 10,000 distinct texts.
      others: number of steps with any other text.
    """

    side: str
    key: str
    count: int
    empty: int
    mean_characters: float
    counts: Mapping[str, int] = dataclasses.field(repr=False)
    others: int

    def to_json(self) -> dict[str, Any]:
        fields = {name: value for name, value in vars(self).items() if name != "counts"}
        return {**fields, "distinct": len(self.counts), "most_frequent": max(self.counts, key=self.counts.__getitem__)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataStatistics:
    """Statistics of one split of a dataset, over the steps at which an action was taken.

    Attributes:
      dataset: name of the task.
      split: name of the split.
      fingerprint: fingerprint of all data of the reader, even if only some episodes were read.
      episodes, steps: number of episodes read and of their steps with an action.
      lengths, returns: distributions over episodes.
      rewarded: whether any step has a reward other than zero.
      success_rate: share of successes among the episodes that record success; None if no episode does.
      dimensions: the elements of continuous keys.
      cameras, discrete, texts: image keys, elements of discrete keys, and text keys.
      provenances: {provenance: number of episodes}.
      rejected: episodes and files that could not be read; no statistic counts them.
    """

    dataset: str
    split: str
    fingerprint: str
    episodes: int
    steps: int
    lengths: Spread
    returns: Spread
    rewarded: bool
    success_rate: float | None
    dimensions: tuple[Dimension, ...]
    cameras: tuple[Camera, ...]
    discrete: tuple[DiscreteElement, ...]
    texts: tuple[Texts, ...]
    provenances: Mapping[Provenance, int]
    rejected: tuple[Rejection, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The distinct keys of the task, each as "{side} {key}"."""
        parts = (*self.dimensions, *self.cameras, *self.discrete, *self.texts)
        return tuple(dict.fromkeys(f"{part.side} {part.key}" for part in parts))

    @property
    def varying(self) -> tuple[Dimension | Camera | DiscreteElement, ...]:
        """The parts that should vary from step to step: dimensions, cameras and discrete elements."""
        return (*self.dimensions, *self.cameras, *self.discrete)

    @property
    def degenerate(self) -> tuple[Dimension | Camera | DiscreteElement, ...]:
        """The parts of `varying` that hardly vary: those with a `reason`."""
        return tuple(part for part in self.varying if part.reason)

    @property
    def degenerate_counts(self) -> tuple[str, ...]:
        """Phrases on the kinds of parts of which some are degenerate, such as "17 of 43 continuous dimensions"."""
        kinds = (
            (self.dimensions, "continuous dimension"),
            (self.cameras, "camera"),
            (self.discrete, "discrete element"),
        )
        counts = ((sum(bool(part.reason) for part in parts), len(parts), noun) for parts, noun in kinds)
        return tuple(describe_count(*count) for count in counts if count[0])

    def episodes_by(self, field: str) -> dict[str, int]:
        """Return {value: number of episodes} for one field of `Provenance`, such as `licence` or `kind`."""
        return count_by(self.provenances, field)

    def to_json(self) -> dict[str, Any]:
        """Return all fields as JSON, and under `licences` the terms and number of episodes of each licence.

        Samples of dimensions, values of spreads and counts of texts are left out.
        `provenances` is a list of objects, each the fields of a provenance and its number of `episodes`.
        """
        fields: dict[str, Any] = dict(vars(self))
        for name in ("lengths", "returns"):
            fields[name] = fields[name].to_json()
        for name in ("dimensions", "cameras", "discrete", "texts"):
            fields[name] = [entry.to_json() for entry in fields[name]]
        fields["provenances"] = [
            {"episodes": count, **dataclasses.asdict(origin)} for origin, count in self.provenances.items()
        ]
        fields["licences"] = [
            {"licence": licence, "episodes": count, **vars(parse_terms(licence))}
            for licence, count in self.episodes_by("licence").items()
        ]
        fields["degenerate"] = list(self.degenerate_counts)
        fields["rejected"] = [rejection.to_json() for rejection in self.rejected]
        return fields


def count_by(provenances: Mapping[Provenance, int], field: str) -> dict[str, int]:
    """Return {value: number of episodes} for one field of `Provenance`, given {provenance: number of episodes}.

    Values are in the order in which they first occur; "" stands for a field that is not recorded.
    """
    counts: dict[str, int] = {}
    for origin, episodes in provenances.items():
        counts[getattr(origin, field)] = counts.get(getattr(origin, field), 0) + episodes
    return counts
