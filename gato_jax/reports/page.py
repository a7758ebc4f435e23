"""The HTML report of a training run: one self-contained page, built from the files in the run's folder."""

from __future__ import annotations

import collections
import dataclasses
import re
from pathlib import Path

import jinja2
import numpy as np
from markupsafe import Markup

from gato_jax.reports import strips, summary
from gato_jax.reports.animations import Animation, animate
from gato_jax.reports.plots import Series, line_chart
from gato_jax.reports.reading import read_run
from gato_jax.reports.run import Rollout, Run, TaskScore
from gato_jax.runtime.paths import as_path

_PAGE_BYTES, _ROLLOUT_BYTES = 6_000_000, 600_000  # size limits of all animations together and of each one
_ROLLOUTS, _CAPTIONS, _DIALOGUES = 24, 24, 12  # the most of each that a page shows
_CURVES = 12  # above this number of datasets, the loss chart draws one mean curve for each suite


@dataclasses.dataclass(frozen=True, kw_only=True)
class _RolloutCard:
    """One rollout with the drawings that the page shows of it, and its task's scores (`task`; None without scores)."""

    rollout: Rollout
    task: TaskScore | None
    animation: Animation
    actions: Markup
    rewards: Markup
    shares: list[tuple[str, float, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Curve:
    """An SVG chart and its legend, which pairs each curve with its last finite smoothed value."""

    chart: Markup
    legend: list[tuple[Series, float]]


def write_report(workdir: Path) -> Path:
    """Write the report of a run to `workdir`/report.html, in place of an older one, and return the path of that file.

    Args:
      workdir: the folder of a run that was trained and evaluated.

    Raises:
      ReportError: the folder or a file of the run is missing, or a file is malformed; the message names the folder or
        file and the remedy.
    """
    path = as_path(workdir) / "report.html"
    path.write_text(render(read_run(workdir)), encoding="utf-8")
    return path


def page_environment(*folders: Path) -> jinja2.Environment:
    """Return a Jinja environment for the pages of reports.

    It finds templates in `folders` first, then in the folder of this module, which holds the base page and the style
    sheet. It escapes values for HTML, and an undefined variable is an error. Its filters `number`, `short`, `duration`
    and `interval` are the functions of `reports.summary`.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([*folders, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {name: getattr(summary, name) for name in ("number", "short", "duration", "interval")}
    return environment


def render(run: Run) -> str:
    """Return the HTML page of a run, with style, drawings and animations in it."""
    environment = page_environment()
    environment.filters |= {"score": summary.score, "percent": "{:.0%}".format}
    low, high = strips.bar_range(run.results.tasks)
    return environment.get_template("report.html").render(
        run=run,
        results=run.results,
        making=run.results.making,
        headline=summary.headline(run.results),
        rows=[(task, strips.score_bar(task, low, high)) for task in run.results.tasks],
        bar_range=(low, high),
        beats_constant=[t for t in run.results.tasks if t.constant is not None and t.agent > t.constant],
        has_constant=[t for t in run.results.tasks if t.constant is not None],
        loss=_loss(run),
        throughput=_single(run, "tokens_per_second", "Tokens per second"),
        learning_rate=_single(run, "learning_rate", "Learning rate", noisy=False),
        cards=_cards(run),
        captions=run.captions[:_CAPTIONS],
        dialogue=run.dialogue[:_DIALOGUES],
        heaviest=max((d.weight or 0.0 for d in run.data), default=0.0),
        stage_seconds=sum(run.results.making.stages.values()),
    )


def _loss(run: Run) -> _Curve:
    """Draw the total loss with a curve for each dataset, or for each suite if more than 12 datasets have losses."""
    parts = {key.removeprefix("loss/"): value for key, value in run.metrics.items() if key.startswith("loss/")}
    if len(parts) > _CURVES:
        parts = _suite_means(parts)
    order = sorted(parts)
    series = [Series(name="all together", x=run.metrics["loss"][0], y=run.metrics["loss"][1])]
    series += [Series(name=name, x=parts[name][0], y=parts[name][1], index=i) for i, name in enumerate(order)]
    return _curve(series, label="Training loss over steps", height=320, log=True)


def _suite_means(parts: dict[str, tuple[np.ndarray, np.ndarray]]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return {suite: (steps, mean losses)} from {dataset: (steps, losses)}.

    A suite is the beginning of a dataset's name, as `_suite` returns it. Its steps are all at which one of its datasets
    was logged, ascending, and a mean is over the datasets that were logged at this step.
    """
    means = {}
    for suite in {_suite(name) for name in parts}:
        steps, values = (
            np.concatenate(c) for c in zip(*(v for k, v in parts.items() if _suite(k) == suite), strict=True)
        )
        logged, index = np.unique(steps, return_inverse=True)
        means[suite] = (logged, np.bincount(index, weights=values) / np.bincount(index))
    return means


def _suite(name: str) -> str:
    """Return the part of a task's or dataset's name before the first `/` or `__`, or the whole name without one."""
    return re.split("/|__", name)[0]


def _single(run: Run, key: str, label: str, noisy: bool = True) -> _Curve | None:
    if key not in run.metrics:
        return None
    steps, values = run.metrics[key]
    series = Series(name=label, x=steps, y=values, noisy=noisy)
    return _curve([series], label=f"{label} over steps", height=150, zero=True)


def _curve(series: list[Series], **options) -> _Curve:
    return _Curve(chart=line_chart(series, **options), legend=[(s, s.last) for s in series])


def _cards(run: Run) -> list[_RolloutCard]:
    """Return a card for each rollout that is shown, at most 24, in the order of the score table.

    Rollouts of tasks without a score come last. If there are more rollouts than the page shows, each suite gives its
    first before any suite gives its second.
    """
    scores = {task.task: task for task in run.results.tasks}
    place = {name: index for index, name in enumerate(scores)}
    rollouts = sorted(run.rollouts, key=lambda r: place.get(r.task, len(place)))
    seen: collections.Counter[str] = collections.Counter()
    ranks = []  # position of each rollout among those of its suite
    for rollout in rollouts:
        ranks.append(seen[_suite(rollout.task)])
        seen[_suite(rollout.task)] += 1
    chosen = sorted(sorted(range(len(rollouts)), key=lambda index: ranks[index])[:_ROLLOUTS])
    return [_card(rollouts[i], scores.get(rollouts[i].task), _PAGE_BYTES // len(chosen)) for i in chosen]


def _card(rollout: Rollout, task: TaskScore | None, budget_bytes: int) -> _RolloutCard:
    return _RolloutCard(
        rollout=rollout,
        task=task,
        animation=animate(rollout.frames, min(budget_bytes, _ROLLOUT_BYTES)),
        actions=strips.action_strip(rollout),
        rewards=strips.reward_strip(rollout),
        shares=strips.action_shares(rollout) if rollout.discrete else [],
    )
