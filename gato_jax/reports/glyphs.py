"""Marks in place of characters that the reader's fonts may lack, in texts that an agent sampled.

An agent that is hardly trained samples characters of any script. Pages bundle no fonts, so a browser would draw many of
them as empty boxes. A mark shows the number of the character instead, and its name on pointing.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Collection, Iterable

from markupsafe import Markup, escape

_EVERYWHERE = 0x530  # Latin, Greek and Cyrillic come before; fonts of all systems have them
_PUNCTUATION, _CURRENCY, _PICTURES = range(0x2010, 0x205F), range(0x20A0, 0x20C1), range(0x1F300, 0x1FB00)
_WHITE_SPACE = "\t\n"


def scripts_of(texts: Iterable[str]) -> frozenset[str]:
    """Return the scripts of all characters of some texts, such as {"LATIN", "CJK"}."""
    return frozenset(_script(character) for text in texts for character in text)


def mark_rare(text: str, known: Collection[str] = ()) -> Markup:
    """Return a text as markup, with a mark in place of each character that fonts may lack.

    Args:
      text: the text.
      known: scripts whose characters are kept, those of the data that the reader trained on.
    """
    return Markup("").join(escape(c) if _is_common(c) or _script(c) in known else _mark(c) for c in text)


def _is_common(character: str) -> bool:
    code, category = ord(character), unicodedata.category(character)
    if category.startswith("C"):  # control characters and codes without a character
        return character in _WHITE_SPACE
    return code < _EVERYWHERE or code in _PUNCTUATION or code in _CURRENCY or code in _PICTURES


def _script(character: str) -> str:
    """Return the first word of the name of a character, which is its script for letters; "" without a name."""
    return unicodedata.name(character, "").partition(" ")[0]


def _mark(character: str) -> Markup:
    number = f"{ord(character):04X}"
    name = escape(unicodedata.name(character, "no character"))
    return Markup(f'<span class="glyph" title="U+{number}, {name}">{number}</span>')
