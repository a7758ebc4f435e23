"""Vocabulary of the rules for instructions: verbs in all forms, function words, attributes, relations, opposites."""

from __future__ import annotations

import re
from typing import Literal

Form = Literal["base", "third", "past", "gerund"]

_VERBS = """
adjust align approach arrange assemble avoid balance bring build carry catch check clean clear climb close collect
complete cook cover cross cut deliver describe detach disassemble drag drive drop empty enter escape exit fetch fill
find finish flip fold follow get give go grab grasp hammer hand hang hit hold hop insert inspect jump keep kick knock
land lay leave lift load lock look lower make mix move navigate open pack pick place play plug point poke pour press
pull push put raise reach release remove reorient retrieve return rotate run screw send separate serve set shake shut
slide sort spin squeeze stack stand start stay stir stop store strike sweep swim swing switch take tap throw tidy tie
tilt toggle touch track transfer trot try turn twist unfold unload unlock unplug unscrew unstack use wait walk wash
wipe write zip
""".split()
# Verbs that double their last consonant: getting, dropped.
_DOUBLED = frozenset(
    "cut drop flip get grab hop hit plug put run set shut spin stir stop swim tap trot unplug zip".split()
)
_PAST = {
    "bring": "brought", "build": "built", "catch": "caught", "cut": "cut", "drive": "drove", "find": "found",
    "get": "got", "give": "gave", "go": "went", "hang": "hung", "hit": "hit", "hold": "held", "keep": "kept",
    "lay": "laid", "leave": "left", "make": "made", "put": "put", "run": "ran", "send": "sent", "set": "set",
    "shake": "shook", "shut": "shut", "slide": "slid", "spin": "spun", "stand": "stood", "strike": "struck",
    "sweep": "swept", "swim": "swam", "swing": "swung", "take": "took", "throw": "threw", "write": "wrote",
}  # fmt: skip


def _inflect(verb: str) -> dict[str, Form]:
    """Return {word: form} of the third person, the past and the gerund of a verb, {`picks`: `third`, ...}."""
    stem = verb + verb[-1] if verb in _DOUBLED else verb
    silent = verb[:-1] if verb[-1] == "e" and verb != "tie" else stem
    gerund = "tying" if verb == "tie" else f"{silent}ing"
    third = "es" if verb.endswith(("s", "sh", "ch", "x", "o")) else "s"
    past = _PAST.get(verb) or (f"{verb}d" if verb[-1] == "e" else f"{stem}ed")
    if verb[-1] == "y" and verb[-2] not in "aeiou":
        return {f"{verb[:-1]}ies": "third", f"{verb[:-1]}ied": "past", gerund: "gerund"}
    return {f"{verb}{third}": "third", past: "past", gerund: "gerund"}


# {word: form} of all verbs, for example {`picks`: third}. A past that equals its base, such as `put`, is a base.
VERB_FORMS: dict[str, Form] = {word: form for verb in _VERBS for word, form in _inflect(verb).items()}
VERB_FORMS |= dict.fromkeys(_VERBS, "base")

DETERMINERS = frozenset("the a an this that these those your my its his her their each every any some all both".split())
PRONOUNS = frozenset("it he she they we i you".split())
PREPOSITIONS = frozenset(
    """above across against around at away behind below beside between by down from in inside into near next of off on
    onto out over past through to toward towards under up upon with""".split()
)

# Attributes in the order in which English puts them before a noun: a small round red wooden block.
ATTRIBUTES = ("size", "shape", "colour", "material")
ATTRIBUTE_WORDS: dict[str, frozenset[str]] = {
    "size": frozenset("small little tiny big large huge tall short long medium".split()),
    "shape": frozenset("round square rectangular triangular cylindrical spherical hexagonal oval star-shaped".split()),
    "colour": frozenset(
        """red green blue yellow orange purple pink brown black white grey cyan magenta violet beige gold silver
        turquoise""".split()
    ),
    "material": frozenset("wooden metal metallic plastic glass rubber paper cardboard fabric foam ceramic".split()),
}
# {variant: normal spelling}.
_SPELLINGS = {"gray": "grey", "little": "small", "big": "large", "metallic": "metal", "forwards": "forward",
              "backwards": "backward", "upwards": "up", "downwards": "down", "anticlockwise": "counterclockwise",
              "wood": "wooden", "color": "colour", "steel": "metal"}  # fmt: skip

# {value of `relation` in metadata: preposition}.
RELATIONS: dict[str, str] = {
    "left of": "to the left of", "to the left of": "to the left of", "left": "to the left of",
    "right of": "to the right of", "to the right of": "to the right of", "right": "to the right of",
    "on top of": "on top of", "on": "on top of", "onto": "on top of",
    "inside": "inside", "in": "inside", "into": "inside",
    "next to": "next to", "beside": "next to", "near": "near", "between": "between",
    "under": "under", "below": "under", "above": "above", "behind": "behind", "in front of": "in front of",
    "against": "against",
}  # fmt: skip

# Directions and sides that exclude each other.
OPPOSITES: tuple[tuple[str, str], ...] = (
    ("left", "right"), ("up", "down"), ("top", "bottom"), ("front", "back"), ("front", "behind"),
    ("forward", "backward"), ("clockwise", "counterclockwise"), ("inside", "outside"), ("above", "below"),
    ("above", "under"), ("upper", "lower"),
)  # fmt: skip

_WORD = re.compile(r"[a-z0-9]+(?:['-][a-z0-9]+)*")


def split_words(text: str) -> list[str]:
    """Split a text into words in lower case and normalised spelling: `Gray, big!` becomes `grey`, `large`.

    Words consist of ASCII letters and digits, with inner hyphens and apostrophes; all else separates them.
    """
    lower = text.lower().replace("counter-clockwise", "counterclockwise")
    return [_SPELLINGS.get(word, word) for word in map(str, _WORD.findall(lower))]
