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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Annotated, Any, Literal, TypeVar

from gato_jax.episodes.errors import SpecError
from gato_jax.episodes.ranges import Range, rules

T = TypeVar("T")
_INFINITE = ("inf", "-inf")  # strict JSON has no infinite numbers, so they are written as strings
_INVALID = object()  # stands for a value about which a problem was found


@dataclasses.dataclass(frozen=True, kw_only=True)
class DataclassReader:
    """Strict conversion of JSON values to the types that the fields of a dataclass declare.

    A field may be annotated with None, bool, int, float, str, Any, a Literal, a tuple, a NamedTuple, a Mapping, a
    dataclass, or a union of these. An int is accepted for a float, a list for a tuple, a NumPy scalar for a number, and
    "inf" or "-inf" for an infinite float, each converted to the declared type; a bool is no number. A union of several
    dataclasses is told apart by the key `kind`, which holds the name of the class in lower case.

    `Annotated[int, Range(...)]` and `Annotated[float, Range(...)]` bound a number, and a method under `@rule` relates
    several fields (see `gato_jax.episodes.ranges`).

    All problems of an object are found before an error is raised. One problem is the whole message, several are listed
    below a line that ends with `problems:`, one a line.

    Attributes:
      error: class of the exception that is raised. Each problem is one line with the path of the key, the value, what
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
          ValueError: of class `error`, where keys or values do not fit or the dataclass itself refuses the values.
        """
        return self._raise_problems(path, lambda problems: self._object(kind, fields, path, problems))

    def arguments(self, kind: type, fields: Any, path: str) -> dict[str, Any]:
        """Return the checked and converted values that `read` would construct the dataclass with, or raise `error`.

        The dict holds only the fields that are given, without defaults. The arguments are those of `read`.
        """
        if _items(fields) is None:
            raise self.error(_no_object(kind, fields, path))
        return self._raise_problems(path, lambda problems: self._arguments(kind, fields, path, problems))

    def problems(self, kind: type, fields: Any, path: str) -> list[str]:
        """Return all problems for which `read` would raise an error with the same arguments, one line each."""
        problems: list[str] = []
        self._object(kind, fields, path, problems)
        return problems

    def raise_listed(self, problems: Sequence[str], path: str):
        """Raise one `error` about all problems of the object `path`; do nothing if there are none."""
        if problems:
            lines = [line for problem in problems for line in problem.split("\n")]
            listed = f"{path} has {len(lines)} problems:\n" + "\n".join(f"  {line}" for line in lines)
            raise self.error(listed if len(lines) > 1 else lines[0])

    def unknown_keys(self, given: Iterable[str], known: Collection[str], path: str) -> list[str]:
        """Return a line for each key of `given` that is not in `known`, none if unknown keys are ignored.

        The line of the object `path` proposes the known key that is spelt most like the unknown one, or lists all known
        keys if none is near.
        """
        unknown = [] if self.ignore_unknown_keys else [key for key in given if key not in known]
        keys = f" Its keys are {', '.join(known)}."
        return [f"{path} has the unknown key {key!r}.{_nearest(key, known) or keys}" for key in unknown]

    def check(self, instance: Any, path: str):
        """Check all fields and rules of a dataclass, frozen or not, and replace each field by its converted value.

        It is called in `__post_init__`. A field that does not fit raises `error`, whose message calls it `path.FIELD`.
        """
        problems: list[str] = []
        values = {
            name: self._value(annotation, getattr(instance, name), f"{path}.{name}", problems)
            for name, annotation in _hints(type(instance)).items()
        }
        problems += _broken_rules(type(instance), _ValidFields(type(instance), values), path)
        self.raise_listed(problems, path)
        for name, value in values.items():
            object.__setattr__(instance, name, value)

    def value(self, annotation: Any, value: Any, path: str) -> Any:
        """Return a value converted to the type `annotation`, or raise `error` if it does not fit.

        The message calls the value `path`. Items of tuples and mappings and fields of dataclasses are converted too. In
        a union, the first member that accepts the value is taken.
        """
        return self._raise_problems(path, lambda problems: self._value(annotation, value, path, problems))

    def _raise_problems(self, path: str, read: Callable[[list[str]], Any]) -> Any:
        problems: list[str] = []
        value = read(problems)
        self.raise_listed(problems, path)
        return value

    def _object(self, kind: type, fields: Any, path: str, problems: list[str]) -> Any:
        """Return the dataclass; if problems are found, add them to the list and return the valid fields alone."""
        if _items(fields) is None:
            problems.append(_no_object(kind, fields, path))
            return _INVALID
        found: list[str] = []
        values = self._arguments(kind, fields, path, found)
        valid = _ValidFields(kind, {**_defaults(kind), **values})
        found += _broken_rules(kind, valid, path)
        problems += found
        if found:
            return valid
        try:
            return kind(**values)
        except ValueError as refusal:
            problems.append(f"{path}: {refusal}")
            return valid

    def _arguments(self, kind: type, fields: Any, path: str, problems: list[str]) -> dict[str, Any]:
        """Return the values of the given fields, `_INVALID` for those that do not fit or are required and missing."""
        known, given = _fields(kind), _items(fields) or {}
        problems += self.unknown_keys(given, known, path)
        missing = [name for name, (_, required) in known.items() if required and name not in given]
        problems += [f"{path} lacks the key {name!r}. Add it." for name in missing]
        values = {
            key: self._value(known[key][0], value, f"{path}.{key}", problems)
            for key, value in given.items()
            if key in known
        }
        return {**values, **dict.fromkeys(missing, _INVALID)}

    def _value(self, annotation: Any, value: Any, path: str, problems: list[str]) -> Any:
        members = _members(annotation)
        member = next((member for member in members if _accepts(member, value)), _INVALID)
        if member is _INVALID:
            choices = [choice for member in members for choice in _choices(member)]
            hint = _nearest(value, choices)
            problems.append(f"{path} is {value!r:.60}, expected {_words(annotation)}.{hint}")
            return _INVALID
        declared = _without_range(member)
        origin: Any = typing.get_origin(declared) or declared
        arguments = typing.get_args(declared)
        if _is_dataclass(origin):
            return value if isinstance(value, origin) else self._tagged_object(members, value, path, problems)
        if origin is collections.abc.Mapping:
            items = _items(value) or {}
            return _valid(
                {key: self._value(arguments[1], item, f"{path}.{key}", problems) for key, item in items.items()}
            )
        if _is_tuple(origin):
            return self._tuple(origin, arguments, value, path, problems)
        if origin in (int, float):
            return _number(annotation, member, origin(value), path, problems)
        return value

    def _tagged_object(self, members: Sequence[Any], value: Any, path: str, problems: list[str]) -> Any:
        kinds: dict[str, type] = {member.__name__.lower(): member for member in members if _is_dataclass(member)}
        if len(kinds) == 1:
            return self._object(next(iter(kinds.values())), value, path, problems)
        fields = _items(value) or {}
        kind = self._value(Literal[tuple(kinds)], fields.pop("kind", None), f"{path}.kind", problems)
        return _INVALID if kind is _INVALID else self._object(kinds[kind], fields, path, problems)

    def _tuple(
        self, origin: Any, arguments: tuple[Any, ...], value: Sequence[Any], path: str, problems: list[str]
    ) -> Any:
        named = origin is not tuple
        if named:
            arguments = tuple(_hints(origin).values())
        elif arguments[1:] == (...,):
            arguments = (arguments[0],) * len(value)
        if len(value) != len(arguments):
            problems.append(f"{path} is {value!r:.60}, expected a list of {len(arguments)} values.")
            return _INVALID
        items = [
            self._value(annotation, item, f"{path}[{position}]", problems)
            for position, (annotation, item) in enumerate(zip(arguments, value, strict=True))
        ]
        if any(item is _INVALID for item in items):
            return _INVALID
        return origin(*items) if named else tuple(items)


