"""Ranges of numbers and rules between fields, which dataclasses declare and `DataclassReader` checks."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Annotated, Any, TypeVar

Method = TypeVar("Method", bound=Callable[[Any], str | None])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Range:
    """The finite numbers that a field may hold, as metadata of its type: `Annotated[float, Range(above=0)]`.

    Attributes:
      at_least, above: Lower bound, which is allowed or not; None for no such bound.
      at_most, below: Upper bound, which is allowed or not; None for no such bound.
      multiple_of: Number that the field must be a multiple of; None for any number.
      remedy: Sentence that ends the message, such as `None sets no bound.`
    """

    at_least: int | float | None = None
    above: int | float | None = None
    at_most: int | float | None = None
    below: int | float | None = None
    multiple_of: int | None = None
    remedy: str = ""

    def __contains__(self, number: int | float) -> bool:
        return (
            math.isfinite(number)
            and (self.at_least is None or number >= self.at_least)
            and (self.above is None or number > self.above)
            and (self.at_most is None or number <= self.at_most)
            and (self.below is None or number < self.below)
            and (self.multiple_of is None or number % self.multiple_of == 0)
        )

    def describe(self, kind: type) -> str:
        """Return the range in words, such as `a positive whole number` or `a number in [0, 1)`; `kind` is int or float.

        The remedy is not part of it.
        """
        whole = "whole number" if kind is int else "number"
        if self.multiple_of is not None:
            whole = f"multiple of {self.multiple_of}"
        lower, upper = self.at_least is not None or self.above is not None, self._upper()
        if lower and upper:
            lowest = f"({self.above}" if self.at_least is None else f"[{self.at_least}"
            return f"a {whole} in {lowest}, {upper}"
        if self.above == 0:
            return f"a positive {whole}"
        if lower:
            return f"a {whole} above {self.above}" if self.at_least is None else f"a {whole}, {self.at_least} or more"
        if upper:
            return f"a {whole} below {self.below}" if self.at_most is None else f"a {whole}, {self.at_most} or less"
        return f"a finite {whole}"

    def _upper(self) -> str:
        if self.at_most is not None:
            return f"{self.at_most}]"
        return "" if self.below is None else f"{self.below})"


PositiveInt = Annotated[int, Range(above=0)]
NonNegativeInt = Annotated[int, Range(at_least=0)]
PositiveFloat = Annotated[float, Range(above=0)]
NonNegativeFloat = Annotated[float, Range(at_least=0)]
UnitInterval = Annotated[float, Range(at_least=0, at_most=1)]  # shares and fractions
BelowOne = Annotated[float, Range(at_least=0, below=1)]  # decays, and probabilities of dropping something
Seed = Annotated[int, Range(at_least=0, below=2**32)]  # of jax.random.key without 64-bit numbers


def rule(method: Method) -> Method:
    """Mark a method without arguments as a rule between the fields of its dataclass.

    It returns the message about a contradiction, or None. `DataclassReader` calls it if all fields that it reads are
    valid by themselves.
    """
    method.__dict__["is_rule"] = True
    return method


def rules(kind: type) -> list[Callable[[Any], str | None]]:
    """Return the rules of a dataclass in the order of their definition, those of base classes first."""
    methods = {name: value for base in reversed(kind.__mro__) for name, value in vars(base).items()}
    return [method for method in methods.values() if getattr(method, "is_rule", False)]
