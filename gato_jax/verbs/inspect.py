"""`gato inspect`: an HTML page that shows training rows token by token."""

from __future__ import annotations

import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.data import join_paths, open_data, read_tokenization
from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import require_output_file, write_json
from gato_jax.verbs.runs import require_folder

with epy.lazy_imports():
    from gato_jax import batching, episodes, reports, training


def inspect(flag: flags.FlagValues, argv: Sequence[str]):
    """Write an HTML page that shows training rows token by token.

    With --config and --workdir these are the rows that `gato train` trains on; with --data they are rows of any
    datasets, in the tokenization of --config or, without it, the paper's.
    """
    config_file = define_config(flag, argv)
    flags.DEFINE_string("workdir", None, "Folder of the run, with --config.", flag_values=flag)
    flags.DEFINE_list(
        "data",
        [],
        "Datasets to show instead of those of a run: folders, or sources as KIND:PATH, comma-separated.",
        flag_values=flag,
    )
    flags.DEFINE_integer("context", 1024, "Length of a row in tokens, with --data.", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer(
        "episodes",
        20,
        "Largest number of episodes to read of each dataset, with --data.",
        lower_bound=1,
        flag_values=flag,
    )
    flags.DEFINE_integer("row", 0, "Index of the first row to show.", lower_bound=0, flag_values=flag)
    flags.DEFINE_integer("rows", 8, "Number of rows to show.", lower_bound=1, flag_values=flag)
    flags.DEFINE_string("output", None, "HTML file to write the page to.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the tokens to.", flag_values=flag)
    parse_flags(flag, argv, required=("output",))
    _require_one_source(flag)
    require_output_file(as_path(flag.output))

    rows = _rows_of_data(flag, config_file.value) if flag.data else _rows_of_run(flag, config_file.value)
    write_json(flag.json, reports.inspection_json(rows))
    print(reports.write_inspection(rows, as_path(flag.output)))


def _require_one_source(flag: flags.FlagValues):
    if not flag.data and flag.config is None:
        raise UsageError("--data is missing. Name datasets, or a run with --config and --workdir.")
    for name in ("workdir",) if flag.data else ("context", "episodes"):
        if flag[name].present:
            raise UsageError(f"--{name} does not apply with --{'data' if flag.data else 'config'}. Leave it out.")


def _rows_of_run(flag: flags.FlagValues, config: Any) -> list[reports.InspectedRow]:
    """Return the rows --row to --row + --rows of a run, exactly as `gato train` reads them; fewer at the run's end.

    Raises:
      UsageError: --workdir is missing or not a folder, or the run has no row --row.
    """
    require(flag, "workdir")
    workdir = require_folder("workdir", flag.workdir)
    run = training.TrainConfig.from_mapping(config, workdir)
    total = run.steps * run.batch_size
    if flag.row >= total:
        raise UsageError(
            f"--row is {flag.row}, expected 0 to {total - 1} (steps times batch_size rows). Name such a row."
        )
    mixture = training.open_run_mixture(run, workdir)
    return _inspected(
        mixture, range(flag.row, min(flag.row + flag.rows, total)), training.open_image_tokenizer(run, workdir)
    )


def _rows_of_data(flag: flags.FlagValues, config: Any) -> list[reports.InspectedRow]:
    """Return the rows --row to --row + --rows of the datasets --data, mixed evenly, as a config tokenizes them.

    Only the first --episodes episodes of each are tokenized, into a temporary folder.

    Raises:
      UsageError: a dataset is named twice.
    """
    places, (settings, images) = list(_datasets(flag.data)), read_tokenization(config)
    readers = {where: open_data(where) for where in places}
    if len(readers) < len(places):
        raise UsageError(f"--data is {','.join(flag.data)}, and a dataset is there twice. Name each once.")
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for where, reader in readers.items():
            task, count = reader.spec.name, min(len(reader), flag.episodes)
            name = where if task in made else task
            directory = pathlib.Path(folder) / f"{len(made)}_{episodes.dataset_name(task)}"
            first = [reader[position] for position in range(count)]
            made[name] = batching.write_records(directory, reader.spec, first, reader.fingerprint, settings, images)
        mixture = batching.Mixture.uniform(made, batch_size=len(made), context=flag.context, seed=0)
        return _inspected(mixture, range(flag.row, flag.row + flag.rows), images)


def _datasets(data: Sequence[str]) -> Iterator[str]:
    """Yield the datasets that --data names, with a folder ROOT of datasets replaced by the newest version of each."""
    for where in join_paths(data):
        found = episodes.list_datasets(where) if pathlib.Path(where).is_dir() else {}
        yield from map(str, found.values()) if found else [where]


def _inspected(mixture: batching.Mixture, rows: range, image_tokenizer: Any = None) -> list[reports.InspectedRow]:

    return [reports.inspect_row(mixture, row, image_tokenizer) for row in rows]
