"""The table of a sequence's fields, from which batches, their placement, records, Parquet columns and plans derive.

A new field is one annotated line of `TokenFields`. A field that is stored changes the token records: raise `SCHEMA` of
gato_jax/batching/records.py with it, so that records without the field are made again.

Axes:
    L positions   P patches   p side of a patch in pixels
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, TypeVar, get_type_hints

import numpy as np

if TYPE_CHECKING:
    Array = np.ndarray
else:  # A batch is a pytree, whose leaves may also be device arrays, shapes, placements or None.
    Array = Any

_Kind = TypeVar("_Kind")
_Fields = TypeVar("_Fields", bound="TokenFields")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerToken:
    """Declaration of a field that has one value, or one short vector, for each position.

    Attributes:
      dtype: NumPy scalar type of the values.
      columns: {Parquet column: description}, one column for each element of `shape`. A field without columns is not
        stored: readers of records and of Parquet files fill it with `default`.
      shape: axes of one position's value, () for a number.
      default: value at every position of a sequence that is built without this field; None if it must be given.
      padding: value that fills a row of a batch behind its last token.
      on_device: True if the training step reads the field. Others stay on the host.
    """

    dtype: type[np.generic]
    columns: Mapping[str, str] = dataclasses.field(default_factory=dict)
    shape: tuple[int, ...] = ()
    default: int | None = None
    padding: int = 0
    on_device: bool = True

    def __post_init__(self):
        if self.columns and len(self.columns) != math.prod(self.shape):
            raise ValueError(
                f"PerToken: columns are {list(self.columns)}, expected {math.prod(self.shape)} for shape {self.shape}. "
                "Name one for each element."
            )
        if not self.columns and self.default is None:
            raise ValueError("PerToken: default is None, expected a value. Give one, or name columns to store.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class PerPatch:
    """Declaration of a field of one value for each patch; all such fields are stored and read by the training step.

    Attributes:
      dtype: NumPy scalar type of the values.
      column: description of its Parquet column, which has the field's name.
      shape: axes of one patch's value, () for a number; None stands for the side of a patch in pixels.
    """

    dtype: type[np.generic]
    column: str
    shape: tuple[int | None, ...] = ()


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenFields:
    """Arrays that a sequence of L positions and a batch of such sequences have in common, annotated by declarations.

    Attributes:
      token_ids: (L,) int32, the token at each position; 0 at patches and padding.
      target_ids: (L,) int32, the token to predict at a position from those before it: its own, or, for an image code,
        the code at the same place some timesteps later.
      loss_mask: (L,) bool, the paper's m(b, l): True where the target at l is predicted, from l-1.
      local_position: (L,) int32, index within the timestep's observation; all action tokens share one, the last row of
        the local position table, or 0 in a task without observations.
      segment_ids: (L,) int32; attention stays within a segment; 0 is padding.
      prompt_mask: (L,) bool, True on tokens of a prompt.
      action_range: (L, 2) int32, the ids [low, high) that are valid at an action position, (0, 0) elsewhere.
      episode_ids: (L,) int32, the episode of its dataset that a token comes from, -1 where unknown and at padding.
      patches: (P, p, p, 3) uint8, the pixels of each patch.
      patch_slots: (P,) int32, the position of each patch, ascending.
      patch_intervals: (P, 4) int32, row interval [low, high) and column interval [low, high) of 128 within the image.
    """

    token_ids: Annotated[
        Array,
        PerToken(dtype=np.int32, columns={"token_ids": "token of each position; 0 where a patch stands"}),
    ]
    target_ids: Annotated[
        Array,
        PerToken(
            dtype=np.int32,
            columns={"target_ids": "token to predict at each position from those before it"},
        ),
    ]
    loss_mask: Annotated[
        Array, PerToken(dtype=np.bool_, columns={"loss_mask": "whether the target of each position counts in the loss"})
    ]
    local_position: Annotated[
        Array,
        PerToken(
            dtype=np.int32,
            columns={"local_position": "index within the timestep's observation; all action tokens share one"},
        ),
    ]
    segment_ids: Annotated[Array, PerToken(dtype=np.int32, default=1)]
    prompt_mask: Annotated[Array, PerToken(dtype=np.bool_, default=0, on_device=False)]
    action_range: Annotated[
        Array,
        PerToken(
            dtype=np.int32,
            shape=(2,),
            columns={
                "action_low": "first id that is valid at an action position, 0 elsewhere",
                "action_high": "the id after the last valid one, 0 elsewhere",
            },
            on_device=False,
        ),
    ]
    episode_ids: Annotated[Array, PerToken(dtype=np.int32, default=-1, padding=-1, on_device=False)]
    patches: Annotated[
        Array,
        PerPatch(
            dtype=np.uint8,
            shape=(None, None, 3),
            column="the patches of images, each the bytes of a uint8 array of the patch shape, row-major",
        ),
    ]
    patch_slots: Annotated[Array, PerPatch(dtype=np.int32, column="position of each patch")]
    patch_intervals: Annotated[
        Array,
        PerPatch(
            dtype=np.int32,
            shape=(4,),
            column="row interval [low, high) and column interval [low, high) of each patch, of 128",
        ),
    ]

    def replace(self: _Fields, **fields: Any) -> _Fields:
        """Return a copy in which the fields named by the keyword arguments have these arrays."""
        return dataclasses.replace(self, **fields)


def _declarations(kind: type[_Kind]) -> dict[str, _Kind]:
    """Return {field: declaration} of the fields of `TokenFields` whose declaration is of this class."""
    hints = get_type_hints(TokenFields, include_extras=True)
    return {name: hint.__metadata__[0] for name, hint in hints.items() if isinstance(hint.__metadata__[0], kind)}


PER_TOKEN = _declarations(PerToken)  # in the order of the class
PER_PATCH = _declarations(PerPatch)
