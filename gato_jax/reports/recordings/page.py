"""The page of a data report: self-contained HTML."""

from __future__ import annotations

from pathlib import Path

from gato_jax.episodes.licences import terms_of
from gato_jax.reports.page import page_environment
from gato_jax.reports.plots import bars
from gato_jax.reports.recordings.comparison import Comparison, histogram
from gato_jax.reports.recordings.findings import DataStatistics
from gato_jax.reports.recordings.table import counted
from gato_jax.reports.tokenization.table import percent

_LISTED = 20  # rejections
_VALUES = 64  # of a discrete element that are drawn


def write_page(path: Path, data: DataStatistics, comparison: Comparison | None = None):
    """Writes the page; folders above it are made."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(data, comparison), encoding="utf-8")


def render(data: DataStatistics, comparison: Comparison | None = None) -> str:
    """The page of a dataset, and of how it differs from another."""
    environment = page_environment(Path(__file__).parent)
    environment.filters |= {"percent": percent, "bars": bars, "cells": histogram}
    licences = [(name, episodes, terms_of(name)) for name, episodes in data.episodes_by("licence").items()]
    return environment.get_template("recordings.html").render(
        data=data,
        comparison=comparison,
        headline=headline(data, comparison),
        licences=licences,
        listed=_LISTED,
        drawn=_VALUES,
    )


def headline(data: DataStatistics, comparison: Comparison | None = None) -> str:
    """What the report says, in one sentence."""
    if comparison is not None:
        most = comparison.differences[0]
        if most.distance == 0:
            return f"{data.dataset}: no difference is seen"
        what = f"the {most.name} differ" if most.kind == "episode" else f"{most.side} {most.name} differs"
        return f"{data.dataset}: {what} most, a distance of {most.distance:.2f}"
    count, of = len(data.degenerate), len(data.varying)
    if count:
        return f"{data.dataset}: {count} of {counted(of, 'dimension')} {'is' if count == 1 else 'are'} degenerate"
    return f"{data.dataset}: {counted(data.episodes, 'episode')}, and no dimension is degenerate"
