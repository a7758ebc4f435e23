"""The answers of the console to a browser: the table of runs, their metrics, and the pages of each run."""

from __future__ import annotations

import functools
import hashlib
import json
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gato_jax.reports.configuration import read_configuration
from gato_jax.reports.errors import ReportError
from gato_jax.reports.templates import page_environment
from gato_jax.runtime.sessions import FILE as SESSIONS
from gato_jax.web.console import run_pages
from gato_jax.web.console.discovery import find_runs
from gato_jax.web.console.page_maker import PageMaker
from gato_jax.web.console.run_facts import RunFacts
from gato_jax.web.local_server import Page

_POINTS = 2000  # the most points of a curve


class Console:
    """The pages of the runs of a folder, for `LocalServer`.

    A request names a run by its name in `find_runs`, and nothing else of the disk is reached:

        /                                                 table of the runs and their curves
        /runs                                             facts of all runs, JSON
        /metrics?run=&keys=[...]&since=&generation=       curves of a run after a place in its metrics, JSON
        /run?run=                                         page of a run
        /facts?run=                                       facts of a run, with its config and sessions, JSON
        /report?run=, /films?run=, /tokens?run=&row=&rows=  pages that are made on request, in the background

    Args:
      folder: A run, or a folder of runs.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._facts: dict[str, RunFacts] = {}
        self._lock = threading.Lock()
        self._maker = PageMaker()
        self._templates = page_environment(Path(__file__).parent)

    def page(self, path: str, query: Mapping[str, str]) -> Page | None:
        """Return the answer to a request, None if there is no such page or run."""
        if path == "/":
            return _html(self._templates.get_template("index.html").render(folder=str(self.folder)))
        if path == "/runs":
            return _json({"runs": [facts.read() for facts in self._refresh().values()]})
        answers: dict[str, Callable[[RunFacts, Mapping[str, str]], Page]] = {
            "/metrics": self._metrics, "/run": self._run, "/facts": self._about, "/report": self._report,
            "/films": self._films, "/tokens": self._tokens,
        }  # fmt: skip
        if path not in answers:
            return None
        run = self._find(query.get("run", ""))
        return None if run is None else answers[path](run, query)

    def _refresh(self) -> dict[str, RunFacts]:
        """Return {name: facts} of the runs that are there now."""
        found = find_runs(self.folder)
        with self._lock:
            kept = {name: facts for name, facts in self._facts.items() if found.get(name) == facts.folder}
            self._facts = {name: kept.get(name) or RunFacts(name, folder) for name, folder in found.items()}
            return self._facts

    def _find(self, name: str) -> RunFacts | None:
        known = self._facts.get(name)
        if known is None or not known.folder.is_dir():
            known = self._refresh().get(name)
        return known

    def _metrics(self, run: RunFacts, query: Mapping[str, str]) -> Page:
        run.tail.advance()
        try:
            keys = json.loads(query.get("keys", "[]"))
        except ValueError:
            keys = []
        keys = [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
        points = max(10, min(_POINTS, _whole(query.get("points", ""), 600)))
        since = _whole(query.get("since", ""), 0)
        return _json(run.tail.curves(keys, since=since, generation=query.get("generation", ""), points=points))

    def _run(self, run: RunFacts, query: Mapping[str, str]) -> Page:
        return _html(self._templates.get_template("run.html").render(name=run.name, folder=str(run.folder)))

    def _about(self, run: RunFacts, query: Mapping[str, str]) -> Page:
        facts = run.read()
        try:
            config = read_configuration(run.folder)
        except ReportError:  # the facts name it among the problems
            config = {}
        return _json(
            facts
            | {
                "config": config,
                "sessions": _read_sessions(run.folder),
                "report": _digest(run_pages.sign_report(run.folder)),
                "films": _digest(run_pages.sign_films(run.folder)),
            }
        )

    def _report(self, run: RunFacts, query: Mapping[str, str]) -> Page:
        make = functools.partial(run_pages.make_report, run.folder)
        return self._made("report", run, run_pages.sign_report(run.folder), make)

    def _films(self, run: RunFacts, query: Mapping[str, str]) -> Page:
        make = functools.partial(run_pages.make_films, run.folder)
        return self._made("films", run, run_pages.sign_films(run.folder), make)

    def _tokens(self, run: RunFacts, query: Mapping[str, str]) -> Page:
        first, count = _whole(query.get("row", ""), 0), max(1, _whole(query.get("rows", ""), 4))
        make = functools.partial(run_pages.make_tokens, run.folder, first, count)
        return self._made("tokens", run, run_pages.sign_tokens(run.folder), make, first, count)

    def _made(
        self, kind: str, run: RunFacts, signature: run_pages.Signature, make: Callable[[], str], *more: int
    ) -> Page:
        made = self._maker.get((kind, str(run.folder), *more), signature, make)
        if made is None:
            return _html(run_pages.notice("Being made", f"{run.name}: {kind}. This may take a minute.", again=True))
        return _html(made.html or run_pages.notice("Cannot be made", made.problem or ""))


def _read_sessions(folder: Path) -> list[dict[str, str]]:
    """Return the texts on each process that made a run; lines that are no JSON objects are left out."""
    try:
        lines = (folder / SESSIONS).read_bytes().split(b"\n")[:-1]
    except OSError:
        return []
    sessions = []
    for line in lines:
        try:
            fields = json.loads(line)
        except ValueError:
            continue
        if isinstance(fields, dict):
            sessions.append({key: value for key, value in fields.items() if isinstance(value, str)})
    return sessions


def _whole(text: str, default: int) -> int:
    """Return the whole number that a text of a query is, `default` if it is none."""
    return int(text) if text.isascii() and text.removeprefix("-").isdecimal() and len(text) < 16 else default


def _digest(signature: object) -> str:
    return hashlib.sha256(repr(signature).encode("utf-8", "replace")).hexdigest()[:16]


def _html(text: str) -> Page:
    return Page(text.encode("utf-8", "replace"))


def _json(value: Any) -> Page:
    return Page(json.dumps(value, allow_nan=False).encode(), "application/json")
