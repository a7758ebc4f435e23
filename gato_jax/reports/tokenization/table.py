"""The table of settings: its rows, and the table as plain text."""

from __future__ import annotations

import dataclasses

from gato_jax.reports.summary import number, percent
from gato_jax.reports.tokenization.findings import Setting, TokenizationReport

PAPERS, LEAST_ERROR = "the paper's", "least error"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """A row of the table of settings.

    Settings that differ in the patch only are one row if the patch changes nothing, as in data without images.

    Attributes:
      setting: the first of the settings.
      patches: the patch sides in pixels of all of them, such as "8, 16".
      marks: "the paper's" and "least error", where they apply to one of the settings.
    """

    setting: Setting
    patches: str
    marks: tuple[str, ...]


def rows(report: TokenizationReport) -> list[Row]:
    """Return the rows of the table of settings, in the order of the grid.

    The mark "least error" is left out for data without continuous values.
    """
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
    """Return the table of settings as plain ASCII text, with a heading and a line for each of `rows`."""
    lines: list[tuple[str, ...]] = [("mu", "m", "bins", "patch", "mean error", "max error", "clipped", "tokens/step")]
    for row in rows(report):
        s = row.setting
        settings = map(number, (s.mu, s.m, s.bins))
        errors = map(number, (s.mean_abs_error, s.max_abs_error))
        lines.append((*settings, row.patches, *errors, percent(s.clip_rate), number(s.tokens_per_step)))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    marks = ["", *(", ".join(row.marks) for row in rows(report))]
    texts = [
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=True)), mark]).rstrip()
        for line, mark in zip(lines, marks, strict=True)
    ]
    return "\n".join(texts)
