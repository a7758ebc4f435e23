"""Text about results: formatted numbers, the headline of a report and the plain-text table of scores."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence

from gato_jax.reports.run import FineTuning, Results, TaskScore

_WIDTH = 100  # columns of a plain-text table
_NONE = "-"  # stands for a value that is not known


def headline(results: Results) -> str:
    """Return one sentence on how many tasks have a normalised score of 0.5 or more, without a full stop.

    For example: "One set of weights, 5 tasks: 3 of 4 with an expert above half of the expert's score". A score of
    exactly 0.5 counts as above half. For a single task the sentence gives the normalised score as a percentage, at
    least 0%. If no task has a normalised score, it says that there is no expert.
    """
    scored = [task.normalised for task in results.tasks if task.normalised is not None]
    above = sum(normalised >= 0.5 for normalised in scored)
    count = len(results.tasks)
    subject = f"One set of weights, {count} task{'s' * (count != 1)}"
    if not scored:
        return f"{subject}, and no expert to compare with"
    if count == 1:
        return f"{subject}: {max(0.0, scored[0]):.0%} of the way from random play to the expert"
    among = "" if len(scored) == count else f" of {len(scored)} with an expert"
    number = {0: "none", len(scored): "all"}.get(above, str(above))
    return f"{subject}: {number}{among} above half of the expert\N{RIGHT SINGLE QUOTATION MARK}s score"


def held_out_headline(results: Results) -> str:
    """Return one sentence on the error of an agent that has no task to play, without a full stop.

    For example: "robot: mean absolute action error 0.061 on held-out recordings, 59% below that of the mean action".
    It is on the first data with errors by dimension, or else on the first of all.
    """
    held = next((held for held in results.held_out if held.by_dimension), results.held_out[0])
    data = "recordings" if held.by_dimension else "data"
    beside = ""
    if held.baseline:
        change = held.value / held.baseline - 1
        predictor = "the mean action" if held.by_dimension else "the baseline"
        beside = f", {abs(change):.0%} {'below' if change < 0 else 'above'} that of {predictor}"
    return f"{held.name}: {held.metric} {number(held.value)} on held-out {data}{beside}"


def score(value: float | None, metric: str) -> str:
    """Format a score: 0.83 as "83%" if the metric is "success", any other metric by `number`; "-" for None."""
    if value is None:
        return _NONE
    return f"{value:.0%}" if metric == "success" else number(value)


def number(value: float | int | None) -> str:
    """Format a number with separated thousands, such as "1,234", "56.7" or "0.123"; "-" for None.

    Whole numbers and magnitudes from 100 on have no decimals, those from 10 on have one, others three significant
    digits, very small ones with an exponent ("1e-05"). Numbers that are not finite give "nan", "inf" or "-inf".
    """
    if value is None:
        return _NONE
    if not math.isfinite(value):
        return str(value)
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def short(value: float | int) -> str:
    """Format a number with three significant digits and k, M or B from 1000 on: "0.25", "512", "12.3k", "4.9M"."""
    for size, unit in ((1e9, "B"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def percent(share: float | None) -> str:
    """Format a share in [0, 1] as a percentage with one decimal, such as "12.3%"; "-" for None.

    Only exactly 0 and 1 give "0%" and "100%"; shares that are nearly so give "<0.1%" and ">99.9%".
    """
    if share is None:
        return "-"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.001 else ">99.9%" if 0.999 < share < 1 else f"{share:.1%}"


def share(value: float | None) -> str:
    """Format a fraction as a percentage without decimals, such as "12%"; "-" for None."""
    if value is None:
        return _NONE
    text = f"{value:.0%}"
    return "0%" if text == "-0%" else text


def shares(bounds: Sequence[float] | None) -> str:
    """Format an interval of fractions, such as "12% to 34%"; "-" for None."""
    return _NONE if bounds is None else " to ".join(map(share, bounds))


def pluralize(count: int, noun: str) -> str:
    """Return `count` with the noun, which gets an "s" unless the count is 1: "1 episode", "2,000 episodes"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def shorten_runs(elements: Sequence[int]) -> str:
    """Format rising integers with each run shortened to its ends, such as "1, 4 to 6"."""
    runs: list[list[int]] = []
    for element in elements:
        if runs and element == runs[-1][-1] + 1:
            runs[-1].append(element)
        else:
            runs.append([element])
    return ", ".join(str(run[0]) if len(run) == 1 else f"{run[0]} to {run[-1]}" for run in runs)


def group_elements(names: Iterable[str]) -> list[str]:
    """Return names with the elements of one key joined: "action arm[1, 4 to 6]" for `arm[1]` and `arm[4]` to `arm[6]`.

    Names without an index are kept. The order is that in which the keys first occur.
    """
    groups: dict[str, list[int]] = {}
    for name in names:
        found = re.fullmatch(r"(.*)\[(\d+)\]", name)
        groups.setdefault(found[1] if found else name, []).extend([int(found[2])] if found else [])
    return [f"{key}[{shorten_runs(sorted(numbers))}]" if numbers else key for key, numbers in groups.items()]


