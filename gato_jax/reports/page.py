"""The HTML report of a training run: one self-contained page, built from the files in the run's folder."""

from __future__ import annotations

import collections
import dataclasses
import functools
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from markupsafe import Markup

from gato_jax.reports import glyphs, strips, summary
from gato_jax.reports.animations import Animation, animate
from gato_jax.reports.annotations.drawings import attention_picture, probability_strips
from gato_jax.reports.held_out.section import error_details, films
from gato_jax.reports.plots import Series, end_width, line_chart
from gato_jax.reports.reading import read_run
from gato_jax.reports.run import FineTuning, Rollout, Run, TaskScore
from gato_jax.reports.scores.section import order_tasks, scores_section
from gato_jax.reports.templates import page_environment
from gato_jax.runtime.paths import as_path

_HERE = Path(__file__).parent
_PAGE_BYTES, _ROLLOUT_BYTES = 6_000_000, 600_000  # size limits of all animations together and of each one
_ROLLOUTS, _CAPTIONS, _DIALOGUES = 24, 24, 12  # the most of each that a page shows
_CURVES = 12  # above this number of datasets, the loss chart draws one mean curve for each suite


@dataclasses.dataclass(frozen=True, kw_only=True)
class _RolloutCard:
    """One rollout with the drawings that the page shows of it, and its task's scores (`task`)."""

    rollout: Rollout
    task: TaskScore
    animation: Animation
    actions: Markup
    rewards: Markup
    chances: Markup | None
    attention: tuple[str, str] | None
    shares: list[tuple[str, float, str]]


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Curve:
    """An SVG chart and its curves; `ends` is the width in pixels of the labels at their ends, 0 for none."""

    chart: Markup
    series: Sequence[Series]
    ends: int


def write_report(workdir: Path, output: Path | None = None) -> Path:
    """Write the report of a run, in place of an older one, and return the path of its file.

    Args:
      workdir: the folder of a run that was trained and evaluated.
      output: the file. Default: report.html in `workdir`.

    Raises:
      ReportError: the folder or a file of the run is missing, or a file is malformed; the message names the folder or
        file and the remedy.
    """
    path = as_path(workdir) / "report.html" if output is None else as_path(output)
    page = render(read_run(workdir))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def render(run: Run) -> str:
    """Return the HTML page of a run, with style, drawings and animations in it."""
    environment = page_environment(_HERE / "scores", _HERE / "held_out")
    known = glyphs.scripts_of([*(c.truth for c in run.captions), *(d.prompt + d.truth for d in run.dialogue)])
    marked = functools.partial(glyphs.mark_rare, known=known)
    environment.filters |= {"marked": marked}
    curves = {"loss": _loss(run, "loss"), "held_loss": _loss(run, "held_out"), "tuning": _tuning(run.finetuning)}
    return environment.get_template("report.html").render(
        run=run,
        results=run.results,
        making=run.making,
        tuned=run.finetuning,
        versions=", ".join(f"{name} {version}" for name, version in run.making.versions.items()),
        sections=[(anchor, name) for anchor, name, there in _sections(run) if there],
        missing=[name for _, name, there in _OPTIONAL if not there(run)],
        played_by=_played_by(run),
        headline=_headline(run),
        section=scores_section(run.results),
        error_details=error_details(run.results.held_out),
        films=films(run.predictions),
        beats_constant=[t for t in run.results.tasks if t.constant is not None and t.agent > t.constant],
        has_constant=[t for t in run.results.tasks if t.constant is not None],
        **curves,
        indices=sorted({str(s.index) for curve in curves.values() if curve for s in curve.series}),
        throughput=_single(run, "tokens_per_second", "Tokens per second"),
        learning_rate=_single(run, "learning_rate", "Learning rate", noisy=False),
        cards=_cards(run),
        captions=run.captions[:_CAPTIONS],
        dialogue=run.dialogue[:_DIALOGUES],
        heaviest=max((d.weight or 0.0 for d in run.data), default=0.0),
        stage_seconds=sum(run.making.stages.values()),
    )


_OPTIONAL = (
    ("held", "held-out data", lambda run: bool(run.results.held_out)),
    ("rollouts", "rollouts", lambda run: bool(run.rollouts)),
    ("captions", "captions", lambda run: bool(run.captions)),
    ("dialogue", "dialogue", lambda run: bool(run.dialogue)),
)  # parts of a report that an evaluation may leave out: anchor, name, and whether the run has it


