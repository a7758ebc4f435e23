"""Inference of fields from the spaces and the metadata of a Minari dataset."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, EpisodeError, Image, Modality, Provenance, SpecError, Text
from gato_jax.episodes.errors import describe_error
from gato_jax.sources.contents import MissingFieldsError
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
      SourceError: the metadata are damaged.
      MissingFieldsError: a space has no modality, or a limit of a continuous action is not finite.
    """
    try:
        metadata = storage.metadata
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
    except (json.JSONDecodeError, KeyError, TypeError, AttributeError, EpisodeError) as error:
        raise SourceError(f"{location}: its metadata are damaged ({describe_error(error)}). Copy them again.") from None
    except SpecError as error:
        raise MissingFieldsError(str(error)) from None


def _modalities(space: Any, key: str, path: str, prefix: str = "") -> Iterator[tuple[str, tuple[str, Modality]]]:
    """Yield (key, (path, modality)) for each leaf of a space.

    Args:
      space: a Gymnasium space.
      key: key of the leaf if `space` has no parts; the elements of a MultiDiscrete space add their number, as in
        `action/0`. Otherwise it is ignored, and the key of a leaf is `prefix` and the path of the leaf within the
        space, such as `arm/position`.
      path: path of the space within Minari's episode data.
      prefix: beginning of the keys of all leaves, if `space` has parts.
    """
    from gymnasium import spaces

    if isinstance(space, (spaces.Dict, spaces.Tuple)):
        parts = space.items() if isinstance(space, spaces.Dict) else enumerate(space)
        for name, part in parts:
            yield from _modalities(part, f"{prefix}{name}", f"{path}/{name}", f"{prefix}{name}/")
    elif isinstance(space, (spaces.Discrete, spaces.MultiDiscrete)):
        yield from _discrete(space, key, path)
    else:
        yield key, (path, _modality(space, path))


def _discrete(space: Any, key: str, path: str) -> Iterator[tuple[str, tuple[str, Modality]]]:
    """Yield (key, (path, modality)) of a space of integers, which become numbers from 0 by the decoder `offset`.

    A MultiDiscrete space becomes one key, or, if its elements differ in their number of values or in their first value,
    one key for each element, such as `action/0`.

    Args:
      space: a Discrete or MultiDiscrete space.
      key: key of the whole space.
      path: path of the space within Minari's episode data.

    Raises:
      SpecError: the elements differ and have several axes.
    """
    from gymnasium import spaces

    def from_zero(path: str, start: Any) -> str:
        return path if start == 0 else f"offset({path}, {-int(start)})"

    if isinstance(space, spaces.Discrete):
        yield key, (from_zero(path, space.start), Discrete(n=int(space.n)))
        return
    counts, starts = space.nvec.ravel(), np.broadcast_to(space.start, space.nvec.shape).ravel()
    if (counts == counts[0]).all() and (starts == starts[0]).all():
        yield key, (from_zero(path, starts[0]), Discrete(n=int(counts[0]), shape=space.shape))
    elif len(space.shape) == 1:
        for number, (count, start) in enumerate(zip(counts.tolist(), starts.tolist(), strict=True)):
            part = f"{path}[{number}:{number + 1}]"
            yield f"{key}/{number}", (from_zero(part, start), Discrete(n=count, shape=(1,)))
    else:
        raise SpecError(
            f"{path} is MultiDiscrete of {space.nvec.tolist()}, expected one axis, or elements that all have the same "
            "values"
        )


def _modality(space: Any, path: str) -> Modality:
    """Return the modality of a space without parts that is not Discrete or MultiDiscrete.

    Boxes of uint8 with the shape of an image are images. These are (H, W, 1), (H, W, 3), and (H, W) with sides of at
    least 32 pixels. A uint8 box of three axes with another number of channels has no modality. All other boxes are
    Continuous.

    Args:
      space: a Gymnasium space.
      path: its path, for the message.

    Raises:
      SpecError: the space has no modality.
    """
    from gymnasium import spaces

    match space:
        case spaces.Text():
            return Text()
        case spaces.MultiBinary():
            return Discrete(n=2, shape=space.shape)
        case spaces.Box() if space.dtype == np.uint8 and len(space.shape) == 3:
            if space.shape[2] in (1, 3):
                return Image(height=space.shape[0], width=space.shape[1], channels=space.shape[2])
            raise SpecError(
                f"{path} is a box of uint8 and shape {space.shape}, expected an image of shape (height, width, 1) or "
                "(height, width, 3). In the fields, declare its number of channels, drop_alpha(PATH), or continuous"
            )
        case spaces.Box() if space.dtype == np.uint8 and len(space.shape) == 2 and min(space.shape) >= 32:
            return Image(height=space.shape[0], width=space.shape[1], channels=1)
        case spaces.Box():
            return Continuous(shape=space.shape, low=_limit(space.low), high=_limit(space.high))
    raise SpecError(f"{path} is {space}, expected Box, Discrete, MultiDiscrete, MultiBinary, Text, Dict or Tuple")


def _limit(values: np.ndarray) -> tuple[float, ...] | float:
    """Return the limits on one side of a box as one number if all are equal, otherwise as a flat tuple, row-major."""
    different = np.unique(values)
    return float(different[0]) if len(different) == 1 else tuple(map(float, values.flat))
