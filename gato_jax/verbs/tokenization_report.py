"""`gato tokenization_report`: what tokens lose of a dataset, under each setting."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import require_page, watched, write_json


def tokenization_report(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes a page that says how well tokens hold a dataset, under each of a grid of settings."""
    flags.DEFINE_string("data", None, "folder of the dataset", flag_values=flag)
    flags.DEFINE_string("output", None, "write the page, HTML, here", flag_values=flag)
    flags.DEFINE_string("json", None, "write the numbers here", flag_values=flag)
    flags.DEFINE_list("mu", ["50", "100", "255"], "of the companding, comma-separated", flag_values=flag)
    flags.DEFINE_list("m", ["256"], "of the companding, comma-separated", flag_values=flag)
    flags.DEFINE_list("bins", ["512", "1024", "2048"], "numbers of bins, comma-separated", flag_values=flag)
    flags.DEFINE_list("patch", ["8", "16"], "sides of image patches in pixels, comma-separated", flag_values=flag)
    flags.DEFINE_integer("context", 1024, "tokens of a context", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("episodes", None, "only the first so many; all otherwise", lower_bound=1, flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "data", "output")
    page = pathlib.Path(flag.output)
    require_page(page)
    from gato_jax.reports.tokenization import Grid, measure, table, write_page
    from gato_jax.verbs.data import open_data

    grid = Grid(
        mu=_numbers(flag, "mu", float, "numbers"),
        m=_numbers(flag, "m", float, "numbers"),
        bins=_numbers(flag, "bins", int, "whole numbers"),
        patch=_numbers(flag, "patch", int, "whole numbers"),
    )
    dataset = open_data(flag.data)
    count = min(len(dataset), flag.episodes or len(dataset))
    episodes = watched(itertools.islice(dataset, count), total=count, desc="tokenize", unit="episode")
    report = measure(dataset.spec, episodes, grid, context=flag.context)
    write_page(report, page)
    write_json(flag.json, report.to_json())
    print(table(report))
    print(f"page in {page}")


def _numbers(flag: flags.FlagValues, name: str, read: Callable[[str], Any], wanted: str) -> tuple[Any, ...]:
    words = flag[name].value or []
    try:
        return tuple(read(word) for word in words)
    except ValueError:
        raise UsageError(f"--{name}={','.join(words)} is not a list of {wanted}, comma-separated") from None