def _sections(run: Run) -> Iterator[tuple[str, str, bool]]:
    """Yield the anchor and the name of each section of the page, and whether the run has any content for it."""
    yield "curve", "Learning curve", run.finetuning is not None
    yield "scores", "Scores", bool(run.results.tasks)
    held, *samples = ((anchor, name.capitalize(), there(run)) for anchor, name, there in _OPTIONAL)
    yield held
    yield "training", "Training", True
    yield from samples
    yield "data", "Data", bool(run.data)
    making = run.making
    yield "making", "Run", bool(making.command or making.stages or making.machine)
    yield "configuration", "Configuration", bool(run.configuration)


def _headline(run: Run) -> str:
    if run.results.tasks:
        return summary.headline(run.results)
    return (
        summary.held_out_headline(run.results)
        if run.finetuning is None
        else summary.finetuning_headline(run.finetuning)
    )


def _played_by(run: Run) -> str:
    """Return a clause on the agent that was scored, like ", those of step 600, at temperature 1"; "" if unknown."""
    steps = sorted({task.step for task in run.results.tasks if task.step is not None})
    temperatures = sorted({task.temperature for task in run.results.tasks if task.temperature is not None})
    words = [f", those of step {' and '.join(map(summary.number, steps))}"] if steps else []
    words += [f", at temperature {' and '.join(map(summary.number, temperatures))}"] if temperatures else []
    return "".join(words)


def _loss(run: Run, quantity: str) -> _Curve | None:
    """Draw a loss with a curve for each dataset, or for each suite if more than 12 datasets have losses.

    Args:
      run: the run.
      quantity: "loss", of training, which also has a curve of all datasets together, or "held_out".

    Returns:
      The chart, or None if the quantity was not logged.
    """
    parts = {k.removeprefix(f"{quantity}/"): v for k, v in run.metrics.items() if k.startswith(f"{quantity}/")}
    if len(parts) > _CURVES:
        parts = _suite_means(parts)
    noisy = quantity == "loss"
    series = [
        Series(name=name, x=parts[name][0], y=parts[name][1], index=i, noisy=noisy)
        for i, name in enumerate(sorted(parts))
    ]
    if quantity in run.metrics and len(parts) != 1:  # the loss of a single dataset is that of all together
        series.insert(0, Series(name="all together", x=run.metrics[quantity][0], y=run.metrics[quantity][1]))
    label = "Training loss over steps" if noisy else "Loss on held-out data over steps"
    return _curve(series, label=label, height=320, log=True, end_labels=True) if series else None


def _tuning(tuned: FineTuning | None) -> _Curve | None:
    """Draw the learning curve of fine-tuning; None for another run, or if the agent was not played."""
    if tuned is None or not tuned.curve:
        return None
    named = (("each evaluation", tuned.curve, 0), ("moving average", tuned.smoothed, None))
    series = [
        Series(
            name=name, x=np.array([p.step for p in points], float), y=np.array([p.mean for p in points], float),
            index=index, noisy=False,
        )
        for name, points, index in named
        if points
    ]  # fmt: skip
    return _curve(series, label="Score over training steps", height=240, end_labels=True)


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


def _curve(series: list[Series], *, end_labels: bool = False, **options) -> _Curve:
    chart = line_chart(series, end_labels=end_labels, **options)
    return _Curve(chart=chart, series=series, ends=end_width(series) if end_labels else 0)


def _cards(run: Run) -> list[_RolloutCard]:
    """Return a card for each rollout that is shown, at most 24, in the order of the score table.

    If there are more rollouts than the page shows, each suite gives its
    first before any suite gives its second.
    """
    known = {task.task: task for task in order_tasks(run.results)}
    place = {name: index for index, name in enumerate(known)}
    rollouts = sorted(run.rollouts, key=lambda rollout: place[rollout.task])
    seen: collections.Counter[str] = collections.Counter()
    ranks = []  # position of each rollout among those of its suite
    for rollout in rollouts:
        ranks.append(seen[_suite(rollout.task)])
        seen[_suite(rollout.task)] += 1
    chosen = sorted(sorted(range(len(rollouts)), key=lambda index: ranks[index])[:_ROLLOUTS])
    return [_card(rollouts[i], known[rollouts[i].task], _PAGE_BYTES // len(chosen)) for i in chosen]


def _card(rollout: Rollout, task: TaskScore, budget_bytes: int) -> _RolloutCard:
    seen = rollout.annotations
    return _RolloutCard(
        rollout=rollout,
        task=task,
        animation=animate(rollout.frames, min(budget_bytes, _ROLLOUT_BYTES)),
        actions=strips.action_strip(rollout),
        rewards=strips.reward_strip(rollout),
        chances=probability_strips(seen, rollout.actions, rollout.action_names) if seen else None,
        attention=attention_picture(seen) if seen else None,
        shares=strips.action_shares(rollout) if rollout.discrete else [],
    )
