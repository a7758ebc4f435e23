"""The flags of a verb: parsed, required, or refused in one line that names the flag, the value and the remedy."""

from __future__ import annotations

import ast
import pathlib
import sys
from collections.abc import Sequence

from absl import flags
from etils import epy

with epy.lazy_imports():
    from ml_collections import config_flags

# A flag that is defined here for a verb is listed in its help beside those it defines itself.
flags.disclaim_key_flags()

# What loading a config file and setting its keys may raise: the file is a person's Python.
_CONFIG_ERRORS = (
    AttributeError, ImportError, IndexError, KeyError, NameError, OSError, SyntaxError, TypeError, ValueError,
)  # fmt: skip


class UsageError(ValueError):
    """What was asked for cannot be done; the message names the flag, the value and the remedy."""


def parse_flags(flag: flags.FlagValues, argv: Sequence[str]):
    """Parses the flags; what ml_collections says of a config in its own way becomes one line.

    Raises:
      UsageError, flags.Error: an unknown flag, a value or config that cannot be, a word that is no flag.
    """
    try:
        left_over = flag(argv)[1:]
        if "config" in flag and flag.config is not None:
            flag.config.to_dict()  # a file that is missing is said when it is first used
    except flags.IllegalFlagValueError as error:
        raise UsageError(_ends_of_traceback(str(error))) from error
    except flags.Error:
        raise
    except _CONFIG_ERRORS as error:
        raise UsageError(f"--config: {_said(error)}") from error
    if left_over:
        raise UsageError(f"unexpected {left_over[0]!r}; everything is a flag, --name=value")
    if "json" in flag and flag.json and pathlib.Path(flag.json).is_dir():
        raise UsageError(f"--json={flag.json} is a folder; name a file")


def require(flag: flags.FlagValues, *names: str):
    """Refuses a flag that is not given, or empty.

    Raises:
      UsageError: naming the first.
    """
    for name in names:
        if not flag[name].value:
            raise UsageError(f"--{name} is missing")


def define_config(flag: flags.FlagValues, argv: Sequence[str]):
    """The flag --config=FILE and one --config.KEY for each key in the file; argv is what parse_flags will be given.

    The file may import its neighbours by the name of their folder, from wherever it is run.
    """
    for file in (word.partition("=")[2].partition(":")[0] for word in argv if word.startswith("--config=")):
        sys.path.append(str(pathlib.Path(file).resolve().parent.parent))
    return config_flags.DEFINE_config_file("config", help_string="config file", flag_values=flag, sys_argv=list(argv))


def _said(error: Exception) -> str:
    """The message in one line, without the quotes that each KeyError on its way has put around it."""
    text = str(error)
    while text[:1] in ("'", '"') and text[-1] == text[0]:
        text = ast.literal_eval(text)
    if text.replace(".", "_").isidentifier():  # with no key near enough to be named, it says the wrong one only
        text = f"no key {text!r} in the config; set it there first (a section: = ConfigDict())"
    return _ends_of_traceback(text)


def _ends_of_traceback(text: str) -> str:
    """A message of several lines in one: of a traceback its two ends, of what was tried the end."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if any(line.startswith("Traceback") for line in lines):
        lines = [lines[0], lines[-1]]
    elif any(line.startswith("Attempted") for line in lines):
        lines = lines[-1:]
    return " ".join(lines)
