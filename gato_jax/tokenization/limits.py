"""Action limits measured on the data, as RT-2 (arXiv 2307.15818) and OpenVLA (arXiv 2406.09246) use them."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable

import numpy as np

from gato_jax.episodes import Continuous, Episode, TaskSpec
from gato_jax.episodes.action_extents import (
    ActionExtent,
    clipped_actions,
    coarse_limits,
    describe_clipped,
    is_absurd,
    merge_extents,
)
from gato_jax.tokenization.codecs import TokenizationError
from gato_jax.tokenization.codecs.values import flatten_values
from gato_jax.tokenization.error_context import episode_context, key_context
from gato_jax.tokenization.settings import ACTION_BINS, Tokenization

PERCENTILES = (1, 99)
_FLOAT32 = np.finfo(np.float32)

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Limits:
    """Lower and upper limits of one action key, one number for each element, row-major."""

    low: tuple[float, ...]
    high: tuple[float, ...]

    def __post_init__(self):
        for name in ("low", "high"):
            object.__setattr__(self, name, tuple(map(float, getattr(self, name))))


def measure_action_limits(spec: TaskSpec, episodes: Iterable[Episode]) -> dict[str, Limits]:
    """Return {key: 1st and 99th percentiles of each element} of the continuous actions in the episodes.

    Only timesteps at which the agent acted count. A task without continuous actions gives {}, and its episodes are not
    read. An element hardly varies if its percentiles are at most 256 float32 steps apart, so that its 256 bins would
    not decode to different values. Such an element gets the limits in the task's spec, with a warning in the log.

    Raises:
      TokenizationError: there are no timesteps, a value is not finite, or an element hardly varies and has no finite
        limits in the spec; or an episode is of another task, or lacks an action of the right shape and dtype.
    """
    modalities = {key: modality for key, modality in spec.action.items() if isinstance(modality, Continuous)}
    values: dict[str, list[np.ndarray]] = {key: [] for key in modalities}
    for number, episode in enumerate(episodes if modalities else ()):
        if episode.task != spec.name:
            raise TokenizationError(f"an episode of {episode.task} among those of {spec.name}; measure each task alone")
        for key, modality in modalities.items():
            with episode_context(spec.name, number), key_context("action", key):
                values[key].append(_action_values(episode, key, modality))
    return {key: _limits(f"{spec.name}: action {key!r}", modality, values[key]) for key, modality in modalities.items()}


def check_action_limits(spec: TaskSpec, tokenization: Tokenization, extents: Iterable[ActionExtent]):
    """Compare the limits of actions with the data, log actions outside of them, and refuse limits of no use.

    Args:
      spec: task of the data.
      tokenization: settings of the codecs, with the number of bins between the limits.
      extents: extents of the actions in the data.

    Raises:
      TokenizationError: limits are a million times wider than the data, so that every action decodes to a value far
        away from all of the data. Other limits that leave few bins to the data are logged.
    """
    extents, bins = merge_extents(extents), tokenization.action_bins
    for clipped in clipped_actions(spec, extents):
        _log.warning("%s: %s", spec.name, describe_clipped(clipped))
    for extent in extents:
        low, high = spec.action[extent.key].limits
        magnitudes = np.maximum(np.abs(extent.minimum), np.abs(extent.maximum))
        if is_absurd(low, high, np.maximum(magnitudes, 1.0)).any():
            raise TokenizationError(f"{coarse_limits(spec, [extent], bins=bins)[0]}, and convert or record it again.")
    for line in coarse_limits(spec, extents, bins=bins):
        _log.warning("%s", line)


def _action_values(episode: Episode, key: str, modality: Continuous) -> np.ndarray:
    """Return the actions of one key at the T steps at which the agent acted, (T, size) float64, finite or not.

    Raises:
      TokenizationError: the episode lacks the key, or its values have another shape or are not real numbers.
    """
    if key not in episode.action:
        raise TokenizationError(f"is missing, the episode has {sorted(episode.action)}; repair or filter the data")
    values = flatten_values(episode.action[key][: episode.acting_steps], modality.shape, "biuf", "real numbers")
    if values.ndim != 2:
        found = episode.action[key].shape[1:]
        raise TokenizationError(f"a value must have shape {modality.shape}, got one of shape {found}")
    with np.errstate(over="ignore", invalid="ignore"):  # values that are not finite are refused with the percentiles
        return values.astype(np.float64)


def _limits(name: str, modality: Continuous, values: list[np.ndarray]) -> Limits:
    flat = np.concatenate([np.empty((0, modality.size)), *values])
    if not len(flat) or not np.isfinite(flat).all():
        raise TokenizationError(f"{name} has no finite percentiles; repair or filter the data")
    low, high = np.percentile(flat, PERCENTILES, axis=0)
    spec_low, spec_high = modality.limits
    bounded = np.isfinite(spec_low) & np.isfinite(spec_high)
    span, magnitude = high - low, np.maximum(np.abs(low), np.abs(high))
    step = np.maximum(magnitude * float(_FLOAT32.eps), float(_FLOAT32.smallest_subnormal))
    degenerate = span <= ACTION_BINS * step
    if (unusable := np.flatnonzero(degenerate & ~bounded)).size:
        raise TokenizationError(
            f"{name}: elements {unusable.tolist()} do not vary, their percentiles are {_format(span[unusable])} apart, "
            "and they have no limits; declare some in the task's spec"
        )
    if (narrow := np.flatnonzero(degenerate)).size:
        _log.warning(
            "%s: elements %s hardly vary, their percentiles are %s apart; they keep the task's limits",
            name, narrow.tolist(), _format(span[narrow]),
        )  # fmt: skip
    low, high = np.where(degenerate, spec_low, low), np.where(degenerate, spec_high, high)
    return Limits(tuple(low.tolist()), tuple(high.tolist()))


def _format(spans: np.ndarray) -> str:
    return "[" + ", ".join(f"{span:.3g}" for span in spans) + "]"
