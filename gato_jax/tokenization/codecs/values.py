"""What every codec asks of the values it is given."""

from __future__ import annotations

import math
from typing import Any

import numpy as np


class TokenizationError(ValueError):
    """A value that has no exact token; the message names the value and the remedy.

    `step` is its index along the first axis where one value of several is at fault, for the layout to name.
    """

    def __init__(self, message: str, *, step: int | None = None):
        super().__init__(message)
        self.step = step


def flatten(values: Any, shape: tuple[int, ...], kinds: str, wanted: str) -> np.ndarray:
    """(..., *shape) to (..., size), refusing another shape, and every dtype whose kind is not one of `kinds`."""
    try:
        values = np.asarray(values)
    except (ValueError, TypeError) as error:  # lists of unequal lengths, objects that refuse to become arrays
        raise TokenizationError(f"not an array ({error}); give {wanted} of shape {shape}") from None
    if values.dtype.kind not in kinds:
        raise TokenizationError(f"needs {wanted}, got dtype {values.dtype}")
    lead = values.ndim - len(shape)
    if lead < 0 or values.shape[lead:] != shape:
        raise TokenizationError(f"a value must have shape {shape}, got an array of shape {values.shape}")
    return values.reshape(*values.shape[:lead], math.prod(shape))


def refuse(bad: np.ndarray, flat: np.ndarray, shape: tuple[int, ...], reason: str):
    """Raises a TokenizationError that names the first value of `flat`, (..., size), where `bad` is True."""
    if not bad.any():
        return
    *lead, element = (int(i) for i in np.argwhere(bad)[0])
    value = flat[(*lead, element)]
    where = f" at element {tuple(map(int, np.unravel_index(element, shape)))}" if shape else ""
    raise TokenizationError(f"value {value}{where} {reason}", step=lead[0] if lead else None)
