"""Token sequences with patches and targets, the one form in which all data reaches the model."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN, TokenFields


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class TokenSequence(TokenFields):
    """Sequence of L positions, P of which are image patches; `TokenFields` describes the arrays."""

    @classmethod
    def from_arrays(cls, **arrays: np.ndarray) -> TokenSequence:
        """Build a sequence from arrays by name of their field.

        `segment_ids` (default 1), `prompt_mask` (False) and `episode_ids` (-1) may be left out; all other fields must
        be given. Shapes and dtypes are not checked.
        """
        length = len(arrays["token_ids"])
        defaults = {
            name: np.full((length, *field.shape), field.default, field.dtype)
            for name, field in PER_TOKEN.items()
            if name not in arrays and field.default is not None
        }
        return cls(**arrays, **defaults)

    def __len__(self) -> int:
        return len(self.token_ids)

    def slice(self, start: int, stop: int) -> TokenSequence:
        """Return positions [start, stop) with their patches, whose `patch_slots` then count from `start`."""
        first, last = np.searchsorted(self.patch_slots, (start, stop))  # slots ascend
        per_token = {name: getattr(self, name)[start:stop] for name in PER_TOKEN}
        return TokenSequence(
            **per_token,
            patches=self.patches[first:last],
            patch_slots=self.patch_slots[first:last] - np.int32(start),
            patch_intervals=self.patch_intervals[first:last],
        )

    def as_prompt(self, *, predict: bool) -> TokenSequence:
        """Return the tokens marked as a prompt (paper, section 2.2), with `prompt_mask` True at all positions.

        Args:
          predict: True to keep `loss_mask`, False to set it to False at all positions.
        """
        mask = self.loss_mask if predict else np.zeros(len(self), bool)
        return self.replace(prompt_mask=np.ones(len(self), bool), loss_mask=mask)


def concatenate(sequences: Sequence[TokenSequence]) -> TokenSequence:
    """Return one or more sequences joined in their order as one; `patch_slots` are shifted, `segment_ids` are not."""
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
