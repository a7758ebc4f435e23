"""The words --beam.OPTION=VALUE of verbs that run on Apache Beam."""

from __future__ import annotations

from collections.abc import Sequence

_PREFIX = "--beam."


def split_beam_options(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Return the words of a command line that are no options of Beam, and those that are, as Beam takes them."""
    options = [f"--{word.removeprefix(_PREFIX)}" for word in argv if word.startswith(_PREFIX)]
    return [word for word in argv if not word.startswith(_PREFIX)], options
