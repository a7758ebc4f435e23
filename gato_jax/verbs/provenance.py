"""`gato provenance`: where a dataset or an agent comes from, in a form that others read."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import require_page, write_json

if TYPE_CHECKING:
    from gato_jax.reports.provenance import Lineage


def provenance(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes where a dataset, or an agent and its data, come from: W3C PROV-O, or the EU AI Act's record."""
    flags.DEFINE_string("data", None, "a dataset: its folder, or KIND:WHERE", flag_values=flag)
    flags.DEFINE_string("split", "train", "of the dataset", flag_values=flag)
    flags.DEFINE_string("workdir", None, "or the folder of a run", flag_values=flag)
    flags.DEFINE_enum(
        "format", "prov", ["prov", "ai_act"], "prov: JSON-LD; ai_act: article 10, Markdown", flag_values=flag
    )
    flags.DEFINE_string("output", None, "write it here", flag_values=flag)
    flags.DEFINE_string("json", None, "write what is known here; of ai_act also the blanks", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "output")
    if bool(flag.data) == bool(flag.workdir):
        raise UsageError("name one of --data and --workdir")
    output = pathlib.Path(flag.output)
    require_page(output)
    from gato_jax.reports.provenance import ai_act_record, prov_graph

    lineage = _read(flag)
    if flag.format == "prov":
        graph = prov_graph(lineage)
        write_json(output, graph)
        write_json(flag.json, lineage.to_json())
        print(f"{len(graph['@graph'])} nodes in {output}")
        return
    record = ai_act_record(lineage)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(record.to_markdown(), encoding="utf-8")
    write_json(flag.json, lineage.to_json() | {"record": record.to_json()})
    print(f"{len(record.points)} points, each with a blank for a person to fill, in {output}")


def _read(flag: flags.FlagValues) -> Lineage:
    from gato_jax.reports.provenance import of_dataset, of_run

    if flag.workdir:
        return of_run(pathlib.Path(flag.workdir))
    from gato_jax.verbs.data import open_data
    from gato_jax.verbs.data_report import measure_watched

    reader = open_data(flag.data, flag.split)
    folder = pathlib.Path(flag.data.removeprefix("recorded:"))
    return of_dataset(reader.spec, measure_watched(reader), folder if folder.is_dir() else None)
