"""The grid of tokenization settings that a report compares."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from typing import Any

from gato_jax.reports.errors import ReportError
from gato_jax.tokenization import Tokenization, Vocabulary

PAPER = Tokenization()
ARTICLE_M = 1.0  # the formula without M: ln(M mu + 1) becomes ln(mu + 1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Grid:
    """Lists of settings, of which a report tries every combination. The defaults lie around the paper's setting.

    Attributes:
      mu, m: parameters of the companding of continuous observations (paper, appendix B).
      bins: numbers of bins.
      patch: sides of image patches in pixels.

    Raises:
      ReportError: a list is empty or holds a value twice, mu or m is not positive and finite, ln(m mu + 1) of a
        combination is 0 or infinite, a number of bins is not in [2, 65536], or a patch is below 1.
    """

    mu: tuple[float, ...] = (50.0, 100.0, 255.0)
    m: tuple[float, ...] = (256.0,)
    bins: tuple[int, ...] = (512, 1024, 2048)
    patch: tuple[int, ...] = (8, 16)

    def __post_init__(self):
        for name in ("mu", "m"):
            _check(name, getattr(self, name), lambda value: 0 < value < math.inf, "a positive number")
        for mu, m in itertools.product(self.mu, self.m):
            if not 0 < math.log1p(mu * m) < math.inf:
                raise ReportError(
                    f"mu is {mu:g} and m is {m:g}: ln(m mu + 1) is {math.log1p(mu * m):g}, expected a positive finite "
                    "number. Choose other values."
                )
        _check("bins", self.bins, lambda value: 2 <= value <= 65_536, "a whole number in [2, 65536]")
        _check("patch", self.patch, lambda value: value >= 1, "a positive whole number")

    def tokenizations(self) -> list[Tokenization]:
        """Return a tokenization for each combination, in the order mu, m, bins, patch; the patch changes fastest."""
        combinations = itertools.product(self.mu, self.m, self.bins, self.patch)
        return [tokenization(mu=mu, m=m, bins=bins, patch=patch) for mu, m, bins, patch in combinations]

    def with_article_formula(self) -> Grid:
        """Return the same grid with m=1 as the only m, which is the formula of a secondary article."""
        return dataclasses.replace(self, m=(ARTICLE_M,))


def tokenization(*, mu: float, m: float, bins: int, patch: int) -> Tokenization:
    """Return the paper's tokenization with these settings replaced."""
    return dataclasses.replace(PAPER, mu=mu, m=m, patch=patch, vocabulary=Vocabulary(bins=bins))


def _check(name: str, values: Sequence[Any], allowed: Any, wanted: str):
    if not values:
        raise ReportError(f"{name} has no values, expected at least one. Name a value.")
    for number, value in enumerate(values):
        if not allowed(value):
            raise ReportError(f"{name} is {value}, expected {wanted}. Choose another value.")
        if value in values[:number]:
            raise ReportError(f"{name} has the value {value:g} twice, expected distinct values. Name each value once.")
