"""The soft indicator of which DM Control composes its rewards, on arrays of any shape."""

from __future__ import annotations

from typing import Literal

import numpy as np


def tolerance(
    value: np.ndarray,
    low: float = 0.0,
    high: float = 0.0,
    *,
    margin: float = 0.0,
    sigmoid: Literal["gaussian", "linear", "quadratic", "long_tail", "reciprocal"] = "gaussian",
    at_margin: float = 0.1,
) -> np.ndarray:
    """Return 1 where `low <= value <= high`, and less outside.

    Args:
      value: Numbers of any shape.
      low: Lower end of the interval.
      high: Upper end of the interval.
      margin: Distance from the interval at which the result has fallen to `at_margin`; 0 for a sharp edge.
      sigmoid: Shape of the fall.
      at_margin: Result at the distance `margin`.
    """
    distance = np.maximum(np.maximum(low - value, value - high), 0.0)
    if margin == 0:
        return (distance == 0).astype(float)
    relative = distance / margin
    if sigmoid == "gaussian":
        return np.exp(np.log(at_margin) * relative**2)
    if sigmoid == "linear":
        return np.maximum(1 - relative * (1 - at_margin), 0.0)
    if sigmoid == "quadratic":
        return np.maximum(1 - relative**2 * (1 - at_margin), 0.0)
    if sigmoid == "long_tail":
        return 1 / (relative**2 * (1 / at_margin - 1) + 1)
    return 1 / (relative * (1 / at_margin - 1) + 1)
