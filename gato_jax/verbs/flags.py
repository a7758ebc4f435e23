"""Definition and parsing of the flags of verbs, with errors of one line."""

from __future__ import annotations

import ast
import math
import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path

with epy.lazy_imports():
    from ml_collections import config_flags

# Flags that this module defines for a verb are then listed in the help of the verb with its own flags.
flags.disclaim_key_flags()

# Errors that loading a config file and setting its keys may raise; the file is Python code of the user.
_CONFIG_ERRORS = (
    AttributeError, ImportError, IndexError, KeyError, NameError, OSError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


class UsageError(ValueError):
    """A flag or value that cannot be used; the message names the flag, the value and the remedy."""


def parse_flags(flag: flags.FlagValues, argv: Sequence[str]):
    """Parse the flags of a verb.

    Args:
      flag: the flags, whose values are set.
      argv: the words of the command line, the first of which is the program.

    Raises:
      UsageError: a config cannot be loaded or a key of it set, a flag has a value of a wrong type or a number that is
        not finite, a word is not a flag, or no file can be written to the path of --json.
      flags.Error: a flag is unknown, or its value is not allowed.
    """
    try:
        left_over = flag(argv)[1:]
        if "config" in flag and flag.config is not None:
            flag.config.to_dict()  # raises the error of a missing file, which is loaded at its first use
    except flags.IllegalFlagValueError as error:
        raise UsageError(_ends_of_traceback(str(error))) from error
    except flags.Error:
        raise
    except _CONFIG_ERRORS as error:
        raise UsageError(f"--config: {_config_message(error)}") from error
    if left_over:
        raise UsageError(f"unexpected {left_over[0]!r}; everything is a flag, --name=value")
    for name in flag:
        value = flag[name].value
        if isinstance(value, float) and not math.isfinite(value):
            raise UsageError(f"--{name} is {value}, expected a finite number. Give a number.")
    if "json" in flag and flag.json:
        require_file_path("json", flag.json)


def require_file_path(name: str, path: str | pathlib.Path):
    """Raise an error if no file can be written to `path`, the value of the flag `name`, which is given without dashes.

    Missing parent folders are fine, and an existing file is too.

    Raises:
      UsageError: The path is a folder, or a parent of it is a file.
    """
    path = as_path(path)
    if path.is_dir():
        raise UsageError(f"--{name} is {path}, a folder, expected a file. Name a file.")
    for above in path.parents:
        if above.is_file():
            raise UsageError(f"--{name} is {path}, but {above} is a file, expected a folder. Name another folder.")


def require(flag: flags.FlagValues, *names: str):
    """Raise UsageError for the first of the named flags that is missing or has an empty or zero value."""
    for name in names:
        if not flag[name].value:
            raise UsageError(f"--{name} is missing")


def define_config(flag: flags.FlagValues, argv: Sequence[str]):
    """Define the flag --config=FILE, and a flag --config.KEY for each key of the config in the file.

    Nothing is parsed yet. The folder above that of the file is added to `sys.path`, so that configs can import each
    other.

    Args:
      flag: the flags to add to.
      argv: the words of the command line, as `parse_flags` takes them.

    Returns:
      The holder of the flag, whose `value` after `parse_flags` is the config, or None without --config.
    """
    for file in (word.partition("=")[2].partition(":")[0] for word in argv if word.startswith("--config=")):
        sys.path.append(str(pathlib.Path(file).resolve().parent.parent))
    return config_flags.DEFINE_config_file(
        "config", flag_values=flag, sys_argv=list(argv),
        help_string="Python file of the config, with a function get_config. --config.KEY=VALUE changes a value in it.",
    )  # fmt: skip


def define_on_damage(flag: flags.FlagValues):
    """Define the flag --on_damage of verbs that go on from the newest checkpoint of their --workdir."""
    flags.DEFINE_enum(
        "on_damage", "error", ["error", "previous"],
        "Action if the newest checkpoint is damaged: end with an error, or go on from the newest undamaged one.",
        flag_values=flag,
    )  # fmt: skip


def _config_message(error: Exception) -> str:
    """Return the message of a config's error as one line, without the quotes that each KeyError adds to it.

    An error that names only a key becomes `no key 'KEY' in the config; ...`.
    """
    text = str(error)
    while text[:1] in ("'", '"') and text[-1] == text[0]:
        text = ast.literal_eval(text)
    if text.replace(".", "_").isidentifier():  # ml_collections names the wrong key only, if no other is near
        text = f"no key {text!r} in the config; set it there first (a section: = ConfigDict())"
    return _ends_of_traceback(text)


def _ends_of_traceback(text: str) -> str:
    """Return a message of several lines as one: first and last line of a traceback, last line of several attempts."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = [lines[0], lines[-1]]
    elif any(line.startswith("Attempted") for line in lines):
        lines = lines[-1:]
    return " ".join(lines)
