"""Dataclasses with the results of a tokenization report; errors are in the units of the values."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from gato_jax.tokenization import Tokenization


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """Errors of one element of a continuous key under one codec.

    Attributes:
      side, key, element: "observation" or "action", the key, and the index in the flattened value.
      mean_abs_error, max_abs_error: absolute differences between values and decoded tokens.
      clip_rate: share of values outside the range that the bins cover, in [0, 1].
      bins_used, bins_used_share: number and share of the bins that at least one value of the element fell into.
      minimum, maximum, standard_deviation: of the values.
      reason: why the element is degenerate (hardly varies), whatever the bins; empty if it is not.
      unresolved: why the bins do not resolve an element that is not degenerate; empty if they do.
      histogram: counts in up to 64 equal ranges of bins; the page draws it, the JSON leaves it out.
    """

    side: str
    key: str
    element: int
    mean_abs_error: float
    max_abs_error: float
    clip_rate: float
    bins_used: int
    bins_used_share: float
    minimum: float
    maximum: float
    standard_deviation: float
    reason: str
    unresolved: str
    histogram: tuple[int, ...] = dataclasses.field(repr=False)

    @property
    def degenerate(self) -> bool:
        return bool(self.reason)

    def to_json(self) -> dict[str, Any]:
        fields = dict(vars(self))
        del fields["histogram"]
        return {**fields, "degenerate": self.degenerate}


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyTokens:
    """Mean number of tokens of one key in a step; the separator counts as a key "separator" with an empty side."""

    side: str
    key: str
    mean: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """Results of one tokenization on the whole dataset.

    Attributes:
      tokenization: the settings.
      mean_abs_error, max_abs_error, clip_rate: over all continuous values; None without continuous values.
      bins_used: share of the bins that at least one value of any dimension fell into; None without continuous values.
      tokens_per_step, max_tokens_per_step: mean and maximum number of tokens of a step.
      context_share: mean tokens of a step divided by the length of the context in tokens.
      max_observation_tokens: the most tokens of an observation and its separator, which share the local positions.
      exceeds_local_positions: whether `max_observation_tokens` is more than local_positions - 1 (the last position is
        that of actions), so that training is impossible.
      tokens: mean number of tokens of each key, in the order of a step.
      dimensions: results of each element of the continuous keys.
    """

    tokenization: Tokenization
    mean_abs_error: float | None
    max_abs_error: float | None
    clip_rate: float | None
    bins_used: float | None
    tokens_per_step: float
    max_tokens_per_step: int
    context_share: float
    max_observation_tokens: int
    exceeds_local_positions: bool
    tokens: tuple[KeyTokens, ...]
    dimensions: tuple[Dimension, ...]

    mu = property(lambda self: self.tokenization.mu)
    m = property(lambda self: self.tokenization.m)
    bins = property(lambda self: self.tokenization.vocabulary.bins)
    patch = property(lambda self: self.tokenization.patch)

    def to_json(self) -> dict[str, Any]:
        named = {name: getattr(self, name) for name in ("mu", "m", "bins", "patch")}
        rest = {name: value for name, value in vars(self).items() if name not in ("tokenization", "tokens")}
        return named | rest | {"dimensions": [dimension.to_json() for dimension in self.dimensions]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SweepCell:
    """Errors of one companding formula on values of both signs whose magnitudes are in (low, high).

    Attributes:
      formula: "paper", with M = 256, or "article", the one without M (m=1).
      mu, bins: parameter mu and number of bins.
      mean_abs_error, max_abs_error: absolute errors.
      mean_relative_error, max_relative_error: absolute errors divided by the magnitude of the value.
      clip_rate: share of values that are clipped, in [0, 1].
    """

    formula: Literal["paper", "article"]
    mu: float
    bins: int
    low: float
    high: float
    mean_abs_error: float
    max_abs_error: float
    mean_relative_error: float
    max_relative_error: float
    clip_rate: float

    def to_json(self) -> dict[str, Any]:
        fields = dict(vars(self))
        return {"decade": [fields.pop("low"), fields.pop("high")], **fields}


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExactKey:
    """A key that tokens represent exactly: discrete, text, or an image once it is fitted to whole patches.

    Attributes:
      side, key: "observation" or "action", and the key.
      n: number of values that a discrete key may take; None for others.
      values: for a discrete key, the number of distinct values that each element took; () for others.
      fits: for an image, {patch side in pixels: sentence on how the image is fitted}; {} for others.
    """

    side: str
    key: str
    kind: Literal["discrete", "text", "image"]
    n: int | None = None
    values: tuple[int, ...] = ()
    fits: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def constant(self) -> tuple[int, ...]:
        """Indices of the discrete elements that took one value only."""
        return tuple(element for element, count in enumerate(self.values) if count == 1)

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"side": self.side, "key": self.key, "kind": self.kind, "exact": True}
        if self.kind == "discrete":
            fields |= {"n": self.n, "values_seen": self.values, "constant_elements": self.constant}
        return fields | ({"fits": self.fits} if self.kind == "image" else {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizationReport:
    """All results on one dataset.

    Attributes:
      dataset: name of the task.
      episodes, steps: number of episodes, and of steps at which an action was taken.
      context: length of the context in tokens.
      available: number of episodes of the whole dataset; None if it is not known.
      settings: results of each tokenization of the grid.
      article_settings: results of each mu, bins and patch of the grid with m=1, the formula of a secondary article.
      sweep: errors of both formulas, the paper's and the one with m=1, on values of all magnitudes.
      exact: keys that tokens represent exactly.
    """

    dataset: str
    episodes: int
    steps: int
    context: int
    available: int | None
    settings: tuple[Setting, ...]
    article_settings: tuple[Setting, ...]
    sweep: tuple[SweepCell, ...]
    exact: tuple[ExactKey, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the report as JSON, without histograms."""
        fields = dict(vars(self))
        for name in ("settings", "article_settings", "sweep", "exact"):
            fields[name] = [entry.to_json() for entry in fields[name]]
        return fields

    @property
    def paper(self) -> Setting | None:
        """The setting with the paper's tokenization, or None if the grid does not hold it."""
        return next((s for s in self.settings if s.tokenization == Tokenization()), None)

    @property
    def best(self) -> Setting:
        """The setting with the smallest mean absolute error, 0 for data without continuous values.

        Ties go to the fewest tokens, then to the fewest bins, then to the patch and mu nearest to the paper's.
        """
        paper = Tokenization()

        def order(s: Setting):
            from_paper = abs(s.patch - paper.patch), abs(s.mu - paper.mu)
            return s.mean_abs_error or 0.0, s.tokens_per_step, s.bins, *from_paper

        return min(self.settings, key=order)

    @property
    def shown(self) -> Setting:
        """The setting whose dimensions the page shows: `paper`, or `best` if `paper` is None.

        `best` is the setting with the smallest mean absolute error.
        """
        return self.paper or self.best

    def article_setting(self, setting: Setting) -> Setting:
        """Return the results with the same mu, bins and patch and with m=1, the formula of a secondary article."""
        wanted = (setting.mu, setting.bins, setting.patch)
        return next(s for s in self.article_settings if (s.mu, s.bins, s.patch) == wanted)
