"""`gato inspect`: training rows, token by token, on a page."""

from __future__ import annotations

import itertools
import pathlib
import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import require_page, watched, write_json

if TYPE_CHECKING:
    from gato_jax.batching import Mixture
    from gato_jax.reports.inspection import InspectedRow


def inspect(flag: flags.FlagValues, argv: Sequence[str]):
    """Shows training rows token by token: those of a config, or of any data."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string("workdir", None, "with --config: folder of the run", flag_values=flag)
    flags.DEFINE_list(
        "data", [], "instead of --config: folders of datasets or sources KIND:WHERE, comma-separated", flag_values=flag
    )
    flags.DEFINE_integer("context", 1024, "with --data: positions of a row", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("episodes", 20, "with --data: of each dataset at most", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("row", 0, "the first row that is shown", lower_bound=0, flag_values=flag)
    flags.DEFINE_integer("rows", 8, "how many", lower_bound=1, flag_values=flag)
    flags.DEFINE_string("output", None, "the page, a file", flag_values=flag)
    flags.DEFINE_string("json", None, "write the tokens here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "output")
    _require_one_source(flag)
    require_page(pathlib.Path(flag.output))
    from gato_jax.reports import inspection_json, write_inspection

    rows = _rows_of_data(flag) if flag.data else _rows_of_run(flag, config_file.value)
    write_json(flag.json, inspection_json(rows))
    print(write_inspection(rows, pathlib.Path(flag.output)))


def _require_one_source(flag: flags.FlagValues):
    if flag.data and flag.config is not None:
        raise UsageError("--data and --config are both given; the rows are of one or of the other")
    if not flag.data and flag.config is None:
        raise UsageError("--data is missing; or --config with --workdir, for the rows that a run trains on")
    for name in ("workdir",) if flag.data else ("context", "episodes"):
        if flag[name].present:
            raise UsageError(f"--{name} does not go with --{'data' if flag.data else 'config'}; leave it out")


def _rows_of_run(flag: flags.FlagValues, config: Any) -> list[InspectedRow]:
    """The very rows that `gato train` sees."""
    require(flag, "workdir")
    workdir = pathlib.Path(flag.workdir)
    if not workdir.is_dir():
        raise UsageError(f"--workdir={workdir} is no folder; name the one that the run trains in")
    from gato_jax.training import TrainConfig
    from gato_jax.verbs.data import open_image_tokenizer, open_mixture

    run = TrainConfig.from_mapping(config, workdir)
    total = run.steps * run.batch_size
    if flag.row >= total:
        raise UsageError(f"--row={flag.row}: the run has rows 0 to {total - 1}, steps times batch_size of them")
    mixture = open_mixture(run, workdir)
    return _inspected(mixture, range(flag.row, min(flag.row + flag.rows, total)), open_image_tokenizer(run, workdir))


def _rows_of_data(flag: flags.FlagValues) -> list[InspectedRow]:
    """The datasets in turn, in the paper's tokenization, which is made in a folder that does not stay."""
    from gato_jax.batching import Mixture, write_records
    from gato_jax.episodes import dataset_name
    from gato_jax.tokenization import Tokenization
    from gato_jax.verbs.data import open_data

    readers = {where: open_data(where) for where in (places := list(_datasets(flag.data)))}
    if len(readers) < len(places):
        raise UsageError(f"--data={','.join(flag.data)}: a dataset is there twice; name each once")
    with tempfile.TemporaryDirectory() as folder:
        made = {}
        for where, reader in readers.items():
            task, count = reader.spec.name, min(len(reader), flag.episodes)
            name = where if task in made else task
            directory = pathlib.Path(folder) / f"{len(made)}_{dataset_name(task)}"
            episodes = watched(itertools.islice(reader, count), total=count, desc=f"tokenize {name}", unit="episode")
            made[name] = write_records(directory, reader.spec, episodes, reader.fingerprint, Tokenization())
        mixture = Mixture.uniform(made, batch_size=len(made), context=flag.context, seed=0)
        return _inspected(mixture, range(flag.row, flag.row + flag.rows))


def _datasets(data: Sequence[str]) -> Iterator[str]:
    """A folder that holds several datasets stands for all of them."""
    from gato_jax.episodes import list_datasets

    for where in data:
        found = list_datasets(where) if pathlib.Path(where).is_dir() else {}
        yield from map(str, found.values()) if found else [where]


def _inspected(mixture: Mixture, rows: range, image_tokenizer: Any = None) -> list[InspectedRow]:
    from gato_jax.reports import inspect_row

    return [inspect_row(mixture, row, image_tokenizer) for row in rows]
