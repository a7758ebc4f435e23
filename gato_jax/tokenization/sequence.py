"""The one form in which everything reaches the model: a sequence of tokens with what is known of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenSequence:
    """L positions, some of which are patches.

    Attributes:
      token_ids: (L,) int32; 0 at patches and padding.
      target_ids: (L,) int32, what is to be predicted for a position from those before it: its own token, or, of an
        image code, the one that stands there some steps later.
      loss_mask: (L,) bool, the paper's m(b, l): True where the target at l is predicted, from l-1.
      local_position: (L,) int32, index within the timestep's observation; actions share one.
      segment_ids: (L,) int32; attention stays within a segment; 0 is padding.
      prompt_mask: (L,) bool, True on tokens of a prompt.
      action_range: (L, 2) int32, the ids [low, high) that are valid at an action position, (0, 0) elsewhere.
      patches: (P, p, p, C) uint8.
      patch_slots: (P,) int32, the position of each patch.
      patch_intervals: (P, 4) int32, its row and column interval of 128 within the image.
    """

    token_ids: np.ndarray
    target_ids: np.ndarray
    loss_mask: np.ndarray
    local_position: np.ndarray
    segment_ids: np.ndarray
    prompt_mask: np.ndarray
    action_range: np.ndarray
    patches: np.ndarray
    patch_slots: np.ndarray
    patch_intervals: np.ndarray

    def __len__(self) -> int:
        return len(self.token_ids)

    def replace(self, **fields) -> TokenSequence:
        return dataclasses.replace(self, **fields)

    def slice(self, start: int, stop: int) -> TokenSequence:
        """Positions [start, stop) with their patches."""
        first, last = np.searchsorted(self.patch_slots, (start, stop))  # slots ascend
        per_token = {name: getattr(self, name)[start:stop] for name in PER_TOKEN}
        return TokenSequence(
            **per_token,
            patches=self.patches[first:last],
            patch_slots=self.patch_slots[first:last] - np.int32(start),
            patch_intervals=self.patch_intervals[first:last],
        )

    def as_prompt(self, *, predict: bool) -> TokenSequence:
        """The same tokens as a prompt (paper, section 2.2), whose targets count only if `predict`."""
        mask = self.loss_mask if predict else np.zeros(len(self), bool)
        return self.replace(prompt_mask=np.ones(len(self), bool), loss_mask=mask)


PER_TOKEN = (
    "token_ids", "target_ids", "loss_mask", "local_position", "segment_ids", "prompt_mask", "action_range",
)  # fmt: skip
PER_PATCH = ("patches", "patch_slots", "patch_intervals")


def concatenate(sequences: Sequence[TokenSequence]) -> TokenSequence:
    """One after the other; segments are kept as they are."""
    if len(sequences) == 1:
        return sequences[0]
    lengths = [len(sequence) for sequence in sequences]
    starts = np.cumsum([0, *lengths[:-1]], dtype=np.int32)
    with_patches = [(s, start) for s, start in zip(sequences, starts, strict=True) if len(s.patch_slots)]
    fields = {name: np.concatenate([getattr(s, name) for s in sequences]) for name in PER_TOKEN}
    if not with_patches:
        return TokenSequence(**fields, **{name: getattr(sequences[0], name) for name in PER_PATCH})
    return TokenSequence(
        **fields,
        patches=np.concatenate([s.patches for s, _ in with_patches]),
        patch_slots=np.concatenate([s.patch_slots + start for s, start in with_patches]),
        patch_intervals=np.concatenate([s.patch_intervals for s, _ in with_patches]),
    )
