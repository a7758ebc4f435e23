"""Flat keys of nested trees: {a: {b: x}} in a recording is the key `a/b` in a spec and in an episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax.episodes.errors import SpecError


def flatten(tree: Any, label: str, error: type[ValueError]) -> dict[str, Any]:
    """Return a nested mapping as a flat one, {a: {b: x}} as {`a/b`: x}, in the same order.

    Args:
      tree: a mapping whose values may be mappings again. Values of other types are leaves.
      label: name of the tree in messages.
      error: class of the exception for a tree or key of another type, an empty key or branch, and two keys that become
        the same.
    """
    if not isinstance(tree, Mapping):
        raise error(f"{label} is {tree!r:.60}, expected a mapping of keys to values")
    flat: dict[str, Any] = {}
    for key, value in _leaves(tree, "", label, error):
        if key in flat:
            raise error(f"{label}: two keys flatten to {key!r}; rename one")
        flat[key] = value
    return flat


def _leaves(tree: Mapping, prefix: str, label: str, error: type[ValueError]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if not isinstance(key, str) or not key:
            at = f"{label} {prefix.rstrip('/')!r}" if prefix else label
            raise error(f"{at} has the key {key!r}; keys are non-empty strings")
        if isinstance(value, Mapping):
            if not value:
                raise error(f"{label} {prefix + key!r} is an empty mapping; leave it out")
            yield from _leaves(value, f"{prefix}{key}/", label, error)
        else:
            yield prefix + key, value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return a flat mapping as a new nested one, {`a/b`: x} as {a: {b: x}}; the inverse of `flatten`.

    Raises:
      SpecError: one key is a prefix of another, as `a` is of `a/b`.
    """
    tree: dict[str, Any] = {}
    for key, value in flat.items():
        *folders, leaf = key.split("/")
        branch = tree
        for folder in folders:
            branch = branch.setdefault(folder, {})
            if not isinstance(branch, dict):
                raise SpecError(f"key {key!r} lies below another key that holds a value; rename one")
        if leaf in branch:
            raise SpecError(f"key {key!r} holds a value, and other keys lie below it; rename it")
        branch[leaf] = value
    return tree


def look_up(tree: Any, key: str) -> Any:
    """Return the value at the flat key `a/b` of the nested tree {a: {b: value}}; raise KeyError if there is none."""
    for name in key.split("/"):
        tree = tree[name]
    return tree
