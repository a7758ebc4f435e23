"""Chunks: what one record of token records holds, consecutive timesteps of an episode.

A record costs some microseconds to find, whatever its size, and a row reads windows: so a chunk is as large as what a
short window needs, and no larger, for a window of one timestep reads all of it.
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
_BYTES = 1 << 16  # of patches
_STORED = {name: field.dtype for name, field in PER_TOKEN.items() if field.columns}
_STORED |= {name: field.dtype for name, field in PER_PATCH.items()}


def chunks_of(steps: Sequence[TokenSequence]) -> Iterator[tuple[int, TokenSequence]]:
    """The timesteps of an episode as chunks, each with how many timesteps it holds, one at least."""
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
    """The bytes of its record."""
    arrays = [getattr(chunk, name) for name in _STORED]
    return cast(bytes, msgpack.packb([(array.shape, array.tobytes()) for array in arrays]))


def unpack(record: bytes) -> TokenSequence:
    """What `pack` packed, without a copy."""
    arrays = {
        name: np.frombuffer(raw, dtype).reshape(shape)
        for (name, dtype), (shape, raw) in zip(_STORED.items(), msgpack.unpackb(record), strict=True)
    }
    return TokenSequence.from_arrays(**arrays)
