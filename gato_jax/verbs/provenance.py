"""`gato provenance`: the origins of a dataset or of an agent, as a PROV-O graph or as a record for the EU AI Act."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.data import open_data
from gato_jax.verbs.data_report import measure_with_progress
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import require_output_file, write_json
from gato_jax.verbs.runs import require_run

with epy.lazy_imports():
    from gato_jax.reports import provenance as library


def provenance(flag: flags.FlagValues, argv: Sequence[str]):
    """Write the origins of a dataset, or of an agent and its training data, as W3C PROV-O or as an EU AI Act record."""
    flags.DEFINE_string(
        "data",
        None,
        "Dataset to describe: its folder, or a source as KIND:PATH. Give this or --workdir.",
        flag_values=flag,
    )
    flags.DEFINE_string("split", "train", "Split of the dataset.", flag_values=flag)
    flags.DEFINE_string(
        "workdir", None, "Folder of the run whose agent to describe. Give this or --data.", flag_values=flag
    )
    flags.DEFINE_enum(
        "format",
        "prov",
        ["prov", "ai_act"],
        "prov: a PROV-O graph in JSON-LD. ai_act: a record under article 10(2), in Markdown.",
        flag_values=flag,
    )
    flags.DEFINE_string("output", None, "File to write the graph or record to.", flag_values=flag)
    flags.DEFINE_string(
        "json", None, "JSON file to write the known facts to and, with ai_act, the blanks.", flag_values=flag
    )
    parse_flags(flag, argv, required=("output",))
    if bool(flag.data) == bool(flag.workdir):
        raise UsageError("Expected one of --data and --workdir. Name a dataset or a run.")
    output = as_path(flag.output)
    require_output_file(output)

    lineage = _read(flag)
    if flag.format == "prov":
        graph = library.prov_graph(lineage)
        write_json(output, graph)
        write_json(flag.json, lineage.to_json())
        print(f"{len(graph['@graph'])} nodes in {output}")
        return
    record = library.ai_act_record(lineage)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(record.to_markdown(), encoding="utf-8")
    write_json(flag.json, lineage.to_json() | {"record": record.to_json()})
    print(f"{len(record.points)} points, each with a blank for a person to fill, in {output}")


def _read(flag: flags.FlagValues) -> library.Lineage:
    """Return the lineage of the run --workdir, or else of the dataset --data, all of whose episodes are read."""
    if flag.workdir:
        return library.run_lineage(require_run("workdir", flag.workdir))

    reader = open_data(flag.data, flag.split)
    folder = as_path(flag.data.removeprefix("recorded:"))
    return library.dataset_lineage(reader.spec, measure_with_progress(reader), folder if folder.is_dir() else None)
