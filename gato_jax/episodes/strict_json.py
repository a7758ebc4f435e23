"""How the dataclasses of a task become strict JSON, without NaN and Infinity, and come back."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from gato_jax.episodes.errors import SpecError, nearest

Made = TypeVar("Made")


def plain(tree: Any) -> Any:
    """The tree with lists for tuples, and infinite numbers as "inf" and "-inf"."""
    if isinstance(tree, Mapping):
        return {key: plain(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [plain(value) for value in tree]
    return str(tree) if isinstance(tree, float) and math.isinf(tree) else tree


def read_numbers(value: Any, where: str) -> tuple[float, ...] | float:
    """A number, or several, of which infinite ones are written "inf" or "-inf"."""
    try:
        return tuple(map(float, value)) if isinstance(value, tuple) else float(value)
    except (TypeError, ValueError):
        raise SpecError(f'{where} is {value!r}, needs numbers, "inf" or "-inf"') from None


def read_fields(kind: type, fields: Any, where: str, **readers: Callable[[Any, str], Any]) -> dict[str, Any]:
    """The arguments of the dataclass `kind` from its JSON object, with tuples for lists.

    Args:
      kind: the dataclass.
      fields: the object; a field that is not there has its default.
      where: what it is, to begin a message with.
      readers: for fields that are no plain JSON, (value, where) -> field; not called for null.

    Raises:
      SpecError: `fields` is no object, has a field that is unknown, or lacks one that has no default.
    """
    none = dataclasses.MISSING
    needed = {field.name: field.default is field.default_factory is none for field in dataclasses.fields(kind)}
    if not isinstance(fields, Mapping):
        raise SpecError(f"{where} is {fields!r:.60}, needs an object with {', '.join(needed)}")
    if unknown := [str(name) for name in fields if name not in needed]:
        near = nearest(unknown[0], needed)
        raise SpecError(f"{where} has the unknown field {', '.join(map(repr, unknown))}; nearest known: {near}")
    if missing := [name for name in needed if needed[name] and name not in fields]:
        raise SpecError(f"{where} lacks the field {', '.join(map(repr, missing))}; add it")
    values = {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}
    for name, read in readers.items():
        if values.get(name) is not None:
            values[name] = read(values[name], f"{where}.{name}")
    return values


def construct(kind: type[Made], fields: Any, where: str, **readers: Callable[[Any, str], Any]) -> Made:
    """The dataclass `kind` from its JSON object, as `read_fields` reads it; what it refuses is said with its place."""
    values = read_fields(kind, fields, where, **readers)
    try:
        return kind(**values)
    except SpecError as error:
        raise SpecError(f"{where}: {error}") from None


def many(read: Callable[[Any, str], Made]) -> Callable[[Any, str], tuple[Made, ...]]:
    """The reader of a list of what `read` reads one of."""

    def read_all(values: Any, where: str) -> tuple[Made, ...]:
        if not isinstance(values, (list, tuple)):
            raise SpecError(f"{where} is {values!r:.60}, needs a list")
        return tuple(read(value, f"{where}[{number}]") for number, value in enumerate(values))

    return read_all
