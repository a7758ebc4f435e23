"""Decoding of token sequences to observations and actions, and a description of each single token.

Axes:
    S timesteps   K columns of a timestep (its keys and the separator)   L positions   p side of a patch
"""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any, NamedTuple

import numpy as np

from gato_jax.tokenization.codecs import (
    CodeCodec,
    ContinuousCodec,
    DiscreteCodec,
    ImageCodec,
    TextCodec,
    TokenizationError,
)
from gato_jax.tokenization.codecs.text import END_OF_TEXT
from gato_jax.tokenization.columns import Column
from gato_jax.tokenization.layout import Layout
from gato_jax.tokenization.sequence import TokenSequence
from gato_jax.tokenization.task_text import find_task_text, remove_tokens

_KINDS = {
    TextCodec: "text",
    DiscreteCodec: "discrete",
    ContinuousCodec: "continuous",
    ImageCodec: "image patch",
    CodeCodec: "image code",
}


class Timesteps(NamedTuple):
    """Decoded observations and actions of S timesteps.

    Attributes:
      observation: {key: values (S, ...)}; text is an object array of str.
      action: {key: values (S, ...)}, likewise.
    """

    observation: dict[str, np.ndarray]
    action: dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Token:
    """Meaning of the token at one position.

    Attributes:
      kind: "text", "discrete", "continuous", "image patch", "image code", "separator" or "task text".
      side: "observation" or "action"; empty for the separator and the text of the task.
      key: key of the observation or action; empty for the separator and the text of the task.
      element: index among the tokens of this key at this timestep.
      value: the piece of text (str, with U+2581 for a space, `</s>` at the end of a text), the integer of a discrete
        token, or the float at the centre of the bin; None for images and the separator.
    """

    kind: str
    side: str = ""
    key: str = ""
    element: int = 0
    value: Any = None


def decode(layout: Layout, sequence: TokenSequence) -> Timesteps:
    """Decode whole timesteps, the inverse of `Layout.encode` up to the precision of each codec.

    The text of the task at the beginning of an episode is left out.
    Images come back as the codec sees them: cropped, padded or resized to whole patches, or as the image tokenizer's
    square reconstruction.

    Raises:
      TokenizationError: the sequence begins or ends inside a timestep, is of another task, or has an id that its key
        cannot have. For a task without observations, a sequence that begins inside a timestep may go unnoticed.
    """
    sequence = remove_tokens(sequence, _task_text(layout, sequence))
    edges = _edges(layout, sequence)
    decoded = Timesteps({}, {})
    patches = _patches_by_key(layout, sequence, len(edges))
    for k, column in enumerate(_columns(layout)):
        if column is None:
            continue
        start, codec = edges[:, k], column.codec
        if isinstance(codec, ImageCodec):
            values = codec.decode(patches[column.key])
        elif isinstance(codec, TextCodec):
            values = np.array(_decode_text(codec, sequence, edges[:, k : k + 2]), object)
        else:
            values = codec.decode(sequence.token_ids[start[:, None] + np.arange(codec.token_count)])
        getattr(decoded, column.side)[column.key] = values
    return decoded


def decode_texts(layout: Layout, sequence: TokenSequence) -> dict[str, list[str]]:
    """Decode the texts in the observations of whole timesteps to {key: texts (S,)}, without decoding anything else.

    Raises:
      TokenizationError: as for `decode`.
    """
    sequence = remove_tokens(sequence, _task_text(layout, sequence))
    edges = _edges(layout, sequence)
    return {
        column.key: _decode_text(column.codec, sequence, edges[:, k : k + 2])
        for k, column in enumerate(_columns(layout))
        if column is not None and column.side == "observation" and isinstance(column.codec, TextCodec)
    }


def _decode_text(codec: TextCodec, sequence: TokenSequence, spans: np.ndarray) -> list[str]:
    """Return the text in each of some ranges of positions, (S, 2)."""
    return [codec.decode(sequence.token_ids[start:stop]) for start, stop in spans]


def describe(layout: Layout, sequence: TokenSequence) -> list[Token]:
    """Return the meaning of each of the L tokens of whole timesteps, in their order.

    Raises:
      TokenizationError: as for `decode`.
    """
    is_task_text = _task_text(layout, sequence)
    steps = iter(_describe_timesteps(layout, remove_tokens(sequence, is_task_text)))
    pieces = iter(TextCodec().pieces(sequence.token_ids[is_task_text]))
    counts = itertools.cycle(range(len(layout.task_tokens or ())))
    return [
        Token(kind="task text", element=next(counts), value=next(pieces)) if text else next(steps)
        for text in is_task_text.tolist()
    ]


def _describe_timesteps(layout: Layout, sequence: TokenSequence) -> list[Token]:
    tokens = []
    for edges in _edges(layout, sequence).tolist():
        for column, start, stop in zip(_columns(layout), edges[:-1], edges[1:], strict=True):
            if column is None:
                tokens.append(Token(kind="separator"))
                continue
            values = _values(column, sequence.token_ids[start:stop])
            kind = _KINDS[type(column.codec)]
            tokens += [
                Token(kind=kind, side=column.side, key=column.key, element=i, value=value)
                for i, value in enumerate(values)
            ]
    return tokens


