"""What a tokenization report found, as the page and the JSON have it. Errors are in the values' own units."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from gato_jax.tokenization import Tokenization


@dataclasses.dataclass(frozen=True, kw_only=True)
class Dimension:
    """One element of one continuous key, under one codec.

    Attributes:
      clip_rate: the share of values outside what the bins cover.
      bins_used, bins_used_share: bins that at least one value fell into.
      degenerate, reason: whether the element hardly varies, and in which way.
      histogram: values in each of up to 64 equal stretches of bins; the page draws it.
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
    degenerate: bool
    reason: str
    histogram: tuple[int, ...] = dataclasses.field(repr=False)

    def to_json(self) -> dict[str, Any]:
        fields = dict(vars(self))
        del fields["histogram"]
        return fields


@dataclasses.dataclass(frozen=True, kw_only=True)
class KeyTokens:
    """How many tokens of a step one key has; the separator is a key without a side."""

    side: str
    key: str
    mean: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Setting:
    """One setting on the whole dataset.

    Attributes:
      mean_abs_error, max_abs_error, clip_rate: over all continuous values; None where there are none.
      bins_used: the share of bins that some value, of whatever dimension, fell into.
      tokens_per_step, max_tokens_per_step, context_share: a step's tokens, and the share of the context they take.
      max_observation_tokens, exceeds_local_positions: with the separator, which has a local position too; what goes
        beyond them cannot be laid out.
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
    """Magnitudes in [low, high), both signs, through the companding of one formula and back."""

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
    """A key that tokens hold exactly: discrete, text, or an image once it is fitted to whole patches.

    Attributes:
      values: of a discrete key with n values, how many of them each element took; one that took one is constant.
      fits: of an image, {patch: what the fit does to it}.
    """

    side: str
    key: str
    kind: Literal["discrete", "text", "image"]
    n: int | None = None
    values: tuple[int, ...] = ()
    fits: dict[int, str] = dataclasses.field(default_factory=dict)

    @property
    def constant(self) -> tuple[int, ...]:
        """The elements that never change."""
        return tuple(element for element, count in enumerate(self.values) if count == 1)

    def to_json(self) -> dict[str, Any]:
        fields: dict[str, Any] = {"side": self.side, "key": self.key, "kind": self.kind, "exact": True}
        if self.kind == "discrete":
            fields |= {"n": self.n, "values_seen": self.values, "constant_elements": self.constant}
        return fields | ({"fits": self.fits} if self.kind == "image" else {})


@dataclasses.dataclass(frozen=True, kw_only=True)
class TokenizationReport:
    """Everything about one dataset. `article_settings` are `settings` with m=1."""

    dataset: str
    episodes: int
    steps: int
    context: int
    settings: tuple[Setting, ...]
    article_settings: tuple[Setting, ...]
    sweep: tuple[SweepCell, ...]
    exact: tuple[ExactKey, ...]

    def to_json(self) -> dict[str, Any]:
        """As strict JSON has it."""
        fields = dict(vars(self))
        for name in ("settings", "article_settings", "sweep", "exact"):
            fields[name] = [entry.to_json() for entry in fields[name]]
        return fields

    @property
    def paper(self) -> Setting | None:
        """The paper's setting, where the grid holds it."""
        return next((s for s in self.settings if s.tokenization == Tokenization()), None)

    @property
    def best(self) -> Setting:
        """The least mean error; among equals the fewest tokens, then the fewest bins, then the nearest to the paper."""
        paper = Tokenization()

        def order(s: Setting):
            apart = abs(s.patch - paper.patch), abs(s.mu - paper.mu)
            return s.mean_abs_error or 0.0, s.tokens_per_step, s.bins, *apart

        return min(self.settings, key=order)

    @property
    def shown(self) -> Setting:
        """The one whose dimensions the page shows."""
        return self.paper or self.best

    def article_of(self, setting: Setting) -> Setting:
        """The same setting with m=1."""
        wanted = (setting.mu, setting.bins, setting.patch)
        return next(s for s in self.article_settings if (s.mu, s.bins, s.patch) == wanted)
