"""The file of a distilled policy: the params of its network as safetensors, and what is needed to play with them.

All metadata are one JSON object under the key `gato_jax_expert`, so that the same policy is the same file, byte for
byte.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.experts.distillation.network import param_shapes
from gato_jax.runtime.atomic_writes import atomic_file

KEY = "gato_jax_expert"
SCHEMA = 1
SUFFIX = ".safetensors"
_REMEDY = "Train it again with gato train_expert"


class PolicyFileError(ValueError):
    """A file of a distilled policy that cannot be used; the message names the file, the value and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PolicyAbout:
    """Description of a distilled policy, the metadata of its file.

    Attributes:
      schema: Version of the file.
      task: Name of the task, `suite/task`.
      observation: Keys of the observations that the network reads, in alphabetical order, with their sizes.
      angles: Keys of observations that are angles in radians, of which the network reads sine and cosine.
      action: Size of the action of the task.
      hidden: Sizes of the hidden layers.
      modes: Number of modes of the network.
      teacher: Description of the expert that was imitated.
      command: Command that made the file.
      packages: Packages of the task, each as "name version".
      labels: Number of states that the teacher labelled.
      scores: Scores of the policy over episodes that it was not trained on, in the metric of the task.
    """

    schema: int
    task: str
    observation: Mapping[str, int]
    angles: tuple[str, ...]
    action: int
    hidden: tuple[int, ...]
    modes: int
    teacher: str
    command: str
    packages: tuple[str, ...]
    labels: int
    scores: tuple[float, ...]

    @property
    def score(self) -> float:
        """Mean of the scores."""
        return float(np.mean(self.scores))

    @property
    def inputs(self) -> int:
        """Number of inputs of the network."""
        return sum(size * (2 if key in self.angles else 1) for key, size in self.observation.items())

    def param_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return {name: shape} of the params."""
        return param_shapes(self.inputs, self.hidden, self.action, self.modes)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class PolicyFile:
    """A distilled policy: description and params, {name: float32 array}."""

    about: PolicyAbout
    params: Mapping[str, np.ndarray]

    def write(self, path: pathlib.Path) -> None:
        """Write the file at once, over one that is there."""
        from safetensors.numpy import save

        about = {KEY: json.dumps(dataclasses.asdict(self.about))}
        with atomic_file(path) as partial:
            partial.write_bytes(save(dict(self.params), about))

    @classmethod
    def read(cls, path: pathlib.Path) -> PolicyFile:
        """Read a file.

        Raises:
          PolicyFileError: The file is missing, damaged, of another kind, or its params do not fit its description.
        """
        from safetensors import SafetensorError, safe_open

        if not path.is_file():
            raise PolicyFileError(f"{path} is missing, expected the file of a policy. {_REMEDY}.")
        try:
            with safe_open(path, framework="np") as file:
                metadata = file.metadata() or {}
                params = {name: file.get_tensor(name) for name in sorted(file.keys())}
        except (OSError, SafetensorError) as error:
            raise PolicyFileError(f"{path} is damaged or no safetensors file ({error}). {_REMEDY}.") from None
        about = _read_about(path, metadata.get(KEY))
        _require_params(path, params, about.param_shapes())
        return cls(about=about, params=params)


def _read_about(path: pathlib.Path, text: str | None) -> PolicyAbout:
    if text is None:
        raise PolicyFileError(f"{path} has no metadata {KEY!r}, expected the file of a policy. Name another file.")
    try:
        fields = json.loads(text)
    except ValueError as error:
        raise PolicyFileError(f"{path}: its metadata {KEY!r} are no JSON ({error}). {_REMEDY}.") from None
    about = DataclassReader(error=PolicyFileError).read(PolicyAbout, fields, f"{path}: {KEY}")
    if about.schema != SCHEMA:
        raise PolicyFileError(f"{path}: schema is {about.schema}, expected {SCHEMA}. {_REMEDY}.")
    return about


def _require_params(path: pathlib.Path, params: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int, ...]]):
    if params.keys() != shapes.keys():
        raise PolicyFileError(f"{path}: its tensors are {sorted(params)}, expected {sorted(shapes)}. {_REMEDY}.")
    for name, shape in shapes.items():
        array: Any = params[name]
        if array.shape != shape or array.dtype != np.float32:
            raise PolicyFileError(
                f"{path}: tensor {name} is {array.dtype} of {array.shape}, expected float32 of {shape}. {_REMEDY}."
            )
        if not np.isfinite(array).all():
            raise PolicyFileError(f"{path}: tensor {name} is not finite, expected finite numbers. {_REMEDY}.")
