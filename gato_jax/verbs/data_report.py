"""`gato data_report`: what is in a dataset, and how it differs from another."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from gato_jax.verbs.flags import parse_flags, require
from gato_jax.verbs.outputs import require_page, watched, write_json

if TYPE_CHECKING:
    from gato_jax.reports.recordings import DataStatistics
    from gato_jax.sources import EpisodeReader


def data_report(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes a page that says what is in a dataset, what is wrong with it, and how it differs from another."""
    flags.DEFINE_string("data", None, "the dataset: a folder, or KIND:WHERE", flag_values=flag)
    flags.DEFINE_string("against", None, "another, as of the same task in reality, to compare with", flag_values=flag)
    flags.DEFINE_string("split", "train", "of both", flag_values=flag)
    flags.DEFINE_string("output", None, "write the page, HTML, here", flag_values=flag)
    flags.DEFINE_string("json", None, "write the numbers here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "data", "output")
    page = pathlib.Path(flag.output)
    require_page(page)
    from gato_jax.reports.recordings import compare, comparison_table, table, write_page
    from gato_jax.verbs.data import open_data

    readers = [open_data(where, flag.split) for where in (flag.data, flag.against) if where]
    data, *others = (measure_watched(reader) for reader in readers)
    comparison = compare(data, others[0]) if others else None
    write_page(page, data, comparison)
    numbers = {"data": data.to_json(), "against": others[0].to_json() if others else None}
    write_json(flag.json, {**numbers, "comparison": comparison and comparison.to_json()})
    print(table(data))
    if comparison is not None:
        print(f"\n{comparison_table(comparison)}")
    print(f"page in {page}")


def measure_watched(reader: EpisodeReader) -> DataStatistics:
    """The statistics of a dataset, with a progress bar over its episodes."""
    from gato_jax.reports.recordings import measure

    return measure(reader, watched(iter(range(len(reader))), total=len(reader), desc="measure", unit="episode"))
