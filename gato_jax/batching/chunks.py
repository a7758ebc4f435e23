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
from gato_jax.tokenization.sequence import PER_PATCH, PER_TOKEN, concatenate

_TOKENS = 512
_BYTES = 1 << 16  # of patches
_DTYPES = {"loss_mask": np.bool_, "patches": np.uint8}
# Known without being stored: every token of a timestep is of one segment and of no prompt until a row says otherwise.
_STORED = [name for name in (*PER_TOKEN, *PER_PATCH) if name not in ("segment_ids", "prompt_mask")]


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
        name: np.frombuffer(raw, _DTYPES.get(name, np.int32)).reshape(shape)
        for name, (shape, raw) in zip(_STORED, msgpack.unpackb(record), strict=True)
    }
    length = len(arrays["token_ids"])
    return TokenSequence(**arrays, segment_ids=np.ones(length, np.int32), prompt_mask=np.zeros(length, bool))
