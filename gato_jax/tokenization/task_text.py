"""Text of a task as the first tokens of each of its episodes, with `Tokenization.task_text_first`.

    episode    text of the task, closed by </s> | timestep, timestep, ...

The tokens belong to the first timestep of an episode. Only there do they occur: not in windows that begin later.
"""

from __future__ import annotations

import numpy as np

from gato_jax.tokenization.codecs import TextCodec
from gato_jax.tokenization.fields import PER_TOKEN
from gato_jax.tokenization.sequence import TokenSequence


def encode_task_text(text: str, *, predict: bool) -> TokenSequence:
    """Return the tokens of a task's text, all at local position 0, as pure text has them.

    Args:
      text: The text, not blank.
      predict: True if the tokens are targets of the loss.

    Raises:
      TokenizationError: The text's pieces do not decode to exactly this text.
    """
    ids = TextCodec().encode(text)
    return TokenSequence.from_arrays(
        token_ids=ids,
        target_ids=ids,
        loss_mask=np.full(len(ids), predict),
        local_position=np.zeros(len(ids), np.int32),
        action_range=np.zeros((len(ids), 2), np.int32),
        patches=np.zeros((0, 0, 0, 0), np.uint8),
        patch_slots=np.zeros(0, np.int32),
        patch_intervals=np.zeros((0, 4), np.int32),
    )


def find_task_text(text: TokenSequence, sequence: TokenSequence) -> np.ndarray:
    """Return (L,) bool, True at the tokens of each occurrence of a task's text in a sequence of L positions.

    The same words in an observation are not found: only one token of an observation has local position 0, and a task's
    text has two or more.
    """
    length, found = len(text), np.zeros(len(sequence), bool)
    if len(sequence) < length:
        return found
    ids, local = (
        np.lib.stride_tricks.sliding_window_view(getattr(sequence, name), length)
        for name in ("token_ids", "local_position")
    )
    starts = np.flatnonzero((ids == text.token_ids).all(axis=1) & (local == 0).all(axis=1))
    found[starts[:, None] + np.arange(length)] = True
    return found


def remove_tokens(sequence: TokenSequence, removed: np.ndarray) -> TokenSequence:
    """Return a sequence without the positions where `removed` (L,) is True, none of which is a patch."""
    before = np.cumsum(removed, dtype=np.int32)
    return sequence.replace(
        **{name: getattr(sequence, name)[~removed] for name in PER_TOKEN},
        patch_slots=sequence.patch_slots - before[sequence.patch_slots],
    )
