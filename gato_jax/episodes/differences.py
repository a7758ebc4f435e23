"""What differs between two trees of JSON, in words."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

_SHOWN = 12


class _Missing:
    """What is there in one of two trees only: None is a value."""

    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


def differences(
    mine: Mapping[str, Any], theirs: Mapping[str, Any], where: str, order: Callable[[str], Any] = str
) -> list[str]:
    """A line for each leaf that differs, `path: value here, value in WHERE`, and how many more where there are many.

    Args:
      mine: a tree; an empty section is a leaf, too.
      theirs: another.
      where: what holds `theirs`.
      order: of the paths, a key to sort by.
    """
    here, there = dict(_leaves(mine)), dict(_leaves(theirs))
    pairs = {path: (here.get(path, _MISSING), there.get(path, _MISSING)) for path in sorted({*here, *there}, key=order)}
    lines = [f"  {path}: {one!r} here, {other!r} in {where}" for path, (one, other) in pairs.items() if one != other]
    return lines[:_SHOWN] + ([f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else [])


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    else:
        yield path, tree
