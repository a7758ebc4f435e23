"""The HTML page of a data report."""

from __future__ import annotations

from pathlib import Path

from gato_jax.episodes.licences import parse_terms
from gato_jax.reports.page import page_environment
from gato_jax.reports.plots import bars
from gato_jax.reports.recordings.comparison import Comparison, histogram
from gato_jax.reports.recordings.findings import DataStatistics
from gato_jax.reports.recordings.table import pluralize
from gato_jax.reports.tokenization.table import percent

_LISTED = 20  # the most rejections that the page lists
_VALUES = 64  # the most values of a discrete element that the page draws


def write_page(path: Path, data: DataStatistics, comparison: Comparison | None = None):
    """Write the data report, an HTML file, to `path` and make the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(data, comparison), encoding="utf-8")


def render(data: DataStatistics, comparison: Comparison | None = None) -> str:
    """Return the data report as HTML, with a section on the differences if there is a comparison."""
    environment = page_environment(Path(__file__).parent)
    environment.filters |= {"percent": percent, "bars": bars, "cells": histogram}
    licences = [(name, episodes, parse_terms(name)) for name, episodes in data.episodes_by("licence").items()]
    return environment.get_template("recordings.html").render(
        data=data,
        comparison=comparison,
        headline=headline(data, comparison),
        licences=licences,
        listed=_LISTED,
        drawn=_VALUES,
    )


def headline(data: DataStatistics, comparison: Comparison | None = None) -> str:
    """Return the main finding in one sentence, such as "lift: 2 of 14 dimensions are degenerate".

    With a comparison it is the largest difference; without one, the number of dimensions, cameras and discrete elements
    that are degenerate, or of episodes if none is.
    """
    if comparison is not None:
        largest = comparison.differences[0]
        if largest.distance == 0:
            return f"{data.dataset}: no difference was found"
        what = f"the {largest.name} differ" if largest.kind == "episode" else f"{largest.side} {largest.name} differs"
        return f"{data.dataset}: {what} most, a distance of {largest.distance:.2f}"
    count, total = len(data.degenerate), len(data.varying)
    if count:
        return f"{data.dataset}: {count} of {pluralize(total, 'dimension')} {'is' if count == 1 else 'are'} degenerate"
    return f"{data.dataset}: {pluralize(data.episodes, 'episode')}, and no dimension is degenerate"
