"""The settings as rows, for the page and, as plain text, for the terminal."""

from __future__ import annotations

import dataclasses

from gato_jax.reports.summary import number
from gato_jax.reports.tokenization.findings import Setting, TokenizationReport

PAPERS, LEAST_ERROR = "the paper's", "least error"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """Settings that differ in a patch that changes nothing, as without images, are one row."""

    setting: Setting
    patches: str
    marks: tuple[str, ...]


def rows(report: TokenizationReport) -> list[Row]:
    """In the order of the grid."""
    groups: dict[tuple, list[Setting]] = {}
    for s in report.settings:
        groups.setdefault((s.mu, s.m, s.bins, s.tokens_per_step, s.max_tokens_per_step), []).append(s)
    named = ((PAPERS, report.paper), (LEAST_ERROR, report.best if report.shown.dimensions else None))
    return [
        Row(
            setting=group[0],
            patches=", ".join(str(s.patch) for s in group),
            marks=tuple(mark for mark, setting in named if any(s is setting for s in group)),
        )
        for group in groups.values()
    ]


def table(report: TokenizationReport) -> str:
    """A line for each row of settings, in plain ASCII text."""
    lines: list[tuple[str, ...]] = [("mu", "m", "bins", "patch", "mean error", "max error", "clipped", "tokens/step")]
    for row in rows(report):
        s = row.setting
        told = (s.mu, s.m, s.bins), (s.mean_abs_error, s.max_abs_error)
        settings, errors = ([number(value) for value in part] for part in told)
        lines.append((*settings, row.patches, *errors, percent(s.clip_rate), number(s.tokens_per_step)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    marks = ["", *(", ".join(row.marks) for row in rows(report))]
    told = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=True)), mark]).rstrip()
        for line, mark in zip(lines, marks, strict=True)
    ]
    return "\n".join(told)


def percent(share: float | None) -> str:
    """A share as a percentage that is 0% only where nothing is there, and 100% only where everything is."""
    if share is None:
        return "-"
    if share in (0.0, 1.0):
        return f"{share:.0%}"
    return "<0.1%" if share < 0.001 else ">99.9%" if 0.999 < share < 1 else f"{share:.1%}"
