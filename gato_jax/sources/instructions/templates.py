"""Sentences with slots that the metadata of an episode fill: things with attributes, and relations between things."""

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
    """A thing that metadata describe.

    Attributes:
      name: Its noun, or None if the metadata only give attributes.
      attributes: {attribute: word}, for example {`colour`: `red`}, in the order of `ATTRIBUTES`.
    """

    name: str | None
    attributes: Mapping[str, str]

    def describe(self, noun: str) -> str:
        """Return `noun` with the attributes in front of it, except those that it already contains: `small red cup`.

        `name` is not used.
        """
        existing = noun.split()
        return " ".join([word for word in self.attributes.values() if word not in existing] + [noun])


@dataclasses.dataclass(frozen=True)
class Template:
    """A sentence with slots, for example `push the {object} {relation} the {reference=bowl}`.

    A slot has the name of a key of the metadata in lower case, and may have a default: `{reference=bowl}`. The slot of
    a thing is filled with its noun, attributes in front, unless the template has slots for attributes:
    `the {colour} {object}`. A list of two things becomes `cup and the bowl`. The slot `{relation}` takes the keys of
    `RELATIONS`.

    Attributes:
      text: The sentence.

    Raises:
      SourceError: A slot is written in another form.
    """

    text: str

    def __post_init__(self):
        if re.search(r"[{}]", _SLOT.sub("", self.text)):
            raise SourceError(
                f"cannot read template {self.text!r}: it has a malformed slot. Write a slot as {{object}} or "
                "{object=block}, in lower case."
            )

    @functools.cached_property
    def slots(self) -> tuple[str, ...]:
        """Names of the slots, in order, as often as they occur."""
        return tuple(slot["name"] for slot in _SLOT.finditer(self.text))

    def fill(self, metadata: Mapping[str, Any]) -> str:
        """Return the sentence with all slots filled from metadata or defaults.

        Raises:
          SourceError: A slot has neither a value nor a default, a value is not text, the relation is unknown, or it is
            `between` and there are fewer than two references.
        """
        return _SLOT.sub(lambda slot: self._fill_slot(slot["name"], slot["default"], metadata), self.text)

    def _fill_slot(self, slot: str, default: str | None, metadata: Mapping[str, Any]) -> str:
        """Return the text of one slot, or raise SourceError if it cannot be filled.

        Args:
          slot: Name of the slot.
          default: Its default, or None.
          metadata: Metadata of an episode.
        """
        found = things(metadata, slot)
        nouns = [thing.name or default for thing in found]
        if not nouns or None in nouns:
            keys = ", ".join(map(repr, metadata)) or "nothing"
            raise SourceError(
                f"cannot fill template {self.text!r}: {{{slot}}} has no value, the metadata hold {keys}. Add {slot!r} "
                f"to the metadata, or give the slot a default, {{{slot}=...}}."
            )
        if slot == "relation":
            return self._relation(str(nouns[0]), metadata)
        if slot in ATTRIBUTES or set(self.slots) & set(ATTRIBUTES):
            return " and the ".join(map(str, nouns))
        return " and the ".join(thing.describe(str(noun)) for thing, noun in zip(found, nouns, strict=True))

    def _relation(self, relation: str, metadata: Mapping[str, Any]) -> str:
        """Return the preposition of a relation: `left of` becomes `to the left of`.

        Raises:
          SourceError: The relation is not in `RELATIONS`, or is `between` and there are fewer than two references.
        """
        if relation not in RELATIONS:
            raise SourceError(
                f"cannot fill template {self.text!r}: relation is {relation!r}, which is unknown; nearest known: "
                f"{nearest(relation, RELATIONS)}"
            )
        if relation == "between" and len(things(metadata, "reference")) < 2:
            raise SourceError(
                f"cannot fill template {self.text!r}: the relation between has one reference, expected two. Write the "
                "metadata's reference as a list."
            )
        return RELATIONS[relation]


def things(metadata: Mapping[str, Any], key: str) -> list[Thing]:
    """Return the things that metadata describe under a key.

    The value of a key is text, `cup`; a mapping, {`name`: `cup`, `colour`: `red`}; or a list of these. Attributes may
    also be keys of the metadata: `colour` and `object_colour` belong to the thing under `object`, `reference_colour` to
    the one under `reference`. American spellings are accepted.

    Args:
      metadata: Metadata of an episode.
      key: `object`, `target`, `reference` and so on; or an attribute, whose value is returned as the name of a thing.

    Returns:
      One thing for each value, with its name in lower case and spaces for underscores; a single thing without a name if
      the key does not exist.

    Raises:
      SourceError: A value is not text, or is blank.
    """
    spelled = {name.replace("color", "colour"): value for name, value in metadata.items()}
    value = spelled.get(key)
    values = value if isinstance(value, (list, tuple)) else [value]
    attributes = {} if key in ATTRIBUTES else _attributes(spelled, f"{key}_")
    if key == "object":
        attributes = _attributes(spelled, "") | attributes
    return [_thing(value, key, attributes) for value in values]


def fill_templates(metadata: Mapping[str, Any], templates: Iterable[Template]) -> list[str]:
    """Fill all templates with the metadata of an episode and return the different sentences, in order.

    Raises:
      SourceError: A template cannot be filled; see `Template.fill`.
    """
    return list(dict.fromkeys(template.fill(metadata) for template in templates))


def _thing(value: Any, key: str, attributes: dict[str, str]) -> Thing:
    """Build a thing from its value under `key` and from the attributes that other keys of the metadata give.

    The value is text, a mapping with `name` and attributes, which take precedence, or None for a thing without a name.
    """
    if isinstance(value, Mapping):
        spelled = {name.replace("color", "colour"): part for name, part in value.items()}
        name, attributes = spelled.get("name"), attributes | _attributes(spelled, "")
    else:
        name = value
    return Thing(name=None if name is None else _normalise(name, key), attributes=attributes)


def _attributes(metadata: Mapping[str, Any], prefix: str) -> dict[str, str]:
    """Return {attribute: word} of the keys `prefix + attribute` that exist, in the order of `ATTRIBUTES`.

    Words are in lower case. Keys have British spelling, such as `colour`.
    """
    keys = {attribute: f"{prefix}{attribute}" for attribute in ATTRIBUTES}
    return {name: _normalise(metadata[key], key) for name, key in keys.items() if metadata.get(key) is not None}


def _normalise(value: Any, key: str) -> str:
    """Return a value of metadata in lower case, with single spaces instead of underscores.

    Raises:
      SourceError: The value is not text, or is blank. `key` names it in the message.
    """
    if not isinstance(value, str) or not value.strip():
        raise SourceError(
            f"cannot read metadata: {key!r} is {value!r:.60}, expected text. Leave the key out if it is not known."
        )
    return " ".join(value.replace("_", " ").lower().split())
