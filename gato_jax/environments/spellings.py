"""Spellings of task names: `dm_control/cartpole/swingup` is also `rlu_control_suite/cartpole_swingup`.

Public datasets name the same task in many ways: in capitals, with other separators, with the version of a library, the
number of a run or the agent that played. Names are compared as words, so that neither case, separators nor camel case
count, and words that say nothing about the task are skipped.
"""

from __future__ import annotations

import functools
import re
import urllib.parse
from collections.abc import Iterable, Sequence

from gato_jax.environments.registry import task_names

# Names of a suite and of its variants, such as `atari_short`, as one word each. Any other suite has its own name alone.
_ALIASES = {
    "atari": ("atari", "ale", "arcade"),
    "babyai": ("babyai", "minigrid"),
    "dm_control": ("dmcontrol", "controlsuite", "dmc", "rwrl"),
    "dm_lab": ("dmlab", "deepmindlab", "lab"),
    "meta_world": ("metaworld", "mt1", "mt10", "mt50", "ml1", "ml10", "ml45", "sawyer"),
}
# Words beside the name of a task that do not make it another task.
_FILLERS = frozenset(
    "v no frameskip ram deterministic run expert medium simple human random replay mixed full goal observable hidden "
    "env environment task game data dataset train recorded rlds tfds minari lerobot gym gymnasium converted "
    "checkpoints transitions episodes demos demonstrations".split()
)
_WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")
_VERSION = re.compile(r"-v\d+$")

Span = tuple[int, int]


def spelled_task(text: str, tasks: Iterable[str]) -> str | None:
    """Return the first of some tasks that a name spells, None if it spells none of them.

    A task whose name is one common word, such as `atari/boxing`, is found only beside a name of its suite, or where no
    other word says something. A longer name of another registered task is that task: `cartpole_swingup_sparse` is not
    `cartpole/swingup`, and `coffee-push` is not `push`.

    Args:
      text: Name of a task, of a dataset or of a folder, in any spelling.
      tasks: Full names `suite/task`, registered or not.
    """
    words = _words(text)
    for task in tasks:
        suite = task.partition("/")[0]
        if not (found := _spans(words, _words_of_task(task))):
            continue
        others = [span for other in _longer_names(task) for span in _spans(words, other)]
        for span in found:
            if any(a <= span[0] and span[1] <= b and (a, b) != span for a, b in others):
                continue
            if span[1] - span[0] > 1 or _is_of_suite(words, span, suite) or _is_alone(words, span):
                return task
    return None


def _words(text: str) -> list[str]:
    """Return the words of a name in lower case; camel case and digits begin new words, percent codes are decoded."""
    return [word.lower() for word in _WORD.findall(urllib.parse.unquote(text))]


def _spans(words: Sequence[str], name: Sequence[str]) -> list[Span]:
    """Return the ranges [start, stop) of words that spell a name when written together, in either order of two words.

    `Cart Pole swing_up` and `swingup cartpole` both spell `cartpole/swingup`.
    """
    wanted = {"".join(name), "".join(reversed(name))}
    written = "".join(words)
    if not any(one in written for one in wanted):  # as in nearly all of a data set's thousands of instructions
        return []
    size = len("".join(name))
    spans = []
    for start in range(len(words)):
        written = ""
        for stop in range(start, len(words)):
            written += words[stop]
            if len(written) >= size:
                spans += [(start, stop + 1)] if written in wanted else []
                break
    return spans


def _is_of_suite(words: Sequence[str], span: Span, suite: str) -> bool:
    """Return True if the words beside a span name the suite."""
    of_base = (names for base, names in _ALIASES.items() if suite == base or suite.startswith(f"{base}_"))
    names = next(of_base, ("".join(_words(suite)),))
    beside = (words[: span[0]], words[span[1] :])
    return any(_spans(part, [name]) for part in beside for name in names)


def _is_alone(words: Sequence[str], span: Span) -> bool:
    """Return True if no word beside a span says something about the task."""
    beside = [*words[: span[0]], *words[span[1] :]]
    return all(word in _FILLERS or word.isdigit() for word in beside)


@functools.cache
def _words_of_task(task: str) -> list[str]:
    """Return the words of a task's name, without its suite and version."""
    return _words(_VERSION.sub("", task.partition("/")[2]))


@functools.cache
def _longer_names(task: str) -> list[list[str]]:
    """Return the words of the registered tasks whose names contain the words of a task, and more."""
    name = "".join(_words_of_task(task))
    others = [_words_of_task(other) for other in task_names()]
    return [other for other in others if name in (written := "".join(other)) and written != name]
