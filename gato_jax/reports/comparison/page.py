"""The HTML page that compares runs: one self-contained page, built from the files in their folders."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from markupsafe import Markup

from gato_jax.reports.comparison.differences import Difference, mean_difference, task_difference
from gato_jax.reports.comparison.runs import ComparedRun, read_compared_runs
from gato_jax.reports.configuration import differing_keys
from gato_jax.reports.plots import Series, end_width, line_chart
from gato_jax.reports.run import TaskScore
from gato_jax.reports.scores.records import Aggregate, Interval
from gato_jax.reports.summary import number, score, share
from gato_jax.reports.templates import page_environment
from gato_jax.runtime.paths import as_path

_SMALL_CHARTS = 24  # the most charts of single datasets and tasks
_AGGREGATES = (("mean", "mean"), ("iqm", "interquartile mean"), ("share_at_50", "tasks at half of the expert"))


@dataclasses.dataclass(frozen=True, kw_only=True)
class Cell:
    """One score of one run; `text` is "-" where there is none.

    Attributes:
      text: the score.
      interval: its 95% interval; "" if it is not known.
      difference: from the first run, such as "+0.12"; "" in the first run and where one has no score.
      difference_interval: its 95% interval; "" if it is not known.
      sign: 1 where the difference is above 0 within its interval, -1 below, 0 otherwise.
    """

    text: str = "-"
    interval: str = ""
    difference: str = ""
    difference_interval: str = ""
    sign: int = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One quantity, with a cell of each run and a drawing of all of them; an empty drawing without a scale."""

    name: str
    note: str
    drawing: Markup
    cells: tuple[Cell, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chart:
    """Curves of all runs that logged a quantity."""

    title: str
    chart: Markup
    series: tuple[Series, ...]
    ends: int


def write_comparison(workdirs: Sequence[Path], output: Path | None = None) -> Path:
    """Write a page that compares runs, and return the path of its file.

    Args:
      workdirs: folders of two or more runs; the others are compared with the first.
      output: the file, in place of an older one. Default: comparison.html in the folder of the first run.

    Raises:
      ReportError: a folder or a file of a run is missing, or a file is malformed.
    """
    runs = read_compared_runs(workdirs)
    path = as_path(output) if output is not None else as_path(workdirs[0]) / "comparison.html"
    page = render_comparison(runs)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")
    return path


def render_comparison(runs: Sequence[ComparedRun]) -> str:
    """Return the HTML page that compares runs."""
    charts = _charts(runs)
    return (
        page_environment(Path(__file__).parent)
        .get_template("comparison.html")
        .render(
            runs=runs,
            headline=comparison_headline(runs),
            differences=differing_keys([run.configuration for run in runs]),
            main_charts=[chart for key, chart in charts if key in ("loss", "held_out")],
            small_charts=[chart for key, chart in charts if key not in ("loss", "held_out")][:_SMALL_CHARTS],
            left_out=max(0, len(charts) - 2 - _SMALL_CHARTS),
            aggregates=_aggregate_rows(runs),
            domains=_domain_rows(runs),
            tasks=_task_rows(runs),
            held_out=_held_out_rows(runs),
        )
    )


def comparison_headline(runs: Sequence[ComparedRun]) -> str:
    """Return a sentence on the largest difference of the mean from the first run, without a full stop.

    For example: "3 runs: rope is 0.12 above base (95%: 0.05 to 0.18)". Without common scored tasks it counts the runs.
    """
    first, *others = runs
    found = [(run, mean_difference(first.results.tasks, run.results.tasks)) for run in others]
    known = [(run, difference) for run, difference in found if difference is not None]
    if not known:
        return f"{len(runs)} runs, and no tasks that they can be compared on"
    run, difference = max(known, key=lambda item: abs(item[1].value))
    interval = "" if difference.low is None else f" (95%: {difference.low:+.2f} to {difference.high:+.2f})"
    side = "above" if difference.value >= 0 else "below"
    return f"{len(runs)} runs: {run.name} is {abs(difference.value):.2f} {side} {first.name}{interval}"


def _charts(runs: Sequence[ComparedRun]) -> list[tuple[str, Chart]]:
    """Return (quantity, chart) of the losses and scores that were logged in training: all together, then each part."""
    keys = dict.fromkeys(key for run in runs for key in run.metrics if re.match(r"(loss|held_out|rollout)(/|$)", key))
    titles = {"loss": "Training loss", "held_out": "Loss on held-out data", "rollout": "Score in training"}
    ordered = sorted(keys, key=lambda key: ("/" in key, list(titles).index(key.split("/")[0]), key))
    return [(key, _chart(runs, key, titles)) for key in ordered]


def _chart(runs: Sequence[ComparedRun], key: str, titles: dict[str, str]) -> Chart:
    kind, _, part = key.partition("/")
    series = tuple(
        Series(name=run.name, x=run.metrics[key][0], y=run.metrics[key][1], index=index, noisy=kind == "loss")
        for index, run in enumerate(runs)
        if key in run.metrics
    )
    title = f"{titles[kind]}: {part}" if part else titles[kind]
    drawn = line_chart(
        series, label=f"{title} over steps", height=150 if part else 300, log=kind != "rollout", end_labels=not part
    )
    return Chart(title=title, chart=drawn, series=series, ends=0 if part else end_width(series))


def _aggregate_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    """Return the rows of the aggregates over all tasks of each run; the difference of the mean is over common tasks."""
    rows = []
    for key, name in _AGGREGATES:
        aggregates = [run.results.aggregate for run in runs]
        differences = [
            mean_difference(runs[0].results.tasks, run.results.tasks) if key == "mean" else _plain(aggregates, i, key)
            for i, run in enumerate(runs)
        ]
        rows.append(_aggregate_row(name, "", aggregates, key, differences))
    return [row for row in rows if any(cell.text != "-" for cell in row.cells)]


def _plain(aggregates: Sequence[Aggregate], index: int, key: str) -> Difference | None:
    first, other = (getattr(aggregates[place], key) for place in (0, index))
    return None if first is None or other is None else Difference(other - first)


def _domain_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    names = dict.fromkeys(name for run in runs for name, domain in run.results.domains.items() if domain.tasks)
    return [
        _aggregate_row(
            name, "mean", [run.results.domains.get(name, Aggregate()) for run in runs], "mean",
            [mean_difference(*(_of_suite(one, name) for one in (runs[0], run))) for run in runs],
        )
        for name in sorted(names)
    ]  # fmt: skip


def _of_suite(run: ComparedRun, suite: str) -> list[TaskScore]:
    return [task for task in run.results.tasks if task.task.split("/")[0] == suite]


def _aggregate_row(
    name: str, note: str, aggregates: Sequence[Aggregate], key: str, differences: Sequence[Difference | None]
) -> Row:
    values = [getattr(aggregate, key) for aggregate in aggregates]
    intervals = [getattr(aggregate, f"{key}_ci") for aggregate in aggregates]
    return _row(name, note, values, intervals, differences, lambda value: f"{value:.2f}", scaled=True)


def _task_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    """Return a row for each task of any run, the largest difference between two runs first."""
    rows = []
    for name in dict.fromkeys(task.task for run in runs for task in run.results.tasks):
        tasks = [run.tasks.get(name) for run in runs]
        known = [task for task in tasks if task is not None]
        scaled, metric = all(task.normalised is not None for task in known), known[0].metric
        values = [task and (task.normalised if scaled else task.agent) for task in tasks]
        intervals = [task and (task.normalised_ci if scaled else task.agent_ci) for task in tasks]
        first = tasks[0]
        differences = [None if first is None or task is None else task_difference(first, task) for task in tasks]
        present = [value for value in values if value is not None]

        def text(value: float, scaled: bool = scaled, metric: str = metric) -> str:
            return f"{value:.2f}" if scaled else score(value, metric)

        note = metric if scaled else f"{metric}, no scale"
        rows.append((max(present) - min(present), _row(name, note, values, intervals, differences, text, scaled)))
    return [row for _, row in sorted(rows, key=lambda item: (not item[1].drawing, -item[0]))]


def _held_out_rows(runs: Sequence[ComparedRun]) -> list[Row]:
    names = dict.fromkeys((held.name, held.metric) for run in runs for held in run.results.held_out)
    rows = []
    for name, metric in names:
        values = [
            next((held.value for held in run.results.held_out if (held.name, held.metric) == (name, metric)), None)
            for run in runs
        ]
        first = values[0]
        differences = [None if first is None or value is None else Difference(value - first) for value in values]
        rows.append(_row(name, metric, values, [None] * len(runs), differences, number, scaled=False))
    return rows


def _row(
    name: str, note: str, values: Sequence[float | None], intervals: Sequence[Interval | None],
    differences: Sequence[Difference | None], text: Callable[[float], str], scaled: bool,
) -> Row:  # fmt: skip
    cells = []
    for index, (value, interval, difference) in enumerate(zip(values, intervals, differences, strict=True)):
        if value is None:
            cells.append(Cell())
            continue
        shown = difference if index and difference is not None else None
        cells.append(
            Cell(
                text=text(value),
                interval=" to ".join(map(text, interval)) if interval else "",
                difference=_signed(shown.value, scaled) if shown else "",
                difference_interval=(
                    f"{_signed(shown.low, scaled)} to {_signed(shown.high, scaled)}"
                    if shown and shown.low is not None and shown.high is not None
                    else ""
                ),
                sign=shown.sign if shown else 0,
            )
        )
    return Row(name=name, note=note, drawing=_dots(values, intervals) if scaled else Markup(""), cells=tuple(cells))


def _signed(value: float, scaled: bool) -> str:
    return f"{value:+.2f}" if scaled else f"{'+' if value >= 0 else ''}{number(value)}"


def _dots(values: Sequence[float | None], intervals: Sequence[Interval | None], *, gap: int = 11) -> Markup:
    """Draw the normalised scores of all runs as dots with their intervals, one below the other, from -0.06 to 1.3."""
    low, high, height = -0.06, 1.3, gap * (len(values) + 1)

    def at(value: float) -> str:
        return f"{100 * (min(max(value, low), high) - low) / (high - low):.2f}%"

    told = ", ".join("-" if value is None else share(value) for value in values)
    parts = [f'<svg class="bar dots" height="{height}" role="img" aria-label="{told}">']
    parts += [f'<line class="limit" x1="{at(v)}" x2="{at(v)}" y1="2" y2="{height - 2}"/>' for v in (0.0, 1.0)]
    for index, (value, interval) in enumerate(zip(values, intervals, strict=True)):
        if value is None:
            continue
        y, colour = gap * (index + 1), f"--c:var(--s{index % 8})"
        if interval is not None:
            parts.append(f'<line style="{colour}" x1="{at(interval[0])}" x2="{at(interval[1])}" y1="{y}" y2="{y}"/>')
        parts.append(f'<circle style="{colour}" cx="{at(value)}" cy="{y}" r="4"/>')
    return Markup("".join(parts) + "</svg>")
