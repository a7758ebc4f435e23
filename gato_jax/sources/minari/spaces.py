"""Inference of fields from the spaces and the metadata of a Minari dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image, Modality, Provenance, SpecError, Text
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import SourceError


def infer_fields(storage: Any, location: str) -> Fields:
    """Infer the fields of a dataset from its observation and action spaces.

    A space without parts becomes the key `observation` or `action`. A Dict or Tuple space becomes one key for each of
    its leaves, such as `arm/position`. Images keep their size.

    Args:
      storage: `MinariStorage` of the dataset.
      location: its path, the beginning of error messages.

    Raises:
      SourceError: a space has no modality, or an action has no finite limits.
    """
    metadata = storage.metadata
    try:
        name, environment = str(metadata["dataset_id"]), json.loads(metadata.get("env_spec") or "{}").get("id", "")
        source = [f"Minari, {name}", metadata.get("code_permalink", "")]
        fields = Fields(
            suite="minari",
            task=name,
            observation=dict(_modalities(storage.observation_space, "observation", "observations")),
            action=dict(_modalities(storage.action_space, "action", "actions")),
            provenance=Provenance(
                source=", ".join(filter(None, source)),
                licence="",
                kind="simulated",
                collector=", ".join(sorted(metadata.get("author", ()))),
                equipment=environment,
                agent=metadata.get("algorithm_name", ""),
            ),
            reward="rewards",
        )
        for key, (_, modality) in fields.action.items():
            if isinstance(modality, Continuous) and not np.isfinite(modality.limits).all():
                raise SpecError(f"action {key!r} has limits {modality.low} and {modality.high}, expected finite limits")
        _ = fields.spec  # raises SpecError if the fields contradict each other
        return fields
    except SpecError as error:
        raise SourceError(f"{location}: {error}. Pass fields, or write fields.json beside the dataset.") from None


def _modalities(space: Any, key: str, path: str, prefix: str = "") -> Iterator[tuple[str, tuple[str, Modality]]]:
    """Yield (key, (path, modality)) for each leaf of a space.

    Args:
      space: a Gymnasium space.
      key: key of the leaf if `space` has no parts. Otherwise the key is the path of the leaf within the space.
      path: path of the space within Minari's episode data.
      prefix: beginning of the keys of all leaves.
    """
    from gymnasium import spaces

    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for name, part in parts:
            yield from _modalities(part, f"{prefix}{name}", f"{path}/{name}", f"{prefix}{name}/")
    else:
        yield key, (path, _modality(space, path))


def _modality(space: Any, path: str) -> Modality:
    """Return the modality of a space without parts; uint8 boxes of the shape of an image are images.

    These are (H, W, 1), (H, W, 3), and (H, W) with sides of at least 32 pixels. Other boxes are Continuous.

    Args:
      space: a Gymnasium space.
      path: its path, for the message.

    Raises:
      SpecError: the space has no modality, such as a Discrete one that does not start at 0.
    """
    from gymnasium import spaces

    match space:
        case spaces.Text():
            return Text()
        case spaces.Discrete() if space.start == 0:
            return Discrete(n=int(space.n))
        case spaces.MultiBinary():
            return Discrete(n=2, shape=space.shape)
        case spaces.MultiDiscrete() if not space.start.any() and (space.nvec == space.nvec.flat[0]).all():
            return Discrete(n=int(space.nvec.flat[0]), shape=space.shape)
        case spaces.Box() if space.dtype == np.uint8 and len(space.shape) == 3:
            if space.shape[2] in (1, 3):
                return Image(height=space.shape[0], width=space.shape[1], channels=space.shape[2])
        case spaces.Box() if space.dtype == np.uint8 and len(space.shape) == 2 and min(space.shape) >= 32:
            return Image(height=space.shape[0], width=space.shape[1], channels=1)
        case spaces.Box():
            return Continuous(shape=space.shape, low=_limit(space.low), high=_limit(space.high))
    raise SpecError(f"{path} is {space}, which has no modality")


def _limit(values: np.ndarray) -> tuple[float, ...] | float:
    """Return the limits on one side of a box as one number if all are equal, otherwise as a flat tuple, row-major."""
    different = np.unique(values)
    return float(different[0]) if len(different) == 1 else tuple(map(float, values.flat))
