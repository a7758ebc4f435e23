"""The `gato` command: a table of its verbs, the help, and the exit status. May import any package.

The exit status is 0 when the verb is done; 2 for bad input, with one line on stderr for each problem; 1 for a fault of
gato_jax, with a traceback. What libraries print on stderr goes to a log file if there is an error in it, and the last
line names the file. `--debug` shows the traceback and what libraries print in any case.
"""

from __future__ import annotations

import contextlib
import difflib
import errno
import gc
import importlib
import importlib.metadata
import logging
import os
import pathlib
import signal
import sys
import traceback
from collections.abc import Sequence
from typing import NamedTuple

from absl import flags

from gato_jax.runtime.host_memory import restart_with_huge_pages
from gato_jax.runtime.library_messages import LibraryMessages, captured
from gato_jax.runtime.paths import BucketError, cache_folder, is_bucket
from gato_jax.runtime.termination import Terminated, terminable
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
_TRAINING = ("train", "finetune")  # verbs that compute for long
_LOGS = "logs"  # folder in that of a run, or in the cache folder
_SHORT = 200  # characters of a library's error in a message

# In the order of `gato --help`, which is the order in which data flows.
VERBS = {
    "tasks": Verb("gato_jax.verbs.tasks:tasks", "List the tasks with their status, expert and reference scores."),
    "collect": Verb("gato_jax.verbs.collect:collect", "Play an actor and record its episodes as RLDS datasets."),
    "train_expert": Verb(
        "gato_jax.verbs.train_expert:train_expert", "Train a small network that plays a task as its expert does."
    ),
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
    "play": Verb("gato_jax.verbs.play:play", "Play a task in the browser: yourself, its expert or an agent."),
    "serve": Verb("gato_jax.verbs.serve:serve", "Serve the agent of a run to robots, over websockets."),
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
    own_process = argv is None
    argv = list(sys.argv if argv is None else argv)
    name = argv[1] if len(argv) > 1 else "--help"
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
    if own_process and name in _TRAINING and not {"--help", "-help", "-h"} & set(argv):
        importlib.import_module("gato_jax.verbs")  # it chooses the platforms
        restart_with_huge_pages()
    words, debug = [word for word in argv if word != _DEBUG], _DEBUG in argv
    with terminable():
        if debug or sys.stderr is None:
            logging.basicConfig(level=logging.INFO, format="%(message)s")
            status, said = _run(name, words, flags.FlagValues(), debug=debug)
            if said:
                print(said, file=sys.stderr)
        else:
            status = _run_quietly(name, words, own_process=own_process)
        sys.exit(status)


def _run_quietly(name: str, argv: list[str], *, own_process: bool) -> int:
    """Run one verb as `_run` does, print what it says, and keep what libraries print for a log file.

    Args:
      name: name of the verb.
      argv: the words of the command line, as for `_run`.
      own_process: whether this process runs the command alone, so that its file descriptors may be captured.
    """
    flag = flags.FlagValues()
    with captured(descriptor=own_process) as messages:
        try:
            status, said = _run(name, argv, flag, debug=False)
        except Exception:  # a fault of gato_jax, whose traceback is printed when this process ends
            if messages.text().strip():
                print(f"gato {name}: {_log_messages(messages, name, flag)}", file=messages.console, flush=True)
            raise
        if status:
            gc.collect()  # asyncio reports an error that nobody has read when it is freed: now, while that is captured
        if (error := messages.first_error()) is not None:
            said = said or f"gato {name}: a library reported an error, {_shorten(error)}"
            said = f"{said.removesuffix('.')}. {_log_messages(messages, name, flag)}"
        if said:
            print(said, file=messages.console, flush=True)
    return status


def _log_messages(messages: LibraryMessages, name: str, flag: flags.FlagValues) -> str:
    """Write what libraries printed to a log file and return a sentence that names it.

    The file is in the folder of the run if the verb has one, and otherwise in the cache folder.
    """
    folders = []
    workdir = flag["workdir"].value if "workdir" in flag else None
    if workdir and not is_bucket(workdir) and os.path.isdir(workdir):
        folders.append(pathlib.Path(workdir) / _LOGS)
    with contextlib.suppress(BucketError):
        folders.append(cache_folder() / _LOGS)
    path = messages.write_log(folders, name)
    if path is None:
        return f"Libraries printed more, and no disk takes a log file; {_DEBUG} shows it."
    return f"The messages of libraries are in {path}."


def _run(name: str, argv: list[str], flag: flags.FlagValues, *, debug: bool) -> tuple[int, str | None]:
    """Run one verb and return the exit status and what to say of it on stderr; None for nothing.

    The status is 0 when the verb is done, 2 for bad input, 130 for Ctrl-C, 143 for SIGTERM. Errors other than those of
    bad input are raised.

    Args:
      name: name of the verb; an unknown one is bad input.
      argv: the words of the command line, the first two of which are the program and the verb.
      flag: where to define the flags of the verb.
      debug: whether to print the traceback of bad input or an interruption.
    """
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
            return 0, None
        verb(flag, [f"gato {name}", *argv[2:]])
        sys.stdout.flush()
    except BrokenPipeError:  # as in `gato tasks | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0, None
    except KeyboardInterrupt as interruption:
        _print_traceback(debug)
        number = signal.SIGTERM if isinstance(interruption, Terminated) else signal.SIGINT
        return 128 + number, f"\ngato {name}: interrupted"
    except Exception as error:
        if not _is_bad_input(error):
            raise
        _print_traceback(debug)
        return 2, f"gato {name}: {_message(error)}"
    return 0, None


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


def _shorten(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _message(error: Exception) -> str:
    if isinstance(error, OSError):
        return f"{error.filename or 'the disk'}: {error.strerror}; {_DISK_REMEDIES[error.errno or 0]}"
    text = str(error)
    if text.partition("\n")[0].endswith(" problems:"):  # DataclassReader lists several problems so, one a line
        return text
    return one_line(text) or type(error).__name__


if __name__ == "__main__":
    main()
