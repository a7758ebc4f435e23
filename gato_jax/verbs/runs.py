"""Checks of the run or agent that a flag names, before anything heavy is imported."""

from __future__ import annotations

import pathlib

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.usage import UsageError

_RUN = "the folder of a run"


def require_folder(name: str, value: str, expected: str = _RUN) -> pathlib.Path:
    """Return a folder, after a check that there is one.

    Args:
      name: name of the flag, without dashes.
      value: value of the flag.
      expected: the folder in words, for the message.

    Raises:
      UsageError: There is nothing, or a file.
    """
    path = as_path(value)
    if not path.is_dir():
        raise UsageError(_refusal(name, path, expected))
    return path


def require_run(name: str, value: str) -> pathlib.Path:
    """Return the folder of a run, after a check that it holds checkpoints.

    Args:
      name: name of the flag, without dashes.
      value: value of the flag.

    Raises:
      UsageError: There is no folder, or one without checkpoints.
    """
    path = require_folder(name, value)
    if not (path / "checkpoints").is_dir():
        raise UsageError(_refusal(name, path, _RUN))
    return path


def require_agent(name: str, value: str) -> pathlib.Path:
    """Return the folder of a run with checkpoints, or a file that `gato export` wrote.

    Args:
      name: name of the flag, without dashes.
      value: value of the flag.

    Raises:
      UsageError: There is neither.
    """
    path = as_path(value)
    if not path.is_file() and not (path / "checkpoints").is_dir():
        raise UsageError(_refusal(name, path, f"{_RUN} or a .safetensors file of `gato export`"))
    return path


def _refusal(name: str, path: pathlib.Path, expected: str) -> str:
    if path.is_dir():
        found = "It holds no checkpoints. Train there first, or name another one"
    elif path.is_file():
        found = "It is a file. Name a folder"
    else:
        named = "the --workdir of a run that was trained" if expected.startswith(_RUN) else "a folder that exists"
        found = f"It does not exist. Name {named}"
    return f"--{name} is {path}, expected {expected}. {found}."
