"""Account of the paper's 604 tasks: which of them run here, which have a substitute, and why the others do not run."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from gato_jax.environments import registry
from gato_jax.environments.paper.tasks import DOMAINS, HELD_OUT, Domain

STATES: tuple[registry.Status, ...] = ("runnable", "substitute", "unavailable")
_HELD_OUT_KEY = "held_out"


@dataclasses.dataclass(frozen=True, kw_only=True)
class PaperTask:
    """One of the paper's tasks, or one that it holds out.

    Attributes:
      domain: Key of its row of Table 1; `held_out` for a task that is held out.
      name: Name of the task.
      status: "runnable", "substitute" or "unavailable". A dataset is runnable if a source reads it.
      runs: Task of the registry, or source of data, that is it or stands for it; None if it is unavailable.
      reason: Reason why it is unavailable; "" otherwise.
    """

    domain: str
    name: str
    status: registry.Status
    runs: str | None = None
    reason: str = ""


def account() -> list[PaperTask]:
    """Return the 604 tasks in the order of Table 1, with their status on this machine."""
    return [_describe(key, domain, task) for key, domain in DOMAINS.items() for task in domain.tasks]


def held_out() -> list[PaperTask]:
    """Return the tasks of section 5.2 with their status on this machine."""
    return [_describe(_HELD_OUT_KEY, DOMAINS["dm_lab"], task) for task in HELD_OUT]


def to_json(tasks: Sequence[PaperTask]) -> dict[str, Any]:
    """Return the tasks as a dict for JSON: `domains` with the numbers of each, `tasks`, and `held_out`."""
    counts = _count(tasks)
    domains = [
        {"domain": key, "title": domain.title, "tasks": len(domain.tasks), "chosen": domain.chosen} | counts[key]
        for key, domain in DOMAINS.items()
        if key in counts
    ]
    rows = [dataclasses.asdict(task) for task in tasks]
    return {"domains": domains, "tasks": rows, "held_out": [dataclasses.asdict(task) for task in held_out()]}


def format_account(tasks: Sequence[PaperTask]) -> list[str]:
    """Return the lines that `gato tasks --paper` prints: one for each task, then a table of the domains.

    Consecutive tasks that the paper does not name share a line.
    """
    lines = []
    for (name, *_), group in itertools.groupby(tasks, key=_printed):
        same = list(group)
        lines.append(_line(name if len(same) == 1 else f"{name} ({len(same)})", same[0]))
    counts = _count(tasks)
    lines += ["", f"{'domain of Table 1':<32}{'tasks':>6}" + "".join(f"{state:>13}" for state in STATES)]
    for key, states in counts.items():
        lines.append(_row(DOMAINS[key].title, states) + ("   list: ours" if DOMAINS[key].chosen else ""))
    lines.append(_row("total", {state: sum(states[state] for states in counts.values()) for state in STATES}))
    lines += ["", "held out (section 5.2)", *(_line(task.name, task) for task in held_out())]
    chosen = [f"{DOMAINS[key].title}: {DOMAINS[key].chosen}." for key in counts if DOMAINS[key].chosen]
    return lines + (["", "lists that are ours, since the paper publishes their lengths alone"] + _wrap(chosen))


def _describe(key: str, domain: Domain, name: str) -> PaperTask:
    if reader := domain.readers.get(name):
        return PaperTask(domain=key, name=name, status="runnable", runs=reader)
    runs = domain.substitutes.get(name, name)
    if name in domain.substitutes and ":" in runs:  # a source of data
        return PaperTask(domain=key, name=name, status="substitute", runs=runs)
    if runs not in _registered():
        return PaperTask(domain=key, name=name, status="unavailable", reason=domain.why)
    status, reason = registry.status(runs)
    if status == "unavailable":
        return PaperTask(domain=key, name=name, status=status, reason=reason if runs == name else f"{runs}: {reason}")
    return PaperTask(domain=key, name=name, status=status if runs == name else "substitute", runs=runs)


@functools.cache
def _registered() -> frozenset[str]:
    return frozenset(registry.task_names())


def _count(tasks: Iterable[PaperTask]) -> dict[str, dict[str, int]]:
    """Return {domain: {status: number of tasks}} of the domains of the tasks."""
    counts: dict[str, dict[str, int]] = {}
    for task in tasks:
        counts.setdefault(task.domain, dict.fromkeys(STATES, 0))[task.status] += 1
    return counts


def _printed(task: PaperTask) -> tuple[str, str, str]:
    """Return the name that is printed, the same for all levels that have a number only, the status and the reason."""
    return task.name.rstrip("0123456789") if "/unnamed_" in task.name else task.name, task.status, task.reason


def _line(name: str, task: PaperTask) -> str:
    note = task.reason or (f"by {task.runs}" if task.runs != task.name else "")
    return f"{name:<48} {task.status:<12} {note}".rstrip()


def _row(title: str, states: dict[str, int]) -> str:
    return f"{title:<32}{sum(states.values()):>6}" + "".join(f"{states[state]:>13}" for state in STATES)


def _wrap(texts: Iterable[str]) -> list[str]:
    return [line for text in texts for line in textwrap.wrap(text, 118, initial_indent="  ", subsequent_indent="    ")]
