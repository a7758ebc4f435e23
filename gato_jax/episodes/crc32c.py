"""CRC-32C (Castagnoli) in NumPy: a millisecond or two for a megabyte.

Without its initial value the register is linear over GF(2) in the message's bits. So a message is cut into lanes that
advance side by side, four bytes at a time, and the lanes' registers are joined pairwise: that of the first half, moved
on by as many zero bytes as the second half has, plus (XOR) that of the second.
"""

from __future__ import annotations

import functools

import numpy as np

_POLYNOMIAL = 0x82F63B78  # reflected: the lowest bit is the highest power
_WORD = 4  # bytes
_ONES = 0xFFFFFFFF


def crc32c(data: bytes) -> int:
    """The CRC of a message."""
    if len(data) < _WORD:
        return _bytewise(data)
    words = -(-len(data) // _WORD)
    lanes = 1 << words.bit_length() // 2
    rows = -(-words // lanes)
    padded = np.zeros(lanes * rows * _WORD, np.uint8)
    start = len(padded) - len(data)
    padded[start:] = np.frombuffer(data, np.uint8)  # zeros before the message leave an empty register empty
    padded[start : start + _WORD] ^= 0xFF  # the initial value
    registers = _advance(padded.view("<u4").reshape(lanes, rows))
    shift = _power(rows)
    while len(registers) > 1:
        registers = _apply(shift, registers[::2]) ^ registers[1::2]
        shift = _apply(shift, shift)
    return int(registers[0]) ^ _ONES


def crc32c_of_rows(messages: np.ndarray) -> np.ndarray:
    """(N,) uint32 CRCs of (N, n) uint8 messages, n a multiple of four."""
    words = np.ascontiguousarray(messages).view("<u4").copy()
    words[:, 0] ^= np.uint32(_ONES)
    return _advance(words) ^ np.uint32(_ONES)


def _bytewise(data: bytes) -> int:
    register = _ONES
    for byte in data:
        register = _shift_bits(register ^ byte, 8)
    return register ^ _ONES


def _shift_bits(register: int, count: int) -> int:
    for _ in range(count):
        register = register >> 1 ^ (_POLYNOMIAL if register & 1 else 0)
    return register


def _advance(words: np.ndarray) -> np.ndarray:
    """(lanes,) uint32 registers after (lanes, rows) words each, from empty ones."""
    low, high = _tables()
    registers = np.zeros(len(words), np.uint32)
    for row in np.ascontiguousarray(words.T):
        registers ^= row
        registers = low[registers & 0xFFFF] ^ high[registers >> 16]
    return registers


@functools.cache
def _tables() -> tuple[np.ndarray, np.ndarray]:
    """A register four bytes on, by its lower and by its upper sixteen bits."""
    halves, one_word = np.arange(1 << 16, dtype=np.uint32), _power(1)
    return _apply(one_word, halves), _apply(one_word, halves << 16)


@functools.cache
def _power(words: int) -> np.ndarray:
    """(32,) uint32: where so many words of zeros take each bit of a register."""
    if words == 1:
        return np.array([_shift_bits(1 << bit, 8 * _WORD) for bit in range(32)], np.uint32)
    half = _power(words // 2)
    whole = _apply(half, half)
    return _apply(_power(1), whole) if words % 2 else whole


def _apply(matrix: np.ndarray, registers: np.ndarray) -> np.ndarray:
    """Each register with its bits replaced by the matrix's images of them."""
    moved = np.zeros_like(registers)
    for bit in range(32):
        moved ^= (registers >> np.uint32(bit) & np.uint32(1)) * matrix[bit]
    return moved
