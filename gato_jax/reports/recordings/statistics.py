"""One pass over the episodes of a dataset, each forgotten once it is added."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, TaskSpec
from gato_jax.reports.recordings.accumulators import FEW, ContinuousSums, DiscreteCounts, ImageSums, TextCounts
from gato_jax.reports.recordings.findings import Camera, DataStatistics, Dimension, DiscreteElement, Spread, Texts
from gato_jax.reports.run import ReportError
from gato_jax.reports.tokenization.dimensions import NARROWEST, hardly_varies
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection

_STEPS_A_VALUE = 25  # fewer values than one in so many steps are few

_Sums = TypeVar("_Sums", ContinuousSums, DiscreteCounts, ImageSums, TextCounts)


def measure(reader: EpisodeReader, positions: Iterable[int] | None = None) -> DataStatistics:
    """The statistics of a dataset, over the steps at which an action was taken.

    Args:
      reader: its episodes. One that is rejected when it is read is listed.
      positions: of the episodes to read, all of them by default; a progress bar over them may be given.

    Raises:
      ReportError: no episode can be read, or of a key no step has finite values.
    """
    totals = _Totals(reader.spec)
    rejected: list[Rejection] = [*getattr(reader, "rejected", ())]
    for position in range(len(reader)) if positions is None else positions:
        try:
            episode = reader[position]
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
            continue
        totals.add(episode)
    if not totals.steps:
        why = f"; the first: {rejected[0].location}: {rejected[0].reason}" if rejected else ""
        raise ReportError(
            f"{reader.spec.name}: no action was taken in the {len(totals.lengths)} episodes that can be read, "
            f"{len(rejected)} were rejected{why}; record or convert it again"
        )
    return totals.statistics(reader, tuple(rejected))


class _Totals:
    """The sums of every key of a task."""

    def __init__(self, spec: TaskSpec):
        self.spec, self.steps = spec, 0
        self.sums = {
            (side, key): _sums_of(modality)
            for side in ("observation", "action")
            for key, modality in getattr(spec, side).items()
        }
        self.lengths: list[float] = []
        self.returns: list[float] = []
        self.rewarded = False
        self.successes: list[bool] = []
        self.provenances: collections.Counter[Provenance] = collections.Counter()

    def add(self, episode: Episode):
        steps = episode.acting_steps
        if not np.isfinite(episode.episode_return):
            raise ReportError(
                f"{self.spec.name}: the return of episode {len(self.lengths)} is {episode.episode_return}; mend its "
                "rewards"
            )
        for (side, key), sums in self.sums.items():
            sums.add(getattr(episode, side)[key][:steps])
        self.steps += steps
        self.lengths.append(float(steps))
        self.returns.append(episode.episode_return)
        self.rewarded = self.rewarded or bool(np.any(episode.reward))
        if episode.success is not None:
            self.successes.append(episode.success)
        self.provenances[episode.provenance] += 1

    def statistics(self, reader: EpisodeReader, rejected: tuple[Rejection, ...]) -> DataStatistics:
        binary = set(_binary_grippers(self.spec))
        return DataStatistics(
            dataset=self.spec.name,
            split=reader.split,
            fingerprint=reader.fingerprint,
            episodes=len(self.lengths),
            steps=self.steps,
            lengths=Spread.of(self.lengths),
            returns=Spread.of(self.returns),
            rewarded=self.rewarded,
            success_rate=float(np.mean(self.successes)) if self.successes else None,
            dimensions=tuple(d for sums in self._of(ContinuousSums) for d in self._dimensions(*sums, binary)),
            cameras=tuple(_camera(*sums) for sums in self._of(ImageSums)),
            discrete=tuple(element for sums in self._of(DiscreteCounts) for element in _elements(*sums)),
            texts=tuple(_texts(*sums) for sums in self._of(TextCounts)),
            provenances=dict(self.provenances),
            rejected=rejected,
        )

    def _of(self, kind: type[_Sums]) -> Iterator[tuple[str, str, _Sums]]:
        """The keys of one modality, with their sides and sums."""
        return ((*place, sums) for place, sums in self.sums.items() if isinstance(sums, kind))

    def _dimensions(self, side: str, key: str, sums: ContinuousSums, binary: set) -> Iterator[Dimension]:
        if not sums.moments.count:
            raise ReportError(
                f"{self.spec.name}: no step of {side} {key!r} is finite throughout; mend the recording, or leave the "
                "key out"
            )
        sample, (low, high) = sums.sample.rows, sums.modality.limits
        bounded = np.isfinite(low) | np.isfinite(high)
        for element in range(sums.modality.size):
            numbers = _numbers(sums, sample, element)
            middle = numbers["quantile_99"] - numbers["quantile_1"]
            yield Dimension(
                side=side,
                key=key,
                element=element,
                name=f"{key}[{element}]",
                left_out=sums.left_out,
                clip_rate=float(sums.clipped[element] / sums.moments.count) if bounded[element] else None,
                reason=_degenerate(sums, element, middle, few_are_right=(side, key, element) in binary),
                **numbers,
            )


def _sums_of(modality: Modality) -> ContinuousSums | DiscreteCounts | ImageSums | TextCounts:
    match modality:
        case Continuous():
            return ContinuousSums(modality)
        case Discrete():
            return DiscreteCounts(modality)
        case Image():
            return ImageSums(modality)
    return TextCounts()


def _binary_grippers(spec: TaskSpec) -> Iterator[tuple[str, str, int]]:
    """The elements that rightly take two values."""
    gripper = None if spec.embodiment is None else spec.embodiment.gripper
    if gripper is None or gripper.kind != "binary" or gripper.action is None:
        return
    for element in gripper.elements or range(spec.action[gripper.action].size):
        yield "action", gripper.action, element


def _degenerate(sums: ContinuousSums, element: int, middle: float, *, few_are_right: bool) -> str:
    """Why an element says next to nothing; empty where it varies. 98% of its values lie within `middle`."""
    low, high = float(sums.moments.low[element]), float(sums.moments.high[element])
    if reason := hardly_varies(sums.modality, element, low, high):
        return reason
    if few_are_right:
        return ""
    values = sums.values[element]
    if len(values) <= FEW and sums.moments.count >= _STEPS_A_VALUE * len(values):
        return f"takes {len(values)} values only: {', '.join(f'{value:.4g}' for value in sorted(values))}"
    spread = float(sums.moments.standard_deviation[element])
    if min(spread, middle) < NARROWEST * (high - low):
        return f"nearly constant: 98% of its values lie within {middle:.2g}, all within {high - low:.2g}"
    return ""


def _numbers(sums: ContinuousSums | ImageSums, sample: np.ndarray, element: int) -> dict:
    """What moments and sample say of one element."""
    moments = sums.moments
    low, high = np.quantile(sample[:, element], (0.01, 0.99)).tolist()
    return {
        "count": moments.count,
        "mean": float(moments.mean[element]),
        "standard_deviation": float(moments.standard_deviation[element]),
        "minimum": float(moments.low[element]),
        "maximum": float(moments.high[element]),
        "quantile_1": low,
        "quantile_99": high,
        "sample": sample[:, element],
    }


def _camera(side: str, key: str, sums: ImageSums) -> Camera:
    sample = sums.sample.rows
    means, deviations = (tuple(values.tolist()) for values in sums.channels)
    measures = (
        Dimension(
            side=side, key=key, element=number, name=f"{key} {name}", left_out=0, clip_rate=None, reason="",
            **_numbers(sums, sample, number),
        )
        for number, name in enumerate(sums.names)
    )  # fmt: skip
    ends, unbounded = zip(sums.moments.low, sums.moments.high, strict=True), Continuous(shape=(len(sums.names),))
    changes = not all(hardly_varies(unbounded, number, *map(float, end)) for number, end in enumerate(ends))
    return Camera(
        side=side,
        key=key,
        reason="" if changes else "its images are all alike",
        images=sums.moments.count,
        channel_means=means,
        channel_deviations=deviations,
        brightness=tuple(sums.brightness.tolist()),
        measures=tuple(measures),
    )


def _elements(side: str, key: str, sums: DiscreteCounts) -> Iterator[DiscreteElement]:
    for element, counts in enumerate(sums.counts.tolist()):
        name = key if len(sums.counts) == 1 else f"{key}[{element}]"
        yield DiscreteElement(side=side, key=key, element=element, name=name, counts=tuple(counts))


def _texts(side: str, key: str, sums: TextCounts) -> Texts:
    mean = sums.characters / max(sums.count, 1)
    return Texts(
        side=side, key=key, count=sums.count, empty=sums.empty, mean_characters=mean, counts=dict(sums.counts),
        others=sums.others,
    )  # fmt: skip
