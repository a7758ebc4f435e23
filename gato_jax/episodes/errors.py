"""Errors of specifications and of writes, and phrases for their messages."""

from __future__ import annotations

import difflib
import os
import re
from collections.abc import Iterable

_OBJECT = re.compile(r"\s*<[^<>]* at 0x[0-9a-fA-F]+>")  # such as <_io.BytesIO object at 0x7f8c563ec270>
_ADDRESS = re.compile(r" at 0x[0-9a-fA-F]+")


class StoreError(ValueError):
    """A dataset, folder or file that cannot be written; the message names the path and the remedy."""


class SpecError(ValueError):
    """A specification that contradicts itself; the message names the field, the value and the remedy."""


def describe_error(error: BaseException) -> str:
    """Return one line on an error that a library raised on damaged content, for a message that names the file.

    Errors of look-ups say nothing by themselves ("list index out of range"), so they become a phrase on the content.
    An error without a message gives the name of its class. Of an error of the operating system the file is named.
    """
    text = without_addresses(" ".join(str(error).split()))
    if isinstance(error, OSError) and error.strerror and error.filename is not None:
        return f"{error.strerror}: {os.fspath(error.filename)}"
    if isinstance(error, KeyError):
        return f"it lacks {text}"
    if isinstance(error, IndexError):
        return "it lacks a part that its format requires"
    return text or type(error).__name__


def without_addresses(text: str) -> str:
    """Return a text without the addresses of objects in memory, which differ from run to run.

    An object that is named only by its class and address is left out: `no image in <_io.BytesIO object at 0x7f81c2>`
    becomes `no image in`.
    """
    return _ADDRESS.sub("", _OBJECT.sub("", text))


def nearest(name: str, names: Iterable[str]) -> str:
    """Return the name that is spelt most like `name`, in quotes, for a message.

    If none is near, return all names, e.g. `'left', 'right'`; without names, return `none`.
    """
    names = list(names)
    near = difflib.get_close_matches(name, names, n=1)
    return ", ".join(map(repr, near or names)) or "none"
