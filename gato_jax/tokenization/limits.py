"""Limits of actions that are measured on the data, as RT-2 and OpenVLA have them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

import numpy as np

from gato_jax.episodes import Continuous, Episode, TaskSpec
from gato_jax.tokenization.codecs import TokenizationError
from gato_jax.tokenization.codecs.values import flatten

PERCENTILES = (1, 99)
_NARROWEST = 1e-3  # of the task's own range: what varies less does not say how far the dimension reaches

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """One value an element, row-major."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self):
        for name in ("low", "high"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))


def measure_action_limits(spec: TaskSpec, episodes: Iterable[Episode]) -> dict[str, Limits]:
    """The 1st and the 99th percentile of every element of the continuous actions that were taken.

    An element that hardly varies keeps the task's own limits, and the log says so: scaled by its percentiles, noise
    would fill all bins. Where the task has no finite limits either, it is a TokenizationError.
    """
    modalities = {key: modality for key, modality in spec.action.items() if isinstance(modality, Continuous)}
    taken: dict[str, list[np.ndarray]] = {key: [] for key in modalities}
    for episode in episodes if modalities else ():
        if episode.task != spec.name:
            raise TokenizationError(f"an episode of {episode.task} among those of {spec.name}; measure each task alone")
        for key, modality in modalities.items():
            values = flatten(episode.action[key][: episode.acting_steps], modality.shape, "biuf", "real numbers")
            with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused below
                taken[key].append(values.astype(np.float64))
    return {key: _limits(f"{spec.name}: action {key!r}", modality, taken[key]) for key, modality in modalities.items()}


def _limits(name: str, modality: Continuous, taken: list[np.ndarray]) -> Limits:
    flat = np.concatenate([np.empty((0, modality.size)), *taken])
    if not len(flat) or not np.isfinite(flat).all():
        raise TokenizationError(f"{name} has no finite percentiles; repair or filter the data")
    low, high = np.percentile(flat, PERCENTILES, axis=0)
    own_low, own_high = (np.broadcast_to(limit, low.shape) for limit in (modality.low, modality.high))
    bounded = np.isfinite(own_low) & np.isfinite(own_high)
    scale = np.where(bounded, own_high - np.where(bounded, own_low, 0), np.maximum(np.abs(low), np.abs(high)))
    degenerate = high - low <= _NARROWEST * scale
    if (unusable := np.flatnonzero(degenerate & ~bounded)).size:
        raise TokenizationError(
            f"{name}: elements {unusable.tolist()} do not vary and have no limits; declare some in the task's spec"
        )
    if degenerate.any():
        elements = np.flatnonzero(degenerate).tolist()
        _log.warning("%s: elements %s hardly vary; they keep the task's limits", name, elements)
    low, high = np.where(degenerate, own_low, low), np.where(degenerate, own_high, high)
    return Limits(tuple(low.tolist()), tuple(high.tolist()))