def _task_text(layout: Layout, sequence: TokenSequence) -> np.ndarray:
    """Return (L,) bool, True at the tokens of the task's text.

    Raises:
      TokenizationError: the sequence ends with it, before the timestep that it belongs to.
    """
    if layout.task_tokens is None:
        return np.zeros(len(sequence), bool)
    found = find_task_text(layout.task_tokens, sequence)
    if len(found) and found[-1]:
        raise _not_whole(layout, sequence)
    return found


def _not_whole(layout: Layout, sequence: TokenSequence) -> TokenizationError:
    return TokenizationError(
        f"the {len(sequence)} tokens are not whole timesteps of {layout.spec.name}; cut them where timesteps begin"
    )


def _columns(layout: Layout) -> list[Column | None]:
    """Return the columns of a timestep in the order of their tokens, with None for the separator."""
    separator = [None] if layout.has_observation else []
    return [*layout.observation_columns, *separator, *layout.action_columns]


def _edges(layout: Layout, sequence: TokenSequence) -> np.ndarray:
    """Return the first position of each column of each timestep, and the timestep's end, as (S, K + 1) integers.

    Raises:
      TokenizationError: the sequence is not whole timesteps of this layout.
    """
    columns = _columns(layout)
    counts = [1 if column is None else column.codec.token_count for column in columns]
    fixed = [count for count in counts if count is not None]
    if len(fixed) < len(counts):
        edges = np.array(_edges_with_text(counts, sequence), np.int64).reshape(-1, len(counts) + 1)
    else:
        ends = np.cumsum([0, *fixed])
        steps = -(-len(sequence) // ends[-1]) if ends[-1] else 0
        edges = np.arange(steps)[:, None] * ends[-1] + ends
    whole = not len(sequence) or (len(edges) > 0 and edges[-1, -1] == len(sequence))
    if not whole or not _fits(layout, sequence, edges):
        raise _not_whole(layout, sequence)
    return edges


def _fits(layout: Layout, sequence: TokenSequence, edges: np.ndarray) -> bool:
    """Return True if patches, separators and their local positions are where timesteps with these edges have them.

    Args:
      layout: without observations, it has no separators, and nothing but the absence of patches is checked.
      sequence: the tokens.
      edges: (S, K + 1) positions, as `_edges` returns them, all within the sequence.
    """
    columns = _columns(layout)
    side, is_patch = layout.tokenization.patch, np.zeros(len(sequence), bool)
    for k, column in enumerate(columns):
        if column is not None and isinstance(column.codec, ImageCodec):
            is_patch[edges[:, k, None] + np.arange(column.codec.token_count)] = True
            if sequence.patches.shape[1:] != (side, side, 3):
                return False
    if not np.array_equal(np.flatnonzero(is_patch), sequence.patch_slots):
        return False
    if not layout.has_observation:
        return True
    starts, ends = edges[:, 0], edges[:, columns.index(None)]
    is_separator = sequence.token_ids[ends] == layout.tokenization.vocabulary.separator
    counted = sequence.local_position[ends] == ends - starts
    return bool(is_separator.all() and counted.all() and not sequence.local_position[starts].any())


def _edges_with_text(counts: list[int | None], sequence: TokenSequence) -> list[list[int]]:
    """Return the K + 1 edges of each timestep of a layout with text, whose tokens end with the end-of-text piece.

    Args:
      counts: number of tokens of each of the K columns, None for text.
      sequence: the tokens. If they end inside a timestep, the last edge lies beyond their end.
    """
    closing = np.flatnonzero(sequence.token_ids == END_OF_TEXT)
    edges, at = [], 0
    while at < len(sequence):
        step = [at]
        for count in counts:
            if count is None:
                following = np.searchsorted(closing, at)
                # Without a closing piece the text runs beyond the end, so the timestep is not whole.
                at = int(closing[following]) + 1 if following < len(closing) else len(sequence) + 1
            else:
                at += count
            step.append(at)
        edges.append(step)
    return edges


def _patches_by_key(layout: Layout, sequence: TokenSequence, steps: int) -> dict[str, np.ndarray]:
    """Return {key: patches (S, n, p, p, 3)} of the columns of image patches, in `steps` = S timesteps."""
    images = [(key, codec) for _, key, codec in layout.observation_columns if isinstance(codec, ImageCodec)]
    if not images:
        return {}
    counts = [codec.token_count for _, codec in images]
    tiles = sequence.patches.reshape(steps, sum(counts), *sequence.patches.shape[1:])
    parts = np.split(tiles, np.cumsum(counts)[:-1], axis=1)
    return {key: part for (key, _), part in zip(images, parts, strict=True)}


def _values(column: Column, ids: np.ndarray) -> list[Any]:
    match column.codec:
        case TextCodec() as codec:
            return codec.pieces(ids)
        case ImageCodec() | CodeCodec():
            return [None] * len(ids)
        case codec:
            return codec.decode(ids).reshape(-1).tolist()
