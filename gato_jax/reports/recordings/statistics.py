"""Measurement of a dataset in one pass over its episodes, which need not fit into memory."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, TaskSpec
from gato_jax.reports.continuous import ContinuousSums
from gato_jax.reports.degeneracy import constancy_reason, degeneracy_reasons
from gato_jax.reports.errors import ReportError
from gato_jax.reports.recordings.accumulators import DiscreteCounts, ImageSums, TextCounts
from gato_jax.reports.recordings.findings import Camera, DataStatistics, Dimension, DiscreteElement, Spread, Texts
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, Rejection

_Sums = TypeVar("_Sums", ContinuousSums, DiscreteCounts, ImageSums, TextCounts)


def measure(reader: EpisodeReader, positions: Iterable[int] | None = None) -> DataStatistics:
    """Return the statistics of a dataset over the steps at which an action was taken.

    Args:
      reader: the episodes. An episode that the reader rejects is listed in the result and counted nowhere else.
      positions: indices of the episodes to read; None for all. They may be wrapped in a progress bar.

    Raises:
      ReportError: no readable episode has a step with an action, the return of an episode is not finite, or a
        continuous key has no step at which all its values are finite.
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
        why = f" (the first: {rejected[0].location}: {rejected[0].reason})" if rejected else ""
        raise ReportError(
            f"Cannot measure {reader.spec.name}: its {len(totals.lengths)} readable episodes have no step with an "
            f"action, and {len(rejected)} episodes were rejected{why}. Record or convert it again."
        )
    return totals.statistics(reader, tuple(rejected))


class _Totals:
    """Running statistics of all keys and episodes of a task."""

    def __init__(self, spec: TaskSpec):
        self.spec, self.steps = spec, 0
        self.sums = {
            (side, key): _make_accumulator(modality)
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
                f"Cannot measure {self.spec.name}: the return of episode {len(self.lengths)} is "
                f"{episode.episode_return}, expected a finite number. Correct its rewards."
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
        return DataStatistics(
            dataset=self.spec.name,
            split=reader.split,
            fingerprint=reader.fingerprint,
            episodes=len(self.lengths),
            steps=self.steps,
            lengths=Spread.from_values(self.lengths),
            returns=Spread.from_values(self.returns),
            rewarded=self.rewarded,
            success_rate=float(np.mean(self.successes)) if self.successes else None,
            dimensions=tuple(d for sums in self._accumulators(ContinuousSums) for d in self._dimensions(*sums)),
            cameras=tuple(_camera(*sums) for sums in self._accumulators(ImageSums)),
            discrete=tuple(element for sums in self._accumulators(DiscreteCounts) for element in _elements(*sums)),
            texts=tuple(_texts(*sums) for sums in self._accumulators(TextCounts)),
            provenances=dict(self.provenances),
            rejected=rejected,
        )

    def _accumulators(self, kind: type[_Sums]) -> Iterator[tuple[str, str, _Sums]]:
        """Yield (side, key, accumulator) for each key whose accumulator is of type `kind`."""
        return ((*name, sums) for name, sums in self.sums.items() if isinstance(sums, kind))

    def _dimensions(self, side: str, key: str, sums: ContinuousSums) -> Iterator[Dimension]:
        if not sums.moments.count:
            raise ReportError(
                f"Cannot measure {self.spec.name}: no step of {side} {key!r} has finite values only. Correct the "
                "recording, or leave the key out."
            )
        sample, (low, high) = sums.sample.rows, sums.modality.limits
        bounded = np.isfinite(low) | np.isfinite(high)
        reasons = degeneracy_reasons(self.spec, side, key, sums)
        for element in range(sums.modality.size):
            yield Dimension(
                side=side,
                key=key,
                element=element,
                name=f"{key}[{element}]",
                left_out=sums.left_out,
                clip_rate=float(sums.clipped[element] / sums.moments.count) if bounded[element] else None,
                reason=reasons[element],
                **_numbers(sums, sample, element),
            )


def _make_accumulator(modality: Modality) -> ContinuousSums | DiscreteCounts | ImageSums | TextCounts:
    match modality:
        case Continuous():
            return ContinuousSums(modality)
        case Discrete():
            return DiscreteCounts(modality)
        case Image():
            return ImageSums(modality)
    return TextCounts()


def _numbers(sums: ContinuousSums | ImageSums, sample: np.ndarray, element: int) -> dict:
    """Return {field of `Dimension`: value} for the fields that come from the moments and the sample of one element.

    Args:
      sums: the statistics of its key.
      sample: (N, D) sampled steps of all elements of the key.
      element: its index in the flattened value, or that of an image measure.
    """
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
    changes = not all(constancy_reason(unbounded, number, *map(float, end)) for number, end in enumerate(ends))
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
