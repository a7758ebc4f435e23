"""The error of a specification, and the hint that it gives."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StoreError(ValueError):
    """A dataset, folder or file that cannot be written; the message names the path and the remedy."""


class SpecError(ValueError):
    """A specification that contradicts itself; the message names the field, the value and the remedy."""


def nearest(name: str, names: Iterable[str]) -> str:
    """The name that `name` may have meant, quoted; all of them where none is near; `none` where there are none."""
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return ", ".join(map(repr, near or names)) or "none"