def gigabytes(count: float | int) -> str:
    """Format a number of bytes in gigabytes of 10**9 bytes with one decimal, such as "3.2 GB"."""
    return f"{count / 1e9:.1f} GB"


def finetuning_headline(tuned: FineTuning) -> str:
    """Return one sentence on the score of a fine-tuning run, without a full stop.

    For example: "babyai/GoToRedBall-v0: return 0.274 after fine-tuning, 18% of the way from random play to the expert".
    """
    if tuned.score is None:
        return f"{tuned.task}: fine-tuned, and not played often enough for a score"
    way = ""
    if tuned.normalised is not None:
        way = f", {max(0.0, tuned.normalised):.0%} of the way from random play to the expert"
    return f"{tuned.task}: {tuned.metric} {score(tuned.score, tuned.metric)} after fine-tuning{way}"


def duration(seconds: float | int) -> str:
    """Format a duration: "90 s" below two minutes, "5.5 min" below two hours, else in hours, "2.0 h"."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{seconds:.0f} s"


def interval(task: TaskScore) -> str:
    """Format the confidence interval of a task's agent with `score`, such as "50% to 80%"; "-" without an interval."""
    return _NONE if task.agent_ci is None else " to ".join(score(end, task.metric) for end in task.agent_ci)


def summary_table(results: Results) -> str:
    """Return the scores, held-out measurements, aggregates and costs of a run as plain text of about 100 columns.

    Scores have a line for each task, and another one after a demonstration where they were measured so. Aggregates and
    costs that are not known are left out.
    """
    rows: list[tuple[str, ...]] = [("task", "random", "constant", "agent", "interval", "expert", "normalised")]
    for task in results.tasks:
        own = [score(value, task.metric) for value in (task.random, task.constant, task.agent)]
        rows.append((task.task, *own, interval(task), score(task.expert, task.metric), _meter(task.normalised)))
    lines = align_columns(rows)
    if results.prompted or results.no_room:
        lines += ["", *align_columns(_prompted_rows(results))]
    if results.held_out:
        held = [("held out (lower is better)", "value", "baseline", "measure")]
        held += [(h.name, number(h.value), number(h.baseline), h.metric) for h in results.held_out]
        lines += ["", *align_columns(held)]
    aggregate = results.aggregate
    named = (("mean", "mean"), ("iqm", "interquartile mean"), ("share_at_50", "share at half of the expert or above"))
    known = [(name, value) for key, name in named if (value := getattr(aggregate, key)) is not None]
    facts = [f"{name} {value:.2f}" for name, value in known]
    lines += ["", ", ".join(facts)] if facts else []
    cost = [f"{results.minutes:.1f} minutes"] if results.minutes is not None else []
    if results.peak_memory_bytes is not None:
        cost.append(f"peak memory {gigabytes(results.peak_memory_bytes)}")
    if results.making.parameters is not None:
        cost.append(f"{short(results.making.parameters)} parameters")
    return "\n".join(lines + ([", ".join(cost)] if cost else []))


def _prompted_rows(results: Results) -> list[tuple[str, ...]]:
    """Return the rows of the scores after a demonstration, in the order of the tasks, beside those without a prompt."""
    rows: list[tuple[str, ...]] = [
        ("after a demonstration", "episodes", "agent", "interval", "no prompt", "normalised")
    ]
    prompted = {task.task: task for task in results.prompted}
    for alone in results.tasks:
        without = score(alone.agent, alone.metric)
        if (task := prompted.get(alone.task)) is not None:
            shown = str(task.episodes), score(task.agent, task.metric), interval(task)
            rows.append((task.task, *shown, without, _meter(task.normalised)))
        elif alone.task in results.no_room:
            rows.append((alone.task, _NONE, _NONE, _NONE, without, "no room for a prompt"))
    return rows


def _meter(normalised: float | None, width: int = 10) -> str:
    if normalised is None:
        return _NONE
    filled = round(width * min(1.0, max(0.0, normalised)))
    return f"{normalised:5.2f} {'#' * filled}{'.' * (width - filled)}"


def align_columns(rows: list[tuple[str, ...]]) -> list[str]:
    """Return the lines of a plain-text table, with a rule of dashes below the first row.

    The first and the last column are aligned to the left, the others to the right. If a line would be longer than 100
    columns, the texts of the first column are shortened with "..." in the middle, down to 12 columns.

    Args:
      rows: at least one row of cells, all of equal length; the first holds the headings.
    """
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    widths[0] = max(12, min(widths[0], _WIDTH - sum(widths[1:]) - 2 * (len(widths) - 1)))
    lines = []
    for row in rows:
        name = row[0] if len(row[0]) <= widths[0] else row[0][: widths[0] - 11] + "..." + row[0][-8:]
        cells = [cell.rjust(width) for cell, width in zip(row[1:-1], widths[1:-1], strict=True)]
        lines.append("  ".join([name.ljust(widths[0]), *cells, row[-1]]).rstrip())
    return [lines[0], "-" * min(_WIDTH, max(map(len, lines))), *lines[1:]]
