"""A token in a file, which only its owner may read.

A word of a command is visible to all users of a machine, a file with the right permissions is not. Imports the standard
library only: the client for robots contains this file, too.
"""

from __future__ import annotations

import os
import pathlib
import stat

_OTHERS = stat.S_IRWXG | stat.S_IRWXO
_MAX_BYTES = 4096


class SecretFileError(ValueError):
    """A file that holds no token, or one that others can read; the message names the remedy."""


def read_secret(path: str | os.PathLike[str]) -> str:
    """Return the token in a file, without the blanks and newlines around it.

    Raises:
      SecretFileError: The file is missing, empty, too long or no text, or users other than its owner have permissions.
    """
    file = pathlib.Path(path).expanduser()
    try:
        with file.open("rb") as opened:
            mode = stat.S_IMODE(os.fstat(opened.fileno()).st_mode)
            content = opened.read(_MAX_BYTES + 1)
    except OSError as error:
        raise SecretFileError(
            f"cannot read the token: {file} gives {error.strerror}. Name a file that holds the token."
        ) from None
    if os.name == "posix" and mode & _OTHERS:
        raise SecretFileError(
            f"the token is not safe: {file} has mode {mode:04o}, expected 0600, as other users can read it. Run: "
            f"chmod 600 {file}, and take a new token if others may have read this one."
        )
    secret = content.decode("utf-8", "replace").strip()
    if not secret or len(content) > _MAX_BYTES:
        found = f"{len(content)} bytes" if len(content) <= _MAX_BYTES else f"more than {_MAX_BYTES} bytes"
        raise SecretFileError(f"cannot read the token: {file} has {found}, expected a token alone. Write it there.")
    return secret
