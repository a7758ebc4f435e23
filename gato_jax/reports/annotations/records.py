"""The dataclass with the views of an agent in the file of a rollout."""

from __future__ import annotations

import dataclasses

import numpy as np

from gato_jax.reports.errors import ReportError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Annotations:
    """Views of the agent into a rollout of T steps with actions of A numbers; see `evaluation.rollout_annotations`.

    Construction raises ReportError if the shapes do not fit together.

    Attributes:
      probabilities: uint8 (T, A, C), in 1/255, of cells into which the range of each number is divided.
      cells: (A,) number of cells of each.
      low, high: (A,) ends of the range of each number.
      attention: (rows, columns), weight of each patch of an image; None without images.
      attention_image: uint8 (H, W, 3), the image; None without images.
      attention_step: step at which it was seen.
    """

    probabilities: np.ndarray
    cells: np.ndarray
    low: np.ndarray
    high: np.ndarray
    attention: np.ndarray | None = None
    attention_image: np.ndarray | None = None
    attention_step: int = 0

    def __post_init__(self):
        shape = self.probabilities.shape
        widths = {len(one) if one.ndim == 1 else -1 for one in (self.cells, self.low, self.high)}
        if len(shape) != 3 or widths != {shape[1]} or not (0 < self.cells).all() or (self.cells > shape[2]).any():
            raise ReportError(f"probabilities is {shape} with cells {self.cells.tolist()}. Evaluate the run again.")
        image = self.attention_image
        if (self.attention is None) != (image is None) or (image is not None and image.shape[2:] != (3,)):
            raise ReportError("attention and attention_image do not fit together. Evaluate the run again.")
