"""The settings of a mixture that a config states: each dataset and its sampling, weighting, admission.

The module imports nothing heavy, so that configs are checked before JAX is imported.
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import PositiveFloat, PositiveInt, Range, UnitInterval, rule

Missing = Literal["error", "skip"]
Weighting = Literal["by_hand", "by_size", "by_task"]

_Weight = Annotated[float, Range(above=0, remedy="Leave the dataset out to give it no rows.")]
_PromptSteps = Annotated[int, Range(above=0, remedy="Set prompt_share=0 for no prompts.")]
_ShareAtMost = Annotated[float, Range(at_least=0, at_most=1, remedy="None sets no bound.")]


class MixtureError(ValueError):
    """A mixture, or settings of a dataset, that cannot be sampled; the message names the value and the remedy."""


class AdmissionError(ValueError):
    """A mixture that the rules do not admit, or a rule that is out of range.

    For a mixture the message names the datasets, the reason and the remedy; for a rule its name and value.
    """


@dataclasses.dataclass(frozen=True, kw_only=True)
class AdmissionConfig:
    """Rules of admission; the defaults admit everything.

    Attributes:
      allowed_licences: SPDX identifiers or names of licences, in any case. None admits any licence, an empty tuple
        admits no licence. Of a choice (OR) one must be among them, of a conjunction (AND) all.
      commercial_only: Whether every licence must permit commercial use. A licence that is not known does not.
      synthetic_share_at_most, simulated_share_at_most: Maximum share of the rows of that kind, in [0, 1], by the
        weights of the mixture; None for any.

    Raises:
      AdmissionError: A share is not in [0, 1].
    """

    allowed_licences: tuple[str, ...] | None = None
    commercial_only: bool = False
    synthetic_share_at_most: _ShareAtMost | None = None
    simulated_share_at_most: _ShareAtMost | None = None

    def __post_init__(self):
        DataclassReader(error=AdmissionError).check(self, "admission")

    def share_at_most(self, kind: str) -> float | None:
        """Return the maximum share of rows of a kind, `synthetic` or `simulated`; None for any."""
        return getattr(self, f"{kind}_share_at_most")


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
      prompt_share: Share of the rows whose pieces follow prompts, each from another episode of the dataset (paper:
        0.25). It must be 0 if `pieces` is set. A task whose actions are text alone has no prompts, whatever it is.
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
    weight: _Weight
    window: Literal["tokens", "timesteps"] | PositiveInt = "tokens"
    prompt_share: UnitInterval = 0.25
    prompt_steps: _PromptSteps | None = None
    pieces: PositiveInt | None = None
    loss_weight: PositiveFloat = 1.0
    fields: str | None = None
    phrasings: PositiveInt = 1
    review: str | None = None

    def __post_init__(self):
        DataclassReader(error=MixtureError).check(self, "dataset")

    @rule
    def _pieces_have_a_size(self) -> str | None:
        if self.pieces is None or isinstance(self.window, int):
            return None
        return (
            f"window is {self.window}, expected a positive whole number with pieces={self.pieces}. Set both, or none."
        )

    @rule
    def _pieces_have_no_prompts(self) -> str | None:
        if self.pieces is None or not self.prompt_share:
            return None
        return f"prompt_share is {self.prompt_share}, but pieces={self.pieces} leaves no room for prompts. Set it to 0."

    @property
    def kind(self) -> str:
        """The part of `source` before its first colon, e.g. `recorded`; all of it if it has none."""
        return self.source.partition(":")[0]

    @property
    def location(self) -> str:
        """All of `source` after its first colon: a folder, a name, or the reason of `unavailable`. May be empty."""
        return self.source.partition(":")[2]
