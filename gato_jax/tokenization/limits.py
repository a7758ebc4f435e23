"""Limits of actions that are measured on the data, as RT-2 and OpenVLA have them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

import numpy as np

from gato_jax.episodes import Continuous, Episode, TaskSpec
from gato_jax.tokenization.codecs import TokenizationError
from gato_jax.tokenization.codecs.values import flatten
from gato_jax.tokenization.refusals import of_episode, of_key
from gato_jax.tokenization.settings import ACTION_BINS

PERCENTILES = (1, 99)
_FLOAT32 = np.finfo(np.float32)

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

    An element hardly varies where fewer than 256 steps of float32, one for each bin, lie between its percentiles: its
    bins would not decode to different values. It keeps the task's own limits, and the log says so; where the task has
    no finite limits either, it is a TokenizationError.

    Raises:
      TokenizationError: also of an episode that is of another task, lacks an action or has one of another shape or
        kind, with its number, and of values that are not finite.
    """
    modalities = {key: modality for key, modality in spec.action.items() if isinstance(modality, Continuous)}
    taken: dict[str, list[np.ndarray]] = {key: [] for key in modalities}
    for number, episode in enumerate(episodes if modalities else ()):
        if episode.task != spec.name:
            raise TokenizationError(f"an episode of {episode.task} among those of {spec.name}; measure each task alone")
        for key, modality in modalities.items():
            with of_episode(spec.name, number), of_key("action", key):
                taken[key].append(_one_value_a_step(episode, key, modality))
    return {key: _limits(f"{spec.name}: action {key!r}", modality, taken[key]) for key, modality in modalities.items()}


def _one_value_a_step(episode: Episode, key: str, modality: Continuous) -> np.ndarray:
    """(T, size) float64 of the actions that were taken."""
    if key not in episode.action:
        raise TokenizationError(f"is not there, only {sorted(episode.action)}; repair or filter the data")
    values = flatten(episode.action[key][: episode.acting_steps], modality.shape, "biuf", "real numbers")
    if values.ndim != 2:
        found = episode.action[key].shape[1:]
        raise TokenizationError(f"a value must have shape {modality.shape}, got one of shape {found}")
    with np.errstate(over="ignore", invalid="ignore"):  # what is not finite is refused with the percentiles
        return values.astype(np.float64)


def _limits(name: str, modality: Continuous, taken: list[np.ndarray]) -> Limits:
    flat = np.concatenate([np.empty((0, modality.size)), *taken])
    if not len(flat) or not np.isfinite(flat).all():
        raise TokenizationError(f"{name} has no finite percentiles; repair or filter the data")
    low, high = np.percentile(flat, PERCENTILES, axis=0)
    own_low, own_high = modality.limits
    bounded = np.isfinite(own_low) & np.isfinite(own_high)
    span, magnitude = high - low, np.maximum(np.abs(low), np.abs(high))
    step = np.maximum(magnitude * float(_FLOAT32.eps), float(_FLOAT32.smallest_subnormal))
    degenerate = span <= ACTION_BINS * step
    if (unusable := np.flatnonzero(degenerate & ~bounded)).size:
        raise TokenizationError(
            f"{name}: elements {unusable.tolist()} do not vary, their percentiles are {_listed(span[unusable])} apart, "
            "and they have no limits; declare some in the task's spec"
        )
    if (kept := np.flatnonzero(degenerate)).size:
        _log.warning(
            "%s: elements %s hardly vary, their percentiles are %s apart; they keep the task's limits",
            name, kept.tolist(), _listed(span[kept]),
        )  # fmt: skip
    low, high = np.where(degenerate, own_low, low), np.where(degenerate, own_high, high)
    return Limits(tuple(low.tolist()), tuple(high.tolist()))


def _listed(spans: np.ndarray) -> str:
    return "[" + ", ".join(f"{span:.3g}" for span in spans) + "]"
