"""Errors of specifications and of writes, and the hint of the nearest name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class StoreError(ValueError):
    """A dataset, folder or file that cannot be written; the message names the path and the remedy."""


class SpecError(ValueError):
    """A specification that contradicts itself; the message names the field, the value and the remedy."""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that is spelt most like `name`, in quotes, for a message.

    If none is near, return all names, e.g. `'left', 'right'`; without names, return `none`.
    """
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return ", ".join(map(repr, near or names)) or "none"
