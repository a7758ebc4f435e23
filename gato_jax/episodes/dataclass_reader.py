"""Reader of dataclasses from JSON objects and ConfigDicts, which checks every key and every value."""

from __future__ import annotations

import collections.abc
import dataclasses
import difflib
import functools
import math
import numbers
import types
import typing
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Literal, TypeVar

from gato_jax.episodes.errors import SpecError

T = TypeVar("T")
_INFINITE = ("inf", "-inf")  # strict JSON has no infinite numbers, so they are written as strings


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataclassReader:
    """Strict conversion of JSON values to the types that the fields of a dataclass declare.

    A field may be annotated with None, bool, int, float, str, Any, a Literal, a tuple, a NamedTuple, a Mapping, a
    dataclass, or a union of these. An int is accepted for a float, a list for a tuple, a NumPy scalar for a number, and
    "inf" or "-inf" for an infinite float, each converted to the declared type; a bool is no number. A union of several
    dataclasses is told apart by the key `kind`, which holds the name of the class in lower case.

    Attributes:
      error: class of the exception that is raised. Its message is one line with the path of the key, the value, what
        is expected, and the nearest known key or choice.
      ignore_unknown_keys: whether keys that no field has are skipped instead of refused.
    """

    error: type[ValueError] = SpecError
    ignore_unknown_keys: bool = False

    def read(self, kind: type[T], fields: Any, path: str) -> T:
        """Return the dataclass `kind` with the values of `fields`.

        Args:
          kind: the dataclass.
          fields: a mapping or ConfigDict of field names to values; another value is an error. Fields with a default may
            be missing.
          path: name of the object in messages, as `config.optimizer`.

        Raises:
          ValueError: of class `error`, where a key or value does not fit or the dataclass itself refuses the values.
        """
        values = self.arguments(kind, fields, path)
        try:
            return kind(**values)
        except ValueError as refusal:
            raise self.error(f"{path}: {refusal}") from None

    def arguments(self, kind: type, fields: Any, path: str) -> dict[str, Any]:
        """Return the checked and converted values that `read` would construct the dataclass with, or raise `error`.

        The dict holds only the fields that are given, without defaults. The arguments are those of `read`.
        """
        known = _fields(kind)
        if (given := _items(fields)) is None:
            raise self.error(f"{path} is {fields!r:.60}, expected an object with the keys {', '.join(known)}.")
        if not self.ignore_unknown_keys:
            self.require_known(given, known, path)
        for name, (_, required) in known.items():
            if required and name not in given:
                raise self.error(f"{path} lacks the key {name!r}. Add it.")
        return {key: self.value(known[key][0], value, f"{path}.{key}") for key, value in given.items() if key in known}

    def require_known(self, given: Iterable[str], known: Collection[str], path: str):
        """Raise one `error` that names all keys of `given` that are not in `known`; do nothing if there are none.

        The message of the object `path` proposes the known key that is spelt most like the first unknown one, or lists
        all known keys if none is near.
        """
        if unknown := [key for key in given if key not in known]:
            hint = _nearest(unknown[0], known) or f" Its keys are {', '.join(known)}."
            raise self.error(f"{path} has the unknown key {', '.join(map(repr, unknown))}.{hint}")

    def check(self, instance: Any, path: str):
        """Check all fields of a dataclass, frozen or not, and replace each of them in place by its converted value.

        It is called in `__post_init__`. A field that does not fit raises `error`, whose message calls it `path.FIELD`.
        """
        for name, annotation in _hints(type(instance)).items():
            object.__setattr__(instance, name, self.value(annotation, getattr(instance, name), f"{path}.{name}"))

    def value(self, annotation: Any, value: Any, path: str) -> Any:
        """Return a value converted to the type `annotation`, or raise `error` if it does not fit.

        The message calls the value `path`. Items of tuples and mappings and fields of dataclasses are converted too. In
        a union, the first member that accepts the value is taken.
        """
        members = _members(annotation)
        member = next((member for member in members if _accepts(member, value)), _REFUSED)
        if member is _REFUSED:
            choices = [choice for member in members for choice in _choices(member)]
            hint = _nearest(value, choices)
            raise self.error(f"{path} is {value!r:.60}, expected {_words(annotation)}.{hint}")
        origin: Any = typing.get_origin(member) or member
        arguments = typing.get_args(member)
        if _is_dataclass(origin):
            return value if isinstance(value, origin) else self._object(members, value, path)
        if origin is collections.abc.Mapping:
            items = _items(value) or {}
            return {key: self.value(arguments[1], item, f"{path}.{key}") for key, item in items.items()}
        if _is_tuple(origin):
            return self._tuple(origin, arguments, value, path)
        return origin(value) if origin in (int, float) else value

    def _object(self, members: Sequence[Any], value: Any, path: str) -> Any:
        kinds: dict[str, type] = {member.__name__.lower(): member for member in members if _is_dataclass(member)}
        if len(kinds) == 1:
            return self.read(next(iter(kinds.values())), value, path)
        fields = _items(value) or {}
        kind = self.value(Literal[tuple(kinds)], fields.pop("kind", None), f"{path}.kind")
        return self.read(kinds[kind], fields, path)

    def _tuple(self, origin: Any, arguments: tuple[Any, ...], value: Sequence[Any], path: str) -> tuple[Any, ...]:
        named = origin is not tuple
        if named:
            arguments = tuple(_hints(origin).values())
        elif arguments[1:] == (...,):
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            raise self.error(f"{path} is {value!r:.60}, expected a list of {len(arguments)} values.")
        items = [
            self.value(annotation, item, f"{path}[{position}]")
            for position, (annotation, item) in enumerate(zip(arguments, value, strict=True))
        ]
        return origin(*items) if named else tuple(items)


