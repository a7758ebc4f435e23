"""What a data report found, as the page and the JSON have it. Values are in their own units."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gato_jax.episodes import Provenance
from gato_jax.episodes.licences import terms_of
from gato_jax.sources.reader import Rejection


@dataclasses.dataclass(frozen=True, kw_only=True)
class Spread:
    """Of one number for each episode, as lengths and returns are.

    Attributes:
      values: (N,) all of them; the page draws them.
    """

    mean: float
    standard_deviation: float
    minimum: float
    maximum: float
    values: np.ndarray = dataclasses.field(repr=False)

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        numbers = np.array(values, np.float64)
        said = [float(said) for said in (numbers.mean(), numbers.std(), numbers.min(), numbers.max())]
        return cls(mean=said[0], standard_deviation=said[1], minimum=said[2], maximum=said[3], values=numbers)

    def to_json(self) -> dict[str, float]:
        return {name: value for name, value in vars(self).items() if name != "values"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """One element of a continuous key, or one measure of a camera's images.

    Attributes:
      name: the key with the element's number, or with the measure's name.
      count: steps that it is of; left_out: others, in which a value of its key was no finite number.
      quantile_1, quantile_99: 1% and 99%, of the sample.
      clip_rate: the share of values beyond the limits of its modality; None where it has none.
      reason: why it says next to nothing; empty where it varies.
      sample: (N,) values of steps that were drawn at random, of all steps where these are few.
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
    """The images of one key.

    Attributes:
      reason: why they say next to nothing; empty where they change.
      channel_means, channel_deviations: (C,) over all pixels of all images, of 255.
      brightness: pixels in each of 32 equal stretches of brightness, the mean of the channels, from 0 to 256.
      measures: of each image its channels' means, brightness, contrast (standard deviation of the brightness of its
        pixels) and edges (mean difference of the brightness of neighbouring pixels).
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
    """One element of a discrete key: how often it took each of its n values."""

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
        """Why it says nothing; empty where it varies."""
        seen = np.flatnonzero(self.counts)
        return f"constant, always {seen[0]}" if len(seen) == 1 else ""

    def to_json(self) -> dict[str, Any]:
        return {**vars(self), "values_seen": int(np.count_nonzero(self.counts)), "reason": self.reason}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Texts:
    """The texts of one key.

    Attributes:
      empty: how many were "".
      counts: {text: steps}, of as many as are kept count of, the first that came.
      others: steps with texts beyond those.
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
    """One split of one dataset: the steps at which an action was taken.

    Attributes:
      provenances: how many episodes are of each.
      rewarded: whether any step has a reward other than zero.
      success_rate: of the episodes that say whether they succeeded; None where none does.
      rejected: what could not be read, and is in no number here.
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
        """Of the task, each with its side before it, once."""
        parts = (*self.dimensions, *self.cameras, *self.discrete, *self.texts)
        return tuple(dict.fromkeys(f"{part.side} {part.key}" for part in parts))

    @property
    def varying(self) -> tuple[Dimension | Camera | DiscreteElement, ...]:
        """What should vary from step to step: dimensions, cameras and discrete elements."""
        return (*self.dimensions, *self.cameras, *self.discrete)

    @property
    def degenerate(self) -> tuple[Dimension | Camera | DiscreteElement, ...]:
        """Those of them that say next to nothing."""
        return tuple(part for part in self.varying if part.reason)

    def episodes_by(self, field: str) -> dict[str, int]:
        """Episodes by what their provenances say in one field, as `licence` or `kind`."""
        return count_by(self.provenances, field)

    def to_json(self) -> dict[str, Any]:
        """As strict JSON has it."""
        fields: dict[str, Any] = dict(vars(self))
        for name in ("lengths", "returns"):
            fields[name] = fields[name].to_json()
        for name in ("dimensions", "cameras", "discrete", "texts"):
            fields[name] = [entry.to_json() for entry in fields[name]]
        fields["provenances"] = [
            {"episodes": count, **dataclasses.asdict(origin)} for origin, count in self.provenances.items()
        ]
        fields["licences"] = [
            {"licence": licence, "episodes": count, **vars(terms_of(licence))}
            for licence, count in self.episodes_by("licence").items()
        ]
        fields["rejected"] = [rejection.to_json() for rejection in self.rejected]
        return fields


def count_by(provenances: Mapping[Provenance, int], field: str) -> dict[str, int]:
    """Episodes by what their provenances say in one field."""
    counts: dict[str, int] = {}
    for origin, episodes in provenances.items():
        counts[getattr(origin, field)] = counts.get(getattr(origin, field), 0) + episodes
    return counts
