"""Synthetic image tokenizer for tests of several packages."""

import types

import numpy as np


class Shades:
    """Image tokenizer with four codes for an image: the means of its quarters."""

    config = types.SimpleNamespace(grid=2, token_count=4, codes=256)
    fingerprint = "shades"

    def encode(self, images):
        height, width = images.shape[-3] // 2, images.shape[-2] // 2
        quarters = images.reshape(*images.shape[:-3], 2, height, 2, width, 3).swapaxes(-4, -3)
        return quarters.mean((-3, -2, -1)).astype(np.int32).reshape(*images.shape[:-3], 4)

    def decode(self, codes):
        return codes