_REFUSED = object()


def to_json(tree: Any) -> Any:
    """Return a copy of a tree that `json.dumps` writes as strict JSON.

    Mappings become dicts, tuples become lists, and infinite floats the strings "inf" and "-inf"; other values are kept.
    """
    if isinstance(tree, Mapping):
        return {key: to_json(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_json(value) for value in tree]
    return str(tree) if isinstance(tree, float) and math.isinf(tree) else tree


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


@functools.cache
def _fields(kind: type) -> dict[str, tuple[Any, bool]]:
    """Return {field: (annotation, whether it is required)} of the fields that the constructor of a dataclass takes.

    The metadata `read_as` of a field replaces its annotation. A required field is one without a default.
    """
    hints, missing = _hints(kind), dataclasses.MISSING
    return {
        field.name: (
            field.metadata.get("read_as", hints[field.name]),
            field.default is missing and field.default_factory is missing,
        )
        for field in dataclasses.fields(kind)
        if field.init
    }


def _items(value: Any) -> dict[str, Any] | None:
    """Return a shallow copy of a mapping or ConfigDict as a dict, None for a value of another type."""
    return dict(value) if isinstance(value, Mapping) or hasattr(value, "items") else None


def _members(annotation: Any) -> tuple[Any, ...]:
    """Return the members of a union in their order, or an annotation that is no union as the only member."""
    union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return typing.get_args(annotation) if union else (annotation,)


def _choices(member: Any) -> tuple[Any, ...]:
    return typing.get_args(member) if typing.get_origin(member) is Literal else ()


def _nearest(value: Any, choices: Iterable[Any]) -> str:
    """Return a hint with the choice that is spelt most like `value`, such as ` Did you mean 'steps'?`.

    It begins with a space, and is empty if no choice is near or `value` is not a string. Choices that are not strings
    are ignored.
    """
    texts = [choice for choice in choices if isinstance(choice, str)]
    near = difflib.get_close_matches(value, texts, 1) if isinstance(value, str) else []
    return f" Did you mean {near[0]!r}?" if near else ""


def _is_dataclass(origin: Any) -> bool:  # a plain bool, so that type checkers do not narrow the annotation
    return dataclasses.is_dataclass(origin)


def _is_tuple(origin: Any) -> bool:
    return isinstance(origin, type) and issubclass(origin, tuple)


def _accepts(member: Any, value: Any) -> bool:
    """Return whether a value has the outer form of `member`, a type but no union; items and fields are not checked."""
    origin = typing.get_origin(member) or member
    if origin is Any:
        return True
    if origin is Literal:
        return any(type(value) is type(choice) and value == choice for choice in typing.get_args(member))
    if _is_dataclass(origin):
        return isinstance(value, origin) or _items(value) is not None
    if origin is collections.abc.Mapping:
        return _items(value) is not None
    if _is_tuple(origin):
        return isinstance(value, (list, tuple))
    if origin is float:
        return (isinstance(value, numbers.Real) and not isinstance(value, bool)) or (
            isinstance(value, str) and value in _INFINITE
        )
    if origin is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    return isinstance(value, origin)


def _words(annotation: Any) -> str:
    """Return a type as it is named in a message, e.g. `float or None` or `a list of int`."""
    members = _members(annotation)
    tagged = sum(map(_is_dataclass, members)) > 1
    words = ["an object with the key 'kind'" if tagged and _is_dataclass(one) else _word(one) for one in members]
    return " or ".join(dict.fromkeys(words))


def _word(member: Any) -> str:
    origin, arguments = typing.get_origin(member) or member, typing.get_args(member)
    if origin is Literal:
        return " or ".join(map(repr, arguments))
    if _is_dataclass(origin):
        return f"an object with the keys {', '.join(_fields(origin))}"
    if origin is collections.abc.Mapping:
        return "an object" if arguments[1] is Any else f"an object whose values are {_words(arguments[1])}"
    if _is_tuple(origin):
        return f"a list of {', '.join(dict.fromkeys(_words(item) for item in arguments if item is not ...))}"
    return "None" if origin is types.NoneType else getattr(origin, "__name__", str(origin))
