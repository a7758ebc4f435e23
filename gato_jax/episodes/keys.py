"""Keys: what a recording nests as {a: {b: x}} has the one flat key `a/b` in a spec and in an episode."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax.episodes.errors import SpecError


def flatten(tree: Any, where: str, error: type[ValueError]) -> dict[str, Any]:
    """{a: {b: x}} as {`a/b`: x}, in the same order; what is flat already stays as it is.

    Args:
      tree: a mapping of mappings; whatever is no mapping is a value.
      where: what the tree is, to begin a message with.
      error: raised for a tree or key of another type, an empty key or branch, and two keys that become the same.
    """
    if not isinstance(tree, Mapping):
        raise error(f"{where} is {tree!r:.60}, needs a mapping of keys to values")
    flat: dict[str, Any] = {}
    for key, value in _leaves(tree, "", where, error):
        if key in flat:
            raise error(f"{where}: two keys flatten to {key!r}; rename one")
        flat[key] = value
    return flat


def _leaves(tree: Mapping, prefix: str, where: str, error: type[ValueError]) -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if not isinstance(key, str) or not key:
            at = f"{where} {prefix.rstrip('/')!r}" if prefix else where
            raise error(f"{at} has the key {key!r}; keys are non-empty strings")
        if isinstance(value, Mapping):
            if not value:
                raise error(f"{where} {prefix + key!r} is an empty mapping; leave it out")
            yield from _leaves(value, f"{prefix}{key}/", where, error)
        else:
            yield prefix + key, value


def nest(flat: Mapping[str, Any]) -> dict[str, Any]:
    """{`a/b`: x} as {a: {b: x}}. Raises SpecError where one key is a folder of another, which no tree can hold."""
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
    """The value at `a/b` in {a: {b: value}}."""
    for name in key.split("/"):
        tree = tree[name]
    return tree
