"""Changes of a config on the command line: the words `--config.KEY=VALUE` and their application to the config.

Any key of any section can be set, and a section that the file leaves out is made. Values are Python literals, other
words are texts. Keys and values are checked with the rest of the config, so that all problems are listed at once.
"""

from __future__ import annotations

import ast
import difflib
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from etils import epy

from gato_jax.verbs.usage import UsageError

with epy.lazy_imports():
    import ml_collections

_WORD = re.compile(r"--?(no)?config\.([^=]+)(?:=(.*))?", re.DOTALL)
_BOOLS = {"true": True, "false": False}


class Override(NamedTuple):
    """One change of a config.

    Attributes:
      path: Names of the sections and of the key.
      text: The value as it was typed.
    """

    path: tuple[str, ...]
    text: str

    @property
    def flag(self) -> str:
        return f"--config.{'.'.join(self.path)}"


def split_overrides(argv: Sequence[str]) -> tuple[list[str], list[Override]]:
    """Return the words of a command line that are no overrides, and the overrides in their order.

    `--config.KEY=VALUE` and `--config.KEY VALUE` are the same. `--config.KEY` alone stands for True, `--noconfig.KEY`
    for False.
    """
    words, overrides = list(argv[:1]), []
    rest = list(argv[1:])
    while rest:
        word = rest.pop(0)
        if (match := _WORD.fullmatch(word)) is None:
            words.append(word)
            continue
        negated, path, text = match.groups()
        if text is None and not negated and rest and not re.match(r"--?[a-zA-Z]", rest[0]):
            text = rest.pop(0)
        if text is None:
            text = str(not negated)
        overrides.append(Override(tuple(path.split(".")), text))
    return words, overrides


def apply_overrides(config: ml_collections.ConfigDict, overrides: Sequence[Override]):
    """Set the values of a config, and make the sections that are missing.

    Raises:
      UsageError: A section of the path is a value, or is missing while the config has one of a similar name.
    """
    for override in overrides:
        section = config
        for depth, name in enumerate(override.path[:-1]):
            section = _section(section, name, override, depth)
        key = override.path[-1]
        with section.unlocked(), section.ignore_type():
            section[key] = parse_value(override.text, section.get(key))


def parse_value(text: str, present: Any) -> Any:
    """Return the value that a text stands for; `present` is the value that it replaces.

    Over a text, any other text but `None` is taken as it is. Elsewhere Python literals, `true` and `false` are read,
    and what is no literal is a text.
    """
    if text == "None":
        return None
    if isinstance(present, str):
        return text
    if text.lower() in _BOOLS:
        return _BOOLS[text.lower()]
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _section(section: Any, name: str, override: Override, depth: int) -> Any:
    where = ".".join(("config", *override.path[:depth]))
    present = section.get(name)
    if hasattr(present, "items"):
        return present
    if present is not None:
        raise UsageError(
            f"{override.flag} is given, but {where}.{name} is {present!r:.60}, no section. Remove the flag."
        )
    siblings = [key for key, value in section.items() if hasattr(value, "items")]
    if near := difflib.get_close_matches(name, siblings, 1):
        raise UsageError(f"{override.flag}: {where} has no section {name!r}. Did you mean {near[0]!r}?")
    with section.unlocked(), section.ignore_type():
        section[name] = ml_collections.ConfigDict()
    return section[name]
