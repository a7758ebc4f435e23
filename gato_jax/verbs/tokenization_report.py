"""`gato tokenization_report`: the errors that tokenization makes on a dataset under a grid of settings."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.data import open_data
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import require_output_file, show_progress, write_json

with epy.lazy_imports():
    from gato_jax.reports import tokenization


def tokenization_report(flag: flags.FlagValues, argv: Sequence[str]):
    """Write an HTML page with the errors and numbers of tokens of a dataset under each combination of settings."""
    flags.DEFINE_string("data", None, "Dataset to measure: its folder, or a source as KIND:PATH.", flag_values=flag)
    flags.DEFINE_string("output", None, "HTML file to write the page to.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the numbers to.", flag_values=flag)
    flags.DEFINE_list(
        "mu", ["50", "100", "255"], "Values of the companding parameter mu to try, comma-separated.", flag_values=flag
    )
    flags.DEFINE_list("m", ["256"], "Values of the companding parameter M to try, comma-separated.", flag_values=flag)
    flags.DEFINE_list("bins", ["512", "1024", "2048"], "Numbers of bins to try, comma-separated.", flag_values=flag)
    flags.DEFINE_list(
        "patch", ["8", "16"], "Sides of image patches to try, in pixels, comma-separated.", flag_values=flag
    )
    flags.DEFINE_integer("context", 1024, "Length of the context in tokens.", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer(
        "episodes",
        None,
        "Number of episodes to measure, from the first. Default: all.",
        lower_bound=1,
        flag_values=flag,
    )
    parse_flags(flag, argv, required=("data", "output"))
    page = as_path(flag.output)
    require_output_file(page)

    grid = tokenization.Grid(
        mu=_numbers(flag, "mu", float, "numbers"),
        m=_numbers(flag, "m", float, "numbers"),
        bins=_numbers(flag, "bins", int, "whole numbers"),
        patch=_numbers(flag, "patch", int, "whole numbers"),
    )
    dataset = open_data(flag.data)
    count = min(len(dataset), flag.episodes or len(dataset))
    episodes = show_progress(itertools.islice(dataset, count), total=count, desc="tokenize", unit="episode")
    report = tokenization.measure(dataset.spec, episodes, grid, context=flag.context, available=len(dataset))
    tokenization.write_page(report, page)
    write_json(flag.json, report.to_json())
    print(tokenization.table(report))
    print(f"report: {page}")


def _numbers(flag: flags.FlagValues, name: str, read: Callable[[str], Any], wanted: str) -> tuple[Any, ...]:
    words = flag[name].value or []
    try:
        return tuple(read(word) for word in words)
    except ValueError:
        raise UsageError(
            f"--{name} is {','.join(words)}, expected {wanted} separated by commas. Correct the list."
        ) from None
