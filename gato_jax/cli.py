"""The `gato` command: one verb for each thing a person does. May import any.

Exit status 0 means done; 2 is bad input, told in one line on stderr; 1, with a traceback, is a fault of ours.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import logging
import os
import sys
from collections.abc import Callable, Sequence

from absl import flags

from gato_jax import verbs
from gato_jax.verbs.flags import UsageError

# What a person can do something about; any other OSError is a fault of ours.
_DISK_ERRORS = {
    errno.EACCES, errno.EDQUOT, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOSPC, errno.ENOTDIR,
    errno.EPERM, errno.EROFS,
}  # fmt: skip

Verb = Callable[[flags.FlagValues, Sequence[str]], None]

VERBS: dict[str, Verb] = {
    name: getattr(importlib.import_module(f"{verbs.__name__}.{name}"), name) for name in verbs.NAMES
}


def main(argv: Sequence[str] | None = None):
    """Entry point of `gato`."""
    argv = list(sys.argv if argv is None else argv)
    name = argv[1] if len(argv) > 1 else "--help"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)
    if name in ("help", "--help", "-h"):
        print("gato VERB --flags; gato VERB --help lists a verb's flags\n")
        width = max(map(len, VERBS)) + 2
        for verb, function in VERBS.items():
            print(f"  {verb:<{width}} {(function.__doc__ or '').splitlines()[0]}")
        return
    sys.exit(_run(name, argv))


def _run(name: str, argv: list[str]) -> int:
    flag = flags.FlagValues()
    try:
        if name not in VERBS:
            near = difflib.get_close_matches(name, VERBS, 1)
            raise UsageError(f"no verb {name!r}; {f'did you mean {near[0]!r}?' if near else ', '.join(VERBS)}")
        if {"--help", "-help", "-h"} & set(argv):
            _help(name, flag)
            return 0
        VERBS[name](flag, [f"gato {name}", *argv[2:]])
        sys.stdout.flush()
    except BrokenPipeError:  # `gato tasks | head`: whoever reads has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        print(f"gato {name}: interrupted; run it again to go on", file=sys.stderr)
        return 130
    except Exception as error:
        if not _is_bad_input(error):
            raise
        print(f"gato {name}: {_one_line(error)}", file=sys.stderr)
        return 2
    return 0


def _is_bad_input(error: Exception) -> bool:
    """Our own errors, those of the flags, and a disk that is full, read-only or not there."""
    if isinstance(error, OSError) and error.errno in _DISK_ERRORS:
        return True
    if isinstance(error, RuntimeError) and os.strerror(errno.ENOSPC) in str(error):
        return True  # ArrayRecord's way to say it
    return isinstance(error, flags.Error) or (
        isinstance(error, (ValueError, ImportError, RuntimeError)) and type(error).__module__.startswith("gato_jax")
    )


def _one_line(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the disk'}: {error.strerror}; free space or name another folder"
    first, *others = [line.strip() for line in str(error).splitlines()] or [type(error).__name__]
    return f"{first} {'; '.join(others)}" if others else first


def _help(name: str, flag: flags.FlagValues):
    """A verb defines its flags when it runs, so it is run up to where it parses them."""
    print(f"gato {name}: {VERBS[name].__doc__}\n")
    try:
        VERBS[name](flag, [f"gato {name}", "--__help__"])
    except flags.Error:
        print(flag.get_help())


if __name__ == "__main__":
    main()
