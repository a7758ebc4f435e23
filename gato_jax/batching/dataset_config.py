"""The settings of one dataset of a mixture: its place and the way it is sampled."""

from __future__ import annotations

import dataclasses
from typing import Literal


class MixtureError(ValueError):
    """A mixture, or settings of a dataset, that cannot be sampled; the message names the value and the remedy."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class DatasetConfig:
    """The place of one dataset of a mixture and the way it is sampled.

    Attributes:
      source: `KIND:WHERE`. `recorded:DIR` is a dataset of our own; the other kinds are those of `gato_jax.sources`;
        `tokens:DIR` is what `gato export` wrote; `unavailable:WHY` stands for a dataset that nobody can obtain.
      weight: Share of the rows, positive and relative to the weights of the other datasets (see `batching.weigh`).
      window: The unit that rows are cut from, called a piece. `tokens`: any consecutive tokens, as many as fit in a row
        (paper, section 2.3). `timesteps`: as many whole timesteps as fit. A number: at most this many whole timesteps.
        A row holds as many pieces, each from a random place of a random episode, as fit.
      prompt_share: Share of the pieces that follow a prompt from another episode of the dataset (paper: 0.25). It must
        be 0 if `pieces` is set.
      prompt_steps: Maximum number of timesteps in a prompt; None for as many as fit. No prompt where none fits.
      pieces: Number of pieces that are joined in one segment to make a row, which is then padded or cropped at random:
        the paper joins five pairs of image and text (section 3.2). It needs a number as `window`. None for as many as
        fit, each its own segment.
      loss_weight: Weight of each target in the loss. 1 is the paper's loss, in which a row of text, all of it targets,
        outweighs hundreds of rows with one action each.
      fields: File that says what the fields of a recording mean (`gato_jax.sources.Fields`), if its kind needs one.
      phrasings: Number of copies of each episode, each with another phrasing of its instruction.
      review: File of phrasings that `gato instructions` wrote; None for the instructions of the task itself. It counts
        only if `phrasings` is above 1.

    Raises:
      MixtureError: A value is out of range, or `pieces` is set together with prompts or without a number as `window`.
        `source` and the files are not checked.
    """

    source: str
    weight: float
    window: Literal["tokens", "timesteps"] | int = "tokens"
    prompt_share: float = 0.25
    prompt_steps: int | None = None
    pieces: int | None = None
    loss_weight: float = 1.0
    fields: str | None = None
    phrasings: int = 1
    review: str | None = None

    def __post_init__(self):
        if not self.weight > 0:
            raise MixtureError(f"weight is {self.weight}, expected a positive number; drop the dataset instead")
        if self.window not in ("tokens", "timesteps") and not (isinstance(self.window, int) and self.window > 0):
            raise MixtureError(f"window is {self.window!r}, expected tokens, timesteps or a positive number")
        if not 0 <= self.prompt_share <= 1:
            raise MixtureError(f"prompt_share is {self.prompt_share}, expected a number in [0, 1]")
        if self.prompt_steps is not None and self.prompt_steps < 1:
            raise MixtureError(
                f"prompt_steps is {self.prompt_steps}, expected a positive number; for no prompts set prompt_share=0"
            )
        if self.pieces is not None and not (self.pieces > 0 and isinstance(self.window, int)):
            raise MixtureError(
                f"pieces={self.pieces} with window={self.window!r}: expected two positive numbers, or pieces=None"
            )
        if self.pieces is not None and self.prompt_share:
            raise MixtureError(f"pieces={self.pieces} leaves no room for prompts; set prompt_share=0")
        if not self.loss_weight > 0:
            raise MixtureError(f"loss_weight is {self.loss_weight}, expected a positive number")
        if self.phrasings < 1:
            raise MixtureError(f"phrasings is {self.phrasings}, expected a positive number")

    @property
    def kind(self) -> str:
        """The part of `source` before its first colon, e.g. `recorded`; all of it if it has none."""
        return self.source.partition(":")[0]

    @property
    def location(self) -> str:
        """All of `source` after its first colon: a folder, a name, or the reason of `unavailable`. May be empty."""
        return self.source.partition(":")[2]
