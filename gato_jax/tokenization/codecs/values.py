"""Checks of the values that codecs encode, and the error that they raise."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class TokenizationError(ValueError):
    """A value or id that a codec refuses, or a task that has no codecs; the message names it and mostly the remedy.

    Attributes:
      step: index of the value along the first axis, None without such an axis; the layout adds it to the message.
    """

    def __init__(self, message: str, *, step: int | None = None):
        super().__init__(message)
        self.step = step


def flatten_values(values: Any, shape: tuple[int, ...], kinds: str, expected: str) -> np.ndarray:
    """Return values (..., *shape) as an array (..., size) of the same dtype.

    Args:
      values: array or nested lists.
      shape: shape of one value.
      kinds: allowed kinds of the dtype, one letter of `np.dtype.kind` each, such as "biu" for bools and integers.
      expected: name of the allowed kinds, for messages.

    Raises:
      TokenizationError: the values have another shape, or a dtype of another kind.
    """
    try:
        values = np.asarray(values)
    except (ValueError, TypeError) as error:  # lists of unequal lengths, objects that refuse to become arrays
        raise TokenizationError(f"not an array ({error}); give {expected} of shape {shape}") from None
    if values.dtype.kind not in kinds:
        raise TokenizationError(f"needs {expected}, got dtype {values.dtype}")
    lead = values.ndim - len(shape)
    if lead < 0 or values.shape[lead:] != shape:
        raise TokenizationError(f"a value must have shape {shape}, got an array of shape {values.shape}")
    return values.reshape(*values.shape[:lead], math.prod(shape))


def raise_if_any(bad: np.ndarray, flat: np.ndarray, shape: tuple[int, ...], reason: str):
    """Raise a TokenizationError about the first bad value, if there is one.

    Args:
      bad: (..., size) bool, True for values to refuse.
      flat: (..., size) values.
      shape: shape of one value, for the index in the message.
      reason: end of the message: the fault and the remedy.
    """
    if not bad.any():
        return
    *lead, element = (int(i) for i in np.argwhere(bad)[0])
    value = flat[(*lead, element)]
    element_name = f" at element {tuple(map(int, np.unravel_index(element, shape)))}" if shape else ""
    raise TokenizationError(f"value {value}{element_name} {reason}", step=lead[0] if lead else None)
