"""Boolean features of emulated states, by which a search tells new states from old ones."""

from __future__ import annotations

import numpy as np


class ByteFeatures:
    """One feature for each value of each byte of the memory.

    Args:
      size: Number of bytes.
    """

    def __init__(self, size: int):
        self.count = 256 * size
        self._offsets = np.arange(0, self.count, 256, dtype=np.intp)

    def __call__(self, memory: np.ndarray) -> np.ndarray:
        """Return the numbers of the features, (size,) intp, of a memory (size,) uint8."""
        return self._offsets + memory


class TileFeatures:
    """One feature for each colour in each tile of the screen: the basic features of B-PROST (arXiv 1512.01563).

    B-PROST also has the offsets between pairs of colours, 20 million features. They are left out, since they take
    longer than the emulation of the frames.

    Args:
      height: Rows of the screen.
      width: Columns of the screen.
      tile: Rows and columns of a tile; the last tiles of a row or column may be smaller.
      colours: Number of colours.
    """

    def __init__(self, height: int, width: int, *, tile: tuple[int, int], colours: int):
        rows, columns = np.arange(height) // tile[0], np.arange(width) // tile[1]
        tiles = rows[:, None] * (columns[-1] + 1) + columns
        self.count = int(tiles[-1, -1] + 1) * colours
        self._offsets = (tiles * colours).astype(np.intp)
        self._present = np.zeros(self.count, bool)

    def __call__(self, screen: np.ndarray) -> np.ndarray:
        """Return the numbers of the features, (n,), of a screen (height, width) of numbers of colours."""
        self._present[:] = False
        self._present[self._offsets + screen] = True
        return np.flatnonzero(self._present)
