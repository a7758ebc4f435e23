"""`gato data_report`: statistics of a dataset, its degenerate dimensions, and its differences from another dataset."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.data import open_data
from gato_jax.verbs.flags import parse_flags
from gato_jax.verbs.outputs import require_output_file, show_progress, write_json

with epy.lazy_imports():
    from gato_jax import sources
    from gato_jax.reports import recordings


def data_report(flag: flags.FlagValues, argv: Sequence[str]):
    """Write an HTML page with the statistics of a dataset and, with --against, its differences from another one."""
    flags.DEFINE_string("data", None, "Dataset to measure: its folder, or a source as KIND:PATH.", flag_values=flag)
    flags.DEFINE_string(
        "against",
        None,
        "Second dataset to compare with, for example real recordings of the same task.",
        flag_values=flag,
    )
    flags.DEFINE_string("split", "train", "Split to read of each dataset.", flag_values=flag)
    flags.DEFINE_string("output", None, "HTML file to write the page to.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the statistics to.", flag_values=flag)
    parse_flags(flag, argv, required=("data", "output"))
    page = as_path(flag.output)
    require_output_file(page)

    readers = [open_data(where, flag.split) for where in (flag.data, flag.against) if where]
    data, *others = (measure_with_progress(reader) for reader in readers)
    comparison = recordings.compare(data, others[0]) if others else None
    recordings.write_page(page, data, comparison)
    numbers = {"data": data.to_json(), "against": others[0].to_json() if others else None}
    write_json(flag.json, {**numbers, "comparison": comparison and comparison.to_json()})
    print(recordings.table(data))
    if comparison is not None:
        print(f"\n{recordings.comparison_table(comparison)}")
    print(f"report: {page}")


def measure_with_progress(reader: sources.EpisodeReader) -> recordings.DataStatistics:
    """Return the statistics of all episodes of a dataset, and show a progress bar while they are read."""
    return recordings.measure(
        reader, show_progress(iter(range(len(reader))), total=len(reader), desc="measure", unit="episode")
    )
