"""Definition and parsing of the flags of verbs, with errors of one line."""

from __future__ import annotations

import ast
import difflib
import math
import pathlib
import re
import sys
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.config_overrides import apply_overrides, split_overrides
from gato_jax.verbs.usage import UsageError

with epy.lazy_imports():
    from ml_collections import config_flags

# Flags that this module defines for a verb are then listed in the help of the verb with its own flags.
flags.disclaim_key_flags()

# Errors that loading a config file and setting its keys may raise; the file is Python code of the user.
_CONFIG_ERRORS = (
    AttributeError, ImportError, IndexError, KeyError, NameError, OSError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


def parse_flags(flag: flags.FlagValues, argv: Sequence[str], *, required: Sequence[str] = ()):
    """Parse the flags of a verb.

    Args:
      flag: the flags, whose values are set.
      argv: the words of the command line, the first of which is the program.
      required: names of the flags that must have a value, which their help then says.

    Raises:
      UsageError: a config cannot be loaded or a key of it set, a flag has a value of a wrong type or a number that is
        not finite, a word is not a flag, no file can be written to the path of --json, or a required flag is missing or
        has an empty or zero value.
      flags.Error: a flag is unknown, or its value is not allowed.
    """
    for name in required:
        flag[name].help = f"{flag[name].help} Required."
    words, overrides = split_overrides(argv) if "config" in flag else (list(argv), [])
    try:
        _require_config_file(words)
        left_over = flag(words)[1:]
        if "config" in flag and flag.config is not None:
            flag.config.to_dict()  # raises the errors of the file, which is loaded at its first use
            apply_overrides(flag.config, overrides)
        elif overrides:
            raise UsageError(f"{overrides[0].flag} is given, but --config is missing. Name the file of the config.")
    except flags.IllegalFlagValueError as error:
        raise UsageError(_illegal_value(error)) from error
    except (flags.Error, UsageError):
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
    require(flag, *required)


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
    """Raise one UsageError for all of the named flags that are missing or have an empty or zero value."""
    if missing := [f"--{name} is missing" for name in names if not flag[name].value]:
        raise UsageError(f"{', '.join(missing)}. gato VERB --help describes each flag.")


def define_config(flag: flags.FlagValues, argv: Sequence[str]):
    """Define the flag --config=FILE; `parse_flags` then takes --config.KEY=VALUE for any key, too.

    Nothing is parsed yet. The folder of the file and the one above it are added to `sys.path`, so that a config can
    import others by `configs.NAME`, whether it is in that folder or beside it.

    Args:
      flag: the flags to add to.
      argv: the words of the command line, as `parse_flags` takes them.

    Returns:
      The holder of the flag, whose `value` after `parse_flags` is the config, or None without --config.
    """
    for file in (word.partition("=")[2].partition(":")[0] for word in argv if word.startswith("--config=")):
        folder = pathlib.Path(file).resolve().parent
        sys.path += [str(folder), str(folder.parent)]
    return config_flags.DEFINE_config_file(
        "config", flag_values=flag, sys_argv=split_overrides(argv)[0],
        help_string="Python file of the config, with a function get_config. --config.KEY=VALUE changes any value in "
        "it, such as --config.steps=500 or --config.optimizer.clip_norm=None.",
    )  # fmt: skip


def define_on_damage(flag: flags.FlagValues):
    """Define the flag --on_damage of verbs that go on from the newest checkpoint of their --workdir."""
    flags.DEFINE_enum(
        "on_damage", "error", ["error", "previous"],
        "Action if the newest checkpoint is damaged: end with an error, or go on from the newest undamaged one.",
        flag_values=flag,
    )  # fmt: skip


def _require_config_file(words: Sequence[str]):
    """Raise UsageError, with the nearest file of the folder, if --config names a file that does not exist."""
    for file in (word.partition("=")[2].partition(":")[0] for word in words if re.match(r"--?config=", word)):
        path = pathlib.Path(file)
        if not path.is_file():
            present = [other.name for other in path.parent.glob("*.py")] if path.parent.is_dir() else []
            near = [f" Did you mean {path.parent / name}?" for name in difflib.get_close_matches(path.name, present, 1)]
            raise UsageError(f"--config is {file}, expected a Python file. There is none.{''.join(near)}")


def _illegal_value(error: flags.IllegalFlagValueError) -> str:
    """Return the message of a flag that cannot be parsed; absl prints errors of several arguments as a tuple."""
    cause = error.__context__
    text = str(error)
    if isinstance(cause, ValueError) and len(cause.args) > 1:
        text = text.replace(str(cause), str(cause.args[0]))
    return _ends_of_traceback(text)


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
    lines = [line.strip() for line in text.split("\n") if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = [lines[0], lines[-1]]
    elif any(line.startswith("Attempted") for line in lines):
        lines = lines[-1:]
    return " ".join(lines)