class _ValidFields:
    """View of a dataclass of which some fields are not valid; reading one of these raises `_InvalidFieldError`."""

    def __init__(self, kind: type, values: Mapping[str, Any]):
        self._kind, self._values = kind, values

    def __getattr__(self, name: str) -> Any:
        if name in self._values:
            if (value := self._values[name]) is _INVALID:
                raise _InvalidFieldError(name)
            return value
        attribute = getattr(self._kind, name)
        return attribute.__get__(self) if hasattr(attribute, "__get__") else attribute


class _InvalidFieldError(Exception):
    """A rule has read a field that is not valid by itself."""


def to_json(tree: Any) -> Any:
    """Return a copy of a tree that `json.dumps` writes as strict JSON.

    Mappings become dicts, tuples become lists, and infinite floats the strings "inf" and "-inf"; other values are kept.
    """
    if isinstance(tree, Mapping):
        return {key: to_json(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return [to_json(value) for value in tree]
    return str(tree) if isinstance(tree, float) and math.isinf(tree) else tree


def _broken_rules(kind: type, instance: _ValidFields, path: str) -> list[str]:
    """Return the messages of the rules of a dataclass that its values break; rules on invalid fields are skipped."""
    broken = []
    for check in rules(kind):
        try:
            message = check(instance)
        except _InvalidFieldError:
            continue
        if message is not None:
            broken.append(f"{path}: {message}")
    return broken


def _no_object(kind: type, fields: Any, path: str) -> str:
    return f"{path} is {fields!r:.60}, expected an object with the keys {', '.join(_fields(kind))}."


def _number(annotation: Any, member: Any, number: int | float, path: str, problems: list[str]) -> Any:
    """Return a number, or `_INVALID` if it is outside of the range of `member`, the part of the annotation for it."""
    allowed = _range(member)
    if allowed is None or number in allowed:
        return number
    remedy = f" {allowed.remedy}" if allowed.remedy else ""
    problems.append(f"{path} is {number!r:.60}, expected {_words(annotation)}.{remedy}")
    return _INVALID


def _valid(items: dict[str, Any]) -> Any:
    """Return the items, or `_INVALID` if one of them is."""
    return _INVALID if any(item is _INVALID for item in items.values()) else items


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind, include_extras=True)


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


def _defaults(kind: type) -> dict[str, Any]:
    """Return {field: default} of the fields of a dataclass that have one."""
    fields, missing = dataclasses.fields(kind), dataclasses.MISSING
    made = {field.name: field.default_factory() for field in fields if field.default_factory is not missing}
    return {field.name: field.default for field in fields if field.default is not missing} | made


def _items(value: Any) -> dict[str, Any] | None:
    """Return a shallow copy of a mapping or ConfigDict as a dict, None for a value of another type."""
    return dict(value) if isinstance(value, Mapping) or hasattr(value, "items") else None


def _range(member: Any) -> Range | None:
    """Return the range that an annotation `Annotated[..., Range(...)]` declares, None if it declares none."""
    return next((extra for extra in getattr(member, "__metadata__", ()) if isinstance(extra, Range)), None)


def _without_range(member: Any) -> Any:
    return typing.get_args(member)[0] if typing.get_origin(member) is Annotated else member


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
    member = _without_range(member)
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
    if (allowed := _range(member)) is not None:
        return allowed.describe(_without_range(member))
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
