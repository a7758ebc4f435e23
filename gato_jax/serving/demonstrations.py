"""Demonstrations that clients send as prompts of their episodes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.episodes import Episode, Modality, Provenance, TaskSpec, Text
from gato_jax.serving.observations import MAX_CHARACTERS, ObservationError, describe

MAX_STEPS = 4096
_PROVENANCE = Provenance(source="a client of the policy server", licence="unknown", kind="real")


def read_demonstration(spec: TaskSpec, message: Any) -> Episode:
    """Return the episode in a message: {observation: {key: values}, action: {key: values}}.

    Values are arrays with an axis of timesteps before their own axes; texts are lists of text. Keys are flat, as in the
    TaskSpec. Shapes at one step and ranges are checked when the episode is encoded.

    Args:
      spec: the task.
      message: the demonstration.

    Raises:
      ObservationError: A key is missing or unknown, or values have another type or another number of timesteps.
    """
    sides = {"observation": spec.observation, "action": spec.action}
    if not isinstance(message, Mapping) or message.keys() != sides.keys():
        raise ObservationError(f"{spec.name}: the prompt is no map with the keys observation and action. Send both.")
    values: dict[str, dict[str, np.ndarray]] = {}
    for side, modalities in sides.items():
        given = message[side]
        if not isinstance(given, Mapping) or given.keys() != modalities.keys():
            found = ", ".join(map(str, given))[:200] if isinstance(given, Mapping) else type(given).__name__
            expected = ", ".join(modalities)
            raise ObservationError(f"{spec.name}: the prompt's {side} has the keys {found}, expected {expected}.")
        values[side] = {
            key: _read_column(f"{spec.name}: the prompt's {side} {key!r}", modality, given[key])
            for key, modality in modalities.items()
        }
    lengths = {len(column) for columns in values.values() for column in columns.values()}
    if len(lengths) != 1 or not 0 < min(lengths) <= MAX_STEPS:
        raise ObservationError(
            f"{spec.name}: the prompt's values have {sorted(lengths)} timesteps, expected one number, 1 to {MAX_STEPS}."
        )
    [steps] = lengths
    at = np.arange(steps)
    return Episode(
        task=spec.name, observation=values["observation"], action=values["action"], reward=np.zeros(steps, np.float32),
        discount=np.ones(steps, np.float32), is_first=at == 0, is_last=at == steps - 1,
        is_terminal=np.zeros(steps, bool), provenance=_PROVENANCE,
    )  # fmt: skip


def _read_column(name: str, modality: Modality, values: Any) -> np.ndarray:
    if isinstance(modality, Text):
        texts = values if isinstance(values, list) else []
        if not texts or not all(isinstance(text, str) and len(text) <= MAX_CHARACTERS for text in texts):
            raise ObservationError(f"{name} is of {type(values).__name__}, expected a list with {describe(modality)}.")
        return np.array(texts, object)
    if not isinstance(values, np.ndarray) or values.shape[1:] != modality.shape or not values.ndim:
        found = f"an array of shape {values.shape}" if isinstance(values, np.ndarray) else f"a {type(values).__name__}"
        raise ObservationError(f"{name} is {found}, expected timesteps of {describe(modality)}.")
    return values
