"""Contradictions between the instruction of an episode and its metadata: things, attributes, directions, gripper."""

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
    split_words,
)
from gato_jax.sources.reader import SourceError

THING_KEYS = ("object", "target", "reference", "tool", "obstacle")  # keys of metadata that name things
DIRECTION_KEYS = ("direction", "side", "relation")  # keys of metadata that name directions and sides
_GRIPPER_WORDS = ("gripper", "hand", "fingers")
_OPEN, _CLOSED = frozenset(("open", "opens", "opened")), frozenset(("close", "closes", "closed", "shut"))
_PARTICLE_VERBS = frozenset("pick put set lay swing stand lift place take turn".split())  # verbs with `up` or `down`


def named_nouns(metadata: Mapping[str, Any]) -> frozenset[str]:
    """Return the nouns of all things that the metadata of an episode name, in lower case and without attributes.

    Things are the values of the keys in `THING_KEYS`: `red cup` under `object` has the noun `cup`.

    Raises:
      SourceError: A value of the metadata is not text.
    """
    return frozenset(noun for key in THING_KEYS for thing in things(metadata, key) if (noun := _noun(thing)))


def find_contradictions(instruction: str, metadata: Mapping[str, Any], nouns: Set[str]) -> list[str]:
    """Return one sentence for each contradiction between an instruction and the metadata of its episode.

    An instruction that leaves something open does not contradict: `pick it up` names no object. These do:

    - The instruction lacks a thing of the metadata and names a thing of another episode.
    - It puts another attribute in front of a thing's noun, such as another colour.
    - It names the opposite of a direction or side, and not the direction itself.
    - It says that the gripper opens where the metadata say closed, or the reverse.

    The list is empty if there is none. A sentence is, for example, "it says left, the metadata's direction is right".

    Args:
      instruction: The instruction of the episode.
      metadata: The metadata of the episode; see `things` for things and attributes. Directions and sides are under the
        keys direction, side and relation, the state of the gripper under gripper.
      nouns: The nouns of the things of all episodes, from `named_nouns`.

    Raises:
      SourceError: A value of the metadata is not text, or `gripper` is neither open nor closed.
    """
    words = split_words(instruction)
    return [
        *_other_things(words, metadata, nouns),
        *_other_attributes(words, metadata),
        *_other_directions(words, metadata),
        *_other_gripper(words, metadata),
    ]


def _noun(thing: Thing) -> str:
    """Return the name of a thing in normalised spelling and without words of attributes; "" if it has no name.

    `red cup` becomes `cup`.
    """
    attributes = frozenset().union(*ATTRIBUTE_WORDS.values())
    return " ".join(word for word in split_words(thing.name or "") if word not in attributes)


def _find_noun(words: list[str], noun: str) -> int | None:
    """Return the index in `words` where a noun, of one or several words, first begins, or None if it does not occur.

    Its plural with -s or -es also matches. An empty noun does not occur.
    """
    if not noun:
        return None
    found = re.search(rf"(?:^| ){re.escape(noun)}(?:e?s)?(?= |$)", " ".join(words))
    return None if found is None else len(" ".join(words)[: found.start()].split())


def _other_things(words: list[str], metadata: Mapping[str, Any], nouns: Set[str]) -> Iterator[str]:
    """Yield a sentence for each key of the metadata whose thing is missing while a thing of another episode is named.

    `words` are the instruction's, from `split_words`; `nouns` are those of the things of all episodes.
    """
    own = named_nouns(metadata)
    others = sorted(
        noun
        for noun in nouns - own
        if _find_noun(words, noun) is not None and not _is_part_of_longer_noun(noun, own, words)
    )
    for key in THING_KEYS:
        found = [noun for thing in things(metadata, key) if (noun := _noun(thing))]
        missing = [noun for noun in found if _find_noun(words, noun) is None]
        if missing and others:
            yield f"it names {' and '.join(others)}, the metadata's {key} is {' and '.join(missing)}"


def _is_part_of_longer_noun(noun: str, longer_nouns: Set[str], words: list[str]) -> bool:
    """Return whether `words` contain one of `longer_nouns` that has the word `noun`, as `cup holder` has `cup`."""
    return any(noun in longer.split() and _find_noun(words, longer) is not None for longer in longer_nouns)


def _other_attributes(words: list[str], metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each attribute, such as a colour, that the instruction gives a thing against the metadata.

    An attribute belongs to the noun that it precedes. A single one in a sentence without the object's noun is taken to
    describe the object.
    """
    named_things = [(key, thing) for key in THING_KEYS for thing in things(metadata, key)]
    all_values = {
        word for _, thing in named_things for value in thing.attributes.values() for word in split_words(value)
    }
    for key, thing in named_things:
        position = _find_noun(words, noun := _noun(thing))
        for attribute, value in thing.attributes.items():
            possible, right = ATTRIBUTE_WORDS[attribute], set(split_words(value))
            if position is not None:
                named = [word for word in _words_before_noun(words, position) if word in possible]
            else:  # a single attribute in a sentence that does not name the object describes the object
                named = [word for word in words if word in possible] if key == "object" else []
                named = named if len(named) == 1 and named[0] not in all_values else []
            if named and not right & set(named):
                subject = f"the {noun}" if position is not None else "it"
                yield f"it calls {subject} {' '.join(named)}, the metadata's {attribute} of the {key} is {value}"


def _words_before_noun(words: list[str], position: int) -> list[str]:
    """Return the words before the noun at `position`, back to a determiner, preposition, verb or `and`, without it."""
    start = position
    while start and words[start - 1] not in DETERMINERS | PREPOSITIONS | {"and"} and words[start - 1] not in VERB_FORMS:
        start -= 1
    return words[start:position]


def _other_directions(words: list[str], metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence for each direction or side of the metadata whose opposite is named and that is not named itself.

    Raises:
      SourceError: A direction of the metadata is not text.
    """
    # After a verb with a particle, as in `pick it up`, the words up and down are not directions.
    first_verb = next((number for number, word in enumerate(words) if word in _PARTICLE_VERBS), len(words))
    named = {word for number, word in enumerate(words) if word not in ("up", "down") or number < first_verb}
    for key in DIRECTION_KEYS:
        if (value := metadata.get(key)) is None:
            continue
        if not isinstance(value, str):
            raise SourceError(
                f"cannot compare an instruction with metadata: {key!r} is {value!r:.60}, expected text. Leave the key "
                "out if it is not known."
            )
        for right in split_words(value.replace("_", " ")):
            opposites = {other for pair in OPPOSITES if right in pair for other in pair} - {right}
            if (wrong := sorted(opposites & named)) and right not in named:
                yield f"it says {wrong[0]}, the metadata's {key} is {value}"


def _other_gripper(words: list[str], metadata: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence if the state of the gripper is the opposite of that in the metadata.

    An instruction without the words gripper, hand or fingers is not compared.

    Raises:
      SourceError: `gripper` of the metadata is neither open nor closed.
    """
    if (value := metadata.get("gripper")) is None or not set(words) & set(_GRIPPER_WORDS):
        return
    state = split_words(value) if isinstance(value, str) else []
    if len(state) != 1 or state[0] not in _OPEN | _CLOSED:
        raise SourceError(
            f"cannot compare an instruction with metadata: 'gripper' is {value!r:.60}, expected open or closed. Leave "
            "the key out if it is not known."
        )
    right, wrong = (_OPEN, _CLOSED) if state[0] in _OPEN else (_CLOSED, _OPEN)
    if set(words) & wrong and not set(words) & right:
        yield f"it says {min(set(words) & wrong)}, the metadata's gripper is {value}"
