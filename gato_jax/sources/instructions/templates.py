"""Sentences with slots that the metadata of an episode fill: objects with their attributes, and how they lie."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Iterable, Mapping
from typing import Any

from gato_jax.episodes.errors import nearest
from gato_jax.sources.instructions.words import ATTRIBUTES, RELATIONS
from gato_jax.sources.reader import SourceError

_SLOT = re.compile(r"\{(?P<name>[a-z_]+)(?:=(?P<default>[^{}=]+))?\}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Thing:
    """What metadata say of one thing: its noun, None where it has none, and {attribute: word}."""

    name: str | None
    attributes: Mapping[str, str]

    def said(self, noun: str) -> str:
        """The noun behind its attributes, each once: a `red cup` that is red stays one."""
        known = noun.split()
        return " ".join([word for word in self.attributes.values() if word not in known] + [noun])


@dataclasses.dataclass(frozen=True)
class Template:
    """A sentence with slots, `push the {object} {relation} the {reference}`.

    `{target=goal}` is the goal where metadata name no target. A slot of a thing is its noun with its attributes before
    it, unless the template places attributes itself, as `the {colour} {object}` does. Several things, as `between`
    needs, are joined: the cup and the bowl. `{relation}` is one of `RELATIONS`.
    """

    text: str

    def __post_init__(self):
        if re.search(r"[{}]", _SLOT.sub("", self.text)):
            raise SourceError(f"template {self.text!r}: write a slot as {{object}} or {{object=block}}, lower case")

    @functools.cached_property
    def slots(self) -> tuple[str, ...]:
        """The names of its slots, in order."""
        return tuple(slot["name"] for slot in _SLOT.finditer(self.text))

    def fill(self, metadata: Mapping[str, Any]) -> str:
        """The sentence. Raises SourceError for a slot that nothing fills, and for values that are no words."""
        return _SLOT.sub(lambda slot: self._value(slot["name"], slot["default"], metadata), self.text)

    def _value(self, slot: str, default: str | None, metadata: Mapping[str, Any]) -> str:
        where = f"template {self.text!r}"
        found = things(metadata, slot)
        nouns = [thing.name or default for thing in found]
        if not nouns or None in nouns:
            known = ", ".join(map(repr, metadata)) or "nothing"
            raise SourceError(
                f"{where}: nothing fills {{{slot}}}; metadata hold {known}: add {slot!r} there, or give the slot a "
                f"default, {{{slot}=...}}"
            )
        if slot == "relation":
            return self._relation(str(nouns[0]), metadata)
        if slot in ATTRIBUTES or set(self.slots) & set(ATTRIBUTES):
            return " and the ".join(map(str, nouns))
        return " and the ".join(thing.said(str(noun)) for thing, noun in zip(found, nouns, strict=True))

    def _relation(self, relation: str, metadata: Mapping[str, Any]) -> str:
        if relation not in RELATIONS:
            raise SourceError(
                f"template {self.text!r}: relation {relation!r} is not known; nearest: {nearest(relation, RELATIONS)}"
            )
        if relation == "between" and len(things(metadata, "reference")) < 2:
            raise SourceError(
                f"template {self.text!r}: between needs two things; write the metadata's reference as a list of them"
            )
        return RELATIONS[relation]


def things(metadata: Mapping[str, Any], key: str) -> list[Thing]:
    """The things that metadata name under `key`; one without a noun where they name none.

    A value is words, `cup`; an object, {`name`: `cup`, `colour`: `red`}; or a list of those. Beside `object`, `colour`
    is its colour; beside any other key, as `reference`, it is `reference_colour`. American spellings are read too.

    Raises:
      SourceError: a value is no words.
    """
    spelled = {name.replace("color", "colour"): value for name, value in metadata.items()}
    value = spelled.get(key)
    values = value if isinstance(value, (list, tuple)) else [value]
    own = {} if key in ATTRIBUTES else _attributes(spelled, f"{key}_")
    if key == "object":
        own = _attributes(spelled, "") | own
    return [_thing(value, key, own) for value in values]


def from_metadata(metadata: Mapping[str, Any], templates: Iterable[Template]) -> list[str]:
    """What each template says of an episode, each sentence once. Raises SourceError for a slot that nothing fills."""
    return list(dict.fromkeys(template.fill(metadata) for template in templates))


def _thing(value: Any, key: str, attributes: dict[str, str]) -> Thing:
    if isinstance(value, Mapping):
        spelled = {name.replace("color", "colour"): part for name, part in value.items()}
        name, attributes = spelled.get("name"), attributes | _attributes(spelled, "")
    else:
        name = value
    return Thing(name=None if name is None else _words(name, key), attributes=attributes)


def _attributes(metadata: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Those that are given, in English order."""
    keys = {attribute: f"{prefix}{attribute}" for attribute in ATTRIBUTES}
    return {name: _words(metadata[key], key) for name, key in keys.items() if metadata.get(key) is not None}


def _words(value: Any, key: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise SourceError(f"metadata {key!r} is {value!r:.60}, needs words; leave it out where it is not known")
    return " ".join(value.replace("_", " ").lower().split())
