"""Differences between two descriptions in JSON, such as of two runs, in words."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

_SHOWN = 12  # differences that a message lists


class _Missing:
    """Placeholder, shown as `missing`, for a leaf that only the other of two trees has; None counts as a value."""

    def __repr__(self) -> str:
        return "missing"


_MISSING = _Missing()


def require_same(
    wanted: Mapping[str, Any],
    held: Mapping[str, Any],
    *,
    problem: str,
    holder: str,
    remedy: str = "",
    error: type[ValueError],
    order: Callable[[str], Any] = str,
):
    """Raise an error that lists the differences, unless two descriptions in JSON are the same.

    A difference is a line such as `  optimizer.rate: 0.1 here, 0.2 in HOLDER`, with the keys of nested mappings joined
    by dots. A list is one value, and equals a tuple of the same items.

    Args:
      wanted: the description of what is asked for. An empty mapping below the top counts as a value.
      held: the description of what is there.
      problem: first line of the message, without a colon.
      holder: name of what `held` describes.
      remedy: last line of the message; empty for none.
      error: class of the error.
      order: sort key of the paths of the differences. The first twelve are listed, the others counted.
    """
    found = sorted(_pairs(wanted, held).items(), key=lambda item: order(item[0]))
    if lines := [f"  {path}: {a!r:.80} here, {b!r:.80} in {holder}" for path, (a, b) in found]:
        more = [f"  and {len(lines) - _SHOWN} more"] if len(lines) > _SHOWN else []
        raise error("\n".join([f"{problem}:", *lines[:_SHOWN], *more, *([remedy] if remedy else [])]))


def differences(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    """Return {path: (value in `wanted`, value in `held`)} where two descriptions in JSON differ, sorted by path.

    Keys of nested mappings are joined by dots. A leaf that only one of the two has is the text `missing` in the other.
    """
    return {
        path: ("missing" if a is _MISSING else a, "missing" if b is _MISSING else b)
        for path, (a, b) in sorted(_pairs(wanted, held).items())
    }


def _pairs(wanted: Mapping[str, Any], held: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    here, there = (dict(_leaves(json.loads(json.dumps(one)))) for one in (wanted, held))  # lists for tuples
    pairs = {path: (here.get(path, _MISSING), there.get(path, _MISSING)) for path in here | there}
    return {path: (a, b) for path, (a, b) in pairs.items() if a != b}


def _leaves(tree: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(tree, Mapping) and tree:
        for key, value in tree.items():
            yield from _leaves(value, f"{path}.{key}" if path else str(key))
    elif path:
        yield path, tree
