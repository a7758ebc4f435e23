"""Chunks of consecutive timesteps of one episode, each of which is one record of token records.

It takes some microseconds to find a record, whatever its size, so a chunk should hold a whole short window. It should
not be larger, because a window of one timestep reads the whole chunk.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import msgpack
import numpy as np

from gato_jax.tokenization import TokenSequence
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN
from gato_jax.tokenization.sequence import concatenate

_TOKENS = 512
_BYTES = 1 << 16  # maximum size of the patches of a chunk
_STORED = {name: field.dtype for name, field in PER_TOKEN.items() if field.columns}
_STORED |= {name: field.dtype for name, field in PER_PATCH.items()}
# The arrays of a record in order: part of the format of token records.
LAYOUT = tuple(f"{name} {np.dtype(dtype).name}" for name, dtype in _STORED.items())


def chunks_of(steps: Sequence[TokenSequence]) -> Iterator[tuple[int, TokenSequence]]:
    """Yield the number of timesteps and the tokens of each chunk of an episode, in order.

    A chunk has at most 512 tokens and 64 KiB of patches, unless a single timestep has more.

    Args:
      steps: Tokens of each timestep of the episode.
    """
    chunk: list[TokenSequence] = []
    tokens = patches = 0
    for step in steps:
        tokens, patches = tokens + len(step), patches + step.patches.nbytes
        if chunk and (tokens > _TOKENS or patches > _BYTES):
            yield len(chunk), concatenate(chunk)
            chunk, tokens, patches = [], len(step), step.patches.nbytes
        chunk.append(step)
    if chunk:
        yield len(chunk), concatenate(chunk)


def pack(chunk: TokenSequence) -> bytes:
    """Return a chunk as the bytes of a record: shapes and contents of the stored arrays in the order of `LAYOUT`."""
    arrays = [getattr(chunk, name) for name in _STORED]
    return cast(bytes, msgpack.packb([(array.shape, array.tobytes()) for array in arrays]))


def unpack(record: bytes) -> TokenSequence:
    """Return the chunk that `pack` packed. Its arrays are read-only views of the record.

    Fields that are not stored, such as segment_ids, have their defaults.
    """
    arrays = {
        name: np.frombuffer(raw, dtype).reshape(shape)
        for (name, dtype), (shape, raw) in zip(_STORED.items(), msgpack.unpackb(record), strict=True)
    }
    return TokenSequence.from_arrays(**arrays)
