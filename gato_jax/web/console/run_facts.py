"""The facts about a run that the table of runs shows, read from its files while these may be written."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from gato_jax.episodes.errors import describe_error
from gato_jax.reports import summary
from gato_jax.reports.errors import ReportError
from gato_jax.reports.reading import read_results
from gato_jax.reports.run import Results
from gato_jax.runtime.sessions import FILE as SESSIONS
from gato_jax.web.console.discovery import METRICS, read_state
from gato_jax.web.console.metrics_tail import MetricsTail

_SPARKLINE = 60  # points of a small curve
_END = 65_536  # bytes at the end of metrics.jsonl that are searched for its last line first

_Value = TypeVar("_Value")


class RunFacts:
    """Reader of the facts about one run; files that did not change are not read again.

    Args:
      name: Name of the run.
      folder: Its folder.

    Attributes:
      tail: The metrics of the run.
    """

    def __init__(self, name: str, folder: Path):
        self.name, self.folder = name, folder
        self.tail = MetricsTail(folder / METRICS)
        self._read: dict[str, tuple[tuple[int, int, int], Any]] = {}

    def read(self) -> dict[str, Any]:
        """Return the facts as JSON; what cannot be read is None and has a sentence in `problems`."""
        problems: list[str] = []
        state = read_state(self.folder)
        last = self._attempt(problems, METRICS, _last_line) or {}
        config = self._attempt(problems, "config.json", _read_object) or {}
        started = self._attempt(problems, SESSIONS, _first_start)
        score = self._attempt(problems, "results.json", lambda path: newest_score(read_results(path.parent)))
        try:
            self.tail.advance()
        except OSError as error:
            problems.append(f"{METRICS} cannot be read ({describe_error(error)}). Change its permissions.")
        curve = self.tail.curves(["loss"], points=_SPARKLINE)["curves"].get("loss", {"mean": []})
        age = self._age(METRICS)
        return {
            "name": self.name,
            "state": state.name,
            "note": state.note,
            "step": _number(last.get("step")),
            "steps": _number(config.get("steps")),
            "loss": _number(last.get("loss")),
            "tokens_per_second": _number(last.get("tokens_per_second")),
            "tokens": _number(last.get("tokens")),
            "seconds": _number(last.get("seconds")),
            "age": age,
            "started": started,
            "score": score or _score_in_training(last),
            "curve": curve["mean"],
            "read": self.tail.offset / self.tail.size if self.tail.size else 1.0,
            "problems": problems + self.tail.problems(),
        }

    def _attempt(self, problems: list[str], file: str, read: Callable[[Path], _Value]) -> _Value | None:
        """Return what `read` makes of a file of the run; None without the file, or if it fails, which is a problem."""
        path = self.folder / file
        try:
            found = path.stat()
            stamp = (found.st_ino, found.st_size, found.st_mtime_ns)
            if self._read.get(file, (None,))[0] != stamp:
                self._read[file] = (stamp, read(path))
            return self._read[file][1]
        except FileNotFoundError:
            return None
        except ReportError as error:
            problems.append(str(error))
        except (OSError, ValueError, TypeError, KeyError) as error:
            problems.append(f"{file} cannot be read ({describe_error(error)}).")
        return None

    def _age(self, file: str) -> float | None:
        try:
            return max(0.0, time.time() - (self.folder / file).stat().st_mtime)
        except OSError:
            return None


def newest_score(results: Results) -> dict[str, Any] | None:
    """Return the score of an evaluation in a few words as JSON: `text`, `interval` and `of`; None without one.

    It is the mean normalised score of several tasks, the score of one task, or an error on held-out data.
    """
    whole = results.aggregate
    if whole.mean is not None:
        interval = summary.shares(whole.mean_ci) if whole.mean_ci else ""
        tasks = summary.pluralize(whole.tasks or len(results.tasks), "task")
        return {"text": summary.share(whole.mean), "interval": interval, "of": f"mean of {tasks}, expert = 100%"}
    if results.tasks:
        task = results.tasks[0]
        others = f" and {len(results.tasks) - 1} more" if len(results.tasks) > 1 else ""
        interval = [summary.score(end, task.metric) for end in task.agent_ci or ()]
        text = summary.score(task.agent, task.metric)
        return {"text": text, "interval": " to ".join(interval), "of": f"{task.task}{others}"}
    if results.held_out:
        held = results.held_out[0]
        return {"text": summary.number(held.value), "interval": "", "of": f"{held.metric}, {held.name}"}
    return None


def _score_in_training(last: dict[str, Any]) -> dict[str, Any] | None:
    """Return the score of the newest line of metrics, if the agent was played in training."""
    scores = [value for key, value in last.items() if key.startswith("rollout/") and _number(value) is not None]
    if not scores:
        return None
    text = summary.number(sum(scores) / len(scores))
    return {"text": text, "interval": "", "of": f"{summary.pluralize(len(scores), 'task')}, played in training"}


def _last_line(path: Path) -> dict[str, Any]:
    """Return the last whole line of a file of JSON objects that is one, {} if there is none near the end."""
    size = path.stat().st_size
    with path.open("rb") as file:
        for length in (_END, 32 * _END):
            file.seek(max(0, size - length))
            for line in reversed(file.read(length).split(b"\n")[:-1]):
                try:
                    fields = json.loads(line)
                except ValueError:  # a damaged line, which the tail tells of, or the cut end of one
                    continue
                if isinstance(fields, dict):
                    return fields
    return {}


def _read_object(path: Path) -> dict[str, Any]:
    fields = json.loads(path.read_bytes())
    if not isinstance(fields, dict):
        raise ReportError(f"{path.name} is {fields!r:.40}, expected a JSON object.")
    return fields


def _first_start(path: Path) -> str | None:
    with path.open("rb") as file:
        line = file.readline()
    return str(json.loads(line)["started"]) if line.endswith(b"\n") else None


def _number(value: Any) -> float | int | None:
    """Return a finite number, None for anything else."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return value if is_number and abs(value) < float("inf") else None
