"""The `gato` command: a table of its verbs, the help, and the exit status. May import any package.

The exit status is 0 when the verb is done; 2 for bad input, with one line on stderr for each problem; 1 for a fault of
gato_jax, with a traceback. `--debug` shows the traceback in any case.
"""

from __future__ import annotations

import difflib
import errno
import importlib
import importlib.metadata
import logging
import os
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from absl import flags

from gato_jax.runtime.interruption import Terminated, terminable
from gato_jax.verbs.flags import UsageError
from gato_jax.verbs.outputs import one_line


class Verb(NamedTuple):
    """One verb of the command.

    Attributes:
      target: the function that runs the verb, as `module:function`. It takes the flags and the words of the command.
        The module is imported only when the verb is used.
      help: one line for `gato --help`.
    """

    target: str
    help: str


_DEBUG = "--debug"

# In the order of `gato --help`, which is the order in which data flows.
VERBS = {
    "tasks": Verb("gato_jax.verbs.tasks:tasks", "List the tasks with their status, expert and reference scores."),
    "collect": Verb("gato_jax.verbs.collect:collect", "Play an actor and record its episodes as RLDS datasets."),
    "instructions": Verb(
        "gato_jax.verbs.instructions:instructions", "Propose the instructions of a dataset for review, or check them."
    ),
    "convert": Verb("gato_jax.verbs.convert:convert", "Convert recordings of another format into an RLDS dataset."),
    "data_report": Verb(
        "gato_jax.verbs.data_report:data_report", "Write a page of statistics of one dataset, or compare it to another."
    ),
    "provenance": Verb(
        "gato_jax.verbs.provenance:provenance", "Write where a dataset or an agent comes from (PROV-O or EU AI Act)."
    ),
    "tokenization_report": Verb(
        "gato_jax.verbs.tokenization_report:tokenization_report",
        "Write a page of the errors that tokenization makes on a dataset.",
    ),
    "inspect": Verb("gato_jax.verbs.inspect:inspect", "Write a page that shows training rows token by token."),
    "export": Verb("gato_jax.verbs.export:export", "Export a tokenized dataset, or the parameters of an agent."),
    "train_image_tokenizer": Verb(
        "gato_jax.verbs.train_image_tokenizer:train_image_tokenizer", "Train a VQ-VAE on the images of datasets."
    ),
    "plan": Verb("gato_jax.verbs.plan:plan", "Estimate memory, speed and days of a training run on given chips."),
    "cache": Verb("gato_jax.verbs.cache:cache", "List the cached token records, verify them, or remove some."),
    "train": Verb("gato_jax.verbs.train:train", "Train an agent from a config, or continue a run."),
    "finetune": Verb("gato_jax.verbs.finetune:finetune", "Fine-tune an agent on one task, as in the paper."),
    "evaluate": Verb("gato_jax.verbs.evaluate:evaluate", "Play the agent of a run and score it against references."),
    "report": Verb("gato_jax.verbs.report:report", "Write the HTML page of a finished run."),
}

# Errors of the disk that a user can mend, with their remedies. Any other OSError is a fault of gato_jax.
_NOT_PERMITTED, _FULL = "change its permissions or name another path", "free space or name another folder"
_DISK_REMEDIES = {
    errno.EACCES: _NOT_PERMITTED, errno.EPERM: _NOT_PERMITTED, errno.EROFS: "name a path on a disk that can be written",
    errno.EDQUOT: _FULL, errno.ENOSPC: _FULL, errno.EEXIST: "remove it or name another path",
    errno.EISDIR: "name a file in it", errno.ENOTDIR: "name a folder", errno.ENAMETOOLONG: "name a shorter path",
}  # fmt: skip


def main(argv: Sequence[str] | None = None):
    """Run the verb that the command line names, and exit with its status by SystemExit.

    Without a verb, or with help, --help or -h in its place, print the list of verbs and return. With --version in its
    place, print the versions of gato_jax and JAX and return.

    Args:
      argv: the words of the command line, the first of which is the program. Default: those of this process.
    """
    argv = list(sys.argv if argv is None else argv)
    name = argv[1] if len(argv) > 1 else "--help"
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("absl").setLevel(logging.ERROR)
    if name in ("help", "--help", "-h"):
        print("gato VERB --flags; gato VERB --help lists the flags of a verb, gato VERB --debug shows tracebacks\n")
        width = max(map(len, VERBS)) + 2
        for verb, (_, text) in VERBS.items():
            print(f"  {verb:<{width}} {text}")
        return
    if name in ("version", "--version"):
        print(", ".join(f"{package} {importlib.metadata.version(package)}" for package in ("gato_jax", "jax")))
        return
    with terminable():
        sys.exit(_run(name, [word for word in argv if word != _DEBUG], debug=_DEBUG in argv))


def _run(name: str, argv: list[str], *, debug: bool) -> int:
    """Run one verb and return the exit status: 0 when it is done, 2 for bad input, 130 for Ctrl-C, 143 for SIGTERM.

    The message of bad input or an interruption is printed to stderr. Any other error is raised.

    Args:
      name: name of the verb; an unknown one is bad input.
      argv: the words of the command line, the first two of which are the program and the verb.
      debug: whether the traceback of bad input or an interruption is printed before its message.
    """
    flag = flags.FlagValues()
    try:
        if name not in VERBS:
            near = difflib.get_close_matches(name, VERBS, 1)
            raise UsageError(f"no verb {name!r}; {f'did you mean {near[0]!r}?' if near else ', '.join(VERBS)}")
        module, _, function = VERBS[name].target.partition(":")
        verb = getattr(importlib.import_module(module), function)
        if {"--help", "-help", "-h"} & set(argv):
            print(f"gato {name}: {verb.__doc__}\n")
            try:
                verb(flag, [f"gato {name}", "--__help__"])
            except flags.Error:  # the unknown flag ends the verb where all its flags are defined
                print(flag.get_help())
            return 0
        verb(flag, [f"gato {name}", *argv[2:]])
        sys.stdout.flush()
    except BrokenPipeError:  # as in `gato tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt as interruption:
        _print_traceback(debug)
        print(f"\ngato {name}: interrupted", file=sys.stderr)
        return 128 + (signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT)
    except Exception as error:
        if not _is_bad_input(error):
            raise
        _print_traceback(debug)
        print(f"gato {name}: {_message(error)}", file=sys.stderr)
        return 2
    return 0


def _print_traceback(debug: bool):
    if debug:
        traceback.print_exc()


def _is_bad_input(error: Exception) -> bool:
    """Return whether an error is the user's to mend.

    Such errors are those of the flags, the ValueError, ImportError and RuntimeError classes that gato_jax defines, and
    a disk that is full or refuses the access.
    """
    if isinstance(error, OSError) and error.errno in _DISK_REMEDIES:
        return True
    if isinstance(error, RuntimeError) and os.strerror(errno.ENOSPC) in str(error):
        return True  # ArrayRecord reports a full disk so
    return isinstance(error, flags.Error) or (
        isinstance(error, (ValueError, ImportError, RuntimeError)) and type(error).__module__.startswith("gato_jax")
    )


def _message(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the disk'}: {error.strerror}; {_DISK_REMEDIES[error.errno or 0]}"
    text = str(error)
    if text.partition("\n")[0].endswith(" problems:"):  # DataclassReader lists several problems so, one a line
        return text
    return one_line(text) or type(error).__name__


if __name__ == "__main__":
    main()
