"""The HTML page of a tokenization report."""

from __future__ import annotations

from pathlib import Path

from markupsafe import Markup

from gato_jax.reports.degeneracy import DEFINITION, describe_count
from gato_jax.reports.plots import Series, bars, line_chart
from gato_jax.reports.summary import percent, shorten_runs
from gato_jax.reports.templates import page_environment
from gato_jax.reports.tokenization.findings import Dimension, Setting, SweepCell, TokenizationReport
from gato_jax.reports.tokenization.sweep import FORMULAS, curve
from gato_jax.reports.tokenization.table import PAPERS, rows

_LISTED = 12  # the most lines on degenerate dimensions above the table, which marks all of them


def write_page(report: TokenizationReport, path: Path):
    """Write the tokenization report, an HTML file, to `path` and make the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(report), encoding="utf-8")


def render(report: TokenizationReport) -> str:
    """Return the tokenization report as HTML."""
    shown = report.shown
    environment = page_environment(Path(__file__).parent)
    environment.filters |= {"percent": percent, "bars": bars}
    pairs = [s for s in report.settings if (s.m, s.patch) == (shown.m, shown.patch)]
    settings = rows(report)
    lengths = [r for r in settings if (r.setting.mu, r.setting.m, r.setting.bins) == (shown.mu, shown.m, shown.bins)]
    degenerate, unresolved = (_grouped(shown, field) for field in ("reason", "unresolved"))
    total = len(shown.dimensions)
    degenerate_number = sum(dimension.degenerate for dimension in shown.dimensions)
    unresolved_number = sum(bool(dimension.unresolved) for dimension in shown.dimensions)
    return environment.get_template("tokenization.html").render(
        report=report,
        shown=shown,
        headline=headline(report),
        rows=settings,
        worst=max((s.mean_abs_error or 0.0 for s in report.settings), default=0.0),
        pairs=[(setting, report.article_setting(setting)) for setting in pairs],
        article=report.article_setting(shown),
        companded=any(dimension.side == "observation" for dimension in shown.dimensions),
        charts=_charts(shown),
        decades=_decades(report.sweep, shown),
        lengths=lengths,
        widest=max(report.context, *(row.setting.tokens_per_step for row in lengths)),
        papers=PAPERS,
        degenerate=degenerate[:_LISTED],
        degenerate_kinds=len(degenerate),
        degenerate_number=degenerate_number,
        degenerate_count=describe_count(degenerate_number, total, "continuous dimension"),
        unresolved=unresolved[:_LISTED],
        unresolved_kinds=len(unresolved),
        unresolved_number=unresolved_number,
        unresolved_count=describe_count(unresolved_number, total, "continuous dimension"),
        definition=DEFINITION,
        name=name,
    )


def headline(report: TokenizationReport) -> str:
    """Return the main finding in one sentence: the dimension with the largest mean error in its standard deviations.

    Dimensions that are degenerate or that the bins do not resolve do not count. For example: "lift: joints[2], the
    worst dimension, is off by 1.2% of its spread".
    """
    if not report.shown.dimensions:
        return f"{report.dataset}: no continuous values, and all others are exact"
    varying = [d for d in report.shown.dimensions if not d.degenerate]
    shares = {d: d.mean_abs_error / d.standard_deviation for d in varying if not d.unresolved}
    if not shares:
        lost = "is not resolved by the bins" if varying else "is degenerate"
        return f"{report.dataset}: every continuous dimension {lost}"
    worst = max(shares, key=lambda dimension: shares[dimension])
    return f"{report.dataset}: {name(worst)}, the worst dimension, is off by {percent(shares[worst])} of its spread"


def name(dimension: Dimension) -> str:
    """Return the name of a dimension, its key and element, such as "joints[2]"."""
    return f"{dimension.key}[{dimension.element}]"


def _grouped(shown: Setting, field: str) -> list[tuple[str, str]]:
    """Return (dimensions, reason) of the dimensions that have a reason, with those of one key and reason in one pair.

    For example: ("action arm[1, 4 to 6]", "constant, always 0").

    Args:
      shown: the setting.
      field: field of `Dimension` that holds the reason, "reason" or "unresolved".
    """
    groups: dict[tuple[str, str, str], list[int]] = {}
    for d in shown.dimensions:
        if reason := getattr(d, field):
            groups.setdefault((d.side, d.key, reason), []).append(d.element)
    return [(f"{side} {key}[{shorten_runs(elements)}]", reason) for (side, key, reason), elements in groups.items()]


def _charts(shown: Setting) -> list[tuple[str, Markup, list[Series]]]:
    """Return (title, chart, curves) of the absolute and the relative error over the magnitude.

    The curves are those of the two companding formulas in `FORMULAS`, the paper's and the one without M.
    """
    curves = {formula: curve(formula, shown.mu, shown.bins) for formula in FORMULAS}
    charts = []
    for field in ("absolute", "relative"):
        named = (("paper", "with M = 256, the paper", None), ("article", "without M, the article", 1))
        series = [
            Series(name=name, x=curves[f].magnitude, y=getattr(curves[f], field), index=index, noisy=False)
            for f, name, index in named
        ]
        title = f"Mean {field} error over the magnitude of a value"
        charts.append((title, line_chart(series, label=title, height=220, log=True, log_x=True), series))
    return charts


def _decades(sweep: tuple[SweepCell, ...], shown: Setting) -> list[tuple[SweepCell, SweepCell]]:
    """Return the cells of both `FORMULAS`, the paper's first, for each decade, at the shown mu and bins."""
    cells = {f: [c for c in sweep if (c.formula, c.mu, c.bins) == (f, shown.mu, shown.bins)] for f in FORMULAS}
    return list(zip(cells["paper"], cells["article"], strict=True))
