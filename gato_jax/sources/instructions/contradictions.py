"""Where an instruction names another thing, colour, direction or gripper state than the metadata of its episode."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from gato_jax.sources.instructions.templates import Thing, things
from gato_jax.sources.instructions.words import (
    ATTRIBUTE_WORDS,
    DETERMINERS,
    OPPOSITES,
    PREPOSITIONS,
    VERB_FORMS,
    words_of,
)
from gato_jax.sources.reader import SourceError

# What metadata name things by, and ways by.
THINGS = ("object", "target", "reference", "tool", "obstacle")
WAYS = ("direction", "side", "relation")
_HANDS = ("gripper", "hand", "fingers")
_OPEN, _CLOSED = frozenset(("open", "opens", "opened")), frozenset(("close", "closes", "closed", "shut"))
_WITH_PARTICLE = frozenset("pick put set lay swing stand lift place take turn".split())


def nouns_of(metadata: Mapping[str, Any]) -> frozenset[str]:
    """The nouns of the things that metadata name. Raises SourceError for a value that is no words."""
    return frozenset(noun for key in THINGS for thing in things(metadata, key) if (noun := _noun(thing)))


def contradictions(instruction: str, metadata: Mapping[str, Any], nouns: Set[str]) -> list[str]:
    """What an instruction says otherwise than the metadata of its episode, a sentence each.

    What it leaves open is no contradiction: `pick it up` names no object. An object is another where the instruction
    names one that episodes of the dataset are about, and not this episode's; an attribute is, where it stands before
    the thing's noun; a direction or side, where its opposite is named and itself is not.

    Args:
      instruction: of the episode.
      metadata: of the episode; see `Template` for things and attributes.
      nouns: of the things of all episodes, as `nouns_of` gives them.

    Raises:
      SourceError: a value of the metadata is no words.
    """
    words = words_of(instruction)
    return [
        *_other_things(words, metadata, nouns),
        *_other_attributes(words, metadata),
        *_other_ways(words, metadata),
        *_other_gripper(words, metadata),
    ]


def _noun(thing: Thing) -> str:
    """Without attributes and in one spelling; empty where there is none."""
    attributes = frozenset().union(*ATTRIBUTE_WORDS.values())
    return " ".join(word for word in words_of(thing.name or "") if word not in attributes)


def _place(words: list[str], noun: str) -> int | None:
    """At which word the noun stands, also in the plural."""
    if not noun:
        return None
    found = re.search(rf"(?:^| ){re.escape(noun)}(?:e?s)?(?= |$)", " ".join(words))
    return None if found is None else len(" ".join(words)[: found.start()].split())


def _other_things(words: list[str], metadata: Mapping[str, Any], nouns: Set[str]) -> Iterator[str]:
    own = nouns_of(metadata)
    # `Cup` is not named by `cup holder`: what is left of the words when the longer names are taken out counts.
    others = sorted(noun for noun in nouns - own if _place(words, noun) is not None and not _within(noun, own, words))
    for key in THINGS:
        missing = [noun for thing in things(metadata, key) if (noun := _noun(thing)) and _place(words, noun) is None]
        if missing and others:
            yield f"it names {' and '.join(others)}, the metadata's {key} is {' and '.join(missing)}"


def _within(noun: str, own: Set[str], words: list[str]) -> bool:
    return any(noun in longer.split() and _place(words, longer) is not None for longer in own)


def _other_attributes(words: list[str], metadata: Mapping[str, Any]) -> Iterator[str]:
    known = [(key, thing) for key in THINGS for thing in things(metadata, key)]
    everything = {word for _, thing in known for value in thing.attributes.values() for word in words_of(value)}
    for key, thing in known:
        place = _place(words, noun := _noun(thing))
        for attribute, value in thing.attributes.items():
            possible, right = ATTRIBUTE_WORDS[attribute], set(words_of(value))
            if place is not None:
                named = [word for word in _before(words, place) if word in possible]
            else:  # the only one in the sentence is that of the object
                named = [word for word in words if word in possible] if key == "object" else []
                named = named if len(named) == 1 and named[0] not in everything else []
            if named and not right & set(named):
                what = f"the {noun}" if place is not None else "it"
                yield f"it calls {what} {' '.join(named)}, the metadata's {attribute} of the {key} is {value}"


def _before(words: list[str], place: int) -> list[str]:
    """The words that belong to the noun at `place`: back to an article, preposition or verb."""
    start = place
    while start and words[start - 1] not in DETERMINERS | PREPOSITIONS | {"and"} and words[start - 1] not in VERB_FORMS:
        start -= 1
    return words[start:place]


def _other_ways(words: list[str], metadata: Mapping[str, Any]) -> Iterator[str]:
    # After a verb that takes a particle, as in `pick it up`, up and down are no directions.
    directed = next((number for number, word in enumerate(words) if word in _WITH_PARTICLE), len(words))
    said = {word for number, word in enumerate(words) if word not in ("up", "down") or number < directed}
    for key in WAYS:
        if (value := metadata.get(key)) is None:
            continue
        if not isinstance(value, str):
            raise SourceError(f"metadata {key!r} is {value!r:.60}, needs words; leave it out where it is not known")
        for right in words_of(value.replace("_", " ")):
            opposites = {other for pair in OPPOSITES if right in pair for other in pair} - {right}
            if (wrong := sorted(opposites & said)) and right not in said:
                yield f"it says {wrong[0]}, the metadata's {key} is {value}"


def _other_gripper(words: list[str], metadata: Mapping[str, Any]) -> Iterator[str]:
    if (value := metadata.get("gripper")) is None or not set(words) & set(_HANDS):
        return
    state = words_of(value) if isinstance(value, str) else []
    if len(state) != 1 or state[0] not in _OPEN | _CLOSED:
        raise SourceError(f"metadata 'gripper' is {value!r:.60}, needs open or closed")
    right, wrong = (_OPEN, _CLOSED) if state[0] in _OPEN else (_CLOSED, _OPEN)
    if set(words) & wrong and not set(words) & right:
        yield f"it says {min(set(words) & wrong)}, the metadata's gripper is {value}"
