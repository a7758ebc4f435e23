"""The HTML page of a data report."""

from __future__ import annotations

from pathlib import Path

from gato_jax.episodes.licences import parse_terms
from gato_jax.reports.degeneracy import DEFINITION
from gato_jax.reports.plots import bars
from gato_jax.reports.recordings.comparison import Comparison, histogram
from gato_jax.reports.recordings.findings import DataStatistics
from gato_jax.reports.summary import percent, pluralize
from gato_jax.reports.templates import page_environment

_LISTED = 20  # the most rejections that the page lists
_VALUES = 64  # the most values of a discrete element that the page draws


def write_page(path: Path, data: DataStatistics, comparison: Comparison | None = None):
    """Write the data report, an HTML file, to `path` and make the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(render(data, comparison), encoding="utf-8")


def render(data: DataStatistics, comparison: Comparison | None = None) -> str:
    """Return the data report as HTML, with a section on the differences if `comparison` is given."""
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
        definition=DEFINITION,
    )


def headline(data: DataStatistics, comparison: Comparison | None = None) -> str:
    """Return the main finding in one sentence, such as "lift: 2 of 14 continuous dimensions are degenerate".

    With a comparison, the finding is the quantity with the largest distance, or that no difference was found. Without a
    comparison, it is the numbers of degenerate dimensions, cameras and discrete elements, or the number of episodes if
    none of these is degenerate.
    """
    if comparison is not None:
        largest = comparison.differences[0]
        if largest.distance == 0:
            return f"{data.dataset}: no difference was found"
        what = f"the {largest.name} differ" if largest.kind == "episode" else f"{largest.side} {largest.name} differs"
        return f"{data.dataset}: {what} most, a distance of {largest.distance:.2f}"
    if counts := data.degenerate_counts:
        found = " and ".join(filter(None, (", ".join(counts[:-1]), counts[-1])))
        return f"{data.dataset}: {found} {'is' if len(data.degenerate) == 1 else 'are'} degenerate"
    return f"{data.dataset}: {pluralize(data.episodes, 'episode')}, and no dimension is degenerate"
