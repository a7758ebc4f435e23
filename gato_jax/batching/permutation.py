"""The permutation of `grain.experimental.index_shuffle` for small ranges, computed for the whole range at once.

Grain permutes the numbers below n with a block cipher of at least 16 bits and cycle-walking: it encrypts a number until
the result is below n, which takes about 2^16 / n encryptions. For small n, that is milliseconds for each number. Here
all 2^16 blocks are encrypted at once, so that the whole permutation takes a few milliseconds.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Int, UInt8

ROUNDS = 4  # rounds of the cipher; grain's own choice
_BLOCKS = 1 << 16  # number of blocks of the cipher; grain uses a larger cipher for larger ranges

_MASK = 0xFFFFFFFF


def permutation(size: int, seed: int) -> Int[np.ndarray, " size"]:
    """Return grain's index_shuffle(i, max_index=size - 1, seed=seed, rounds=4) for i in range(size).

    Args:
      size: Length of the range, from 1 to 2^16. For a larger one grain uses another cipher.
      seed: Seed of the permutation, an integer of 32 bits.

    Raises:
      ValueError: The size or the seed is out of its range.
    """
    if not 0 < size <= _BLOCKS:
        raise ValueError(f"permutation: size is {size}, expected 1 to {_BLOCKS}. Use grain's index_shuffle.")
    if not 0 <= seed <= _MASK:
        raise ValueError(f"permutation: seed is {seed}, expected 0 to {_MASK}. Take it modulo 2^32.")
    left, right = (half.astype(np.uint8) for half in divmod(np.arange(_BLOCKS), 256))
    keys = [np.uint8(key & 0xFF) for key in _round_keys(seed)]
    for first, second in zip(keys[::2], keys[1::2], strict=True):
        left = left ^ _mix(right) ^ first
        right = right ^ _mix(left) ^ second
    step = left.astype(np.int64) << 8 | right
    # A walk ends at the first block below `size`. Each iteration doubles the number of steps that all walks have taken.
    end, walk = np.where(step < size, step, -1), step
    while (end[:size] < 0).any():
        end = np.where(end < 0, end[walk], end)
        walk = walk[walk]
    return end[:size].copy()


def _mix(half: UInt8[np.ndarray, " N"]) -> UInt8[np.ndarray, " N"]:
    """Return the round function of the cipher Simon, without the key, of each of N words of 8 bits."""
    return ((half << 1 | half >> 7) & half) ^ (half << 2 | half >> 6)


def _round_keys(seed: int) -> list[int]:
    """Return the key of each of the `ROUNDS` rounds of the cipher, as C++'s std::seed_seq{seed} generates them."""
    count, offset, shift = ROUNDS, 1, 2  # n, p and q of the standard
    values = [0x8B8B8B8B] * count

    def mix(value: int) -> int:
        return (value ^ value >> 27) & _MASK

    for k in range(count):
        here, near, far = k % count, (k + offset) % count, (k + shift) % count
        first = 1664525 * mix(values[here] ^ values[near] ^ values[k - 1]) & _MASK
        second = first + (1 if k == 0 else k + seed if k == 1 else k) & _MASK
        values[near] = values[near] + first & _MASK
        values[far] = values[far] + second & _MASK
        values[here] = second
    for k in range(count):
        here, near, far = k % count, (k + offset) % count, (k + shift) % count
        first = 1566083941 * mix(values[here] + values[near] + values[k - 1] & _MASK) & _MASK
        second = first - k & _MASK
        values[near] ^= first
        values[far] ^= second
        values[here] = second
    return values
