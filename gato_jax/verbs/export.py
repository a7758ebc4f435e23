"""`gato export`: a tokenized dataset, or the params of an agent, in a format that other tools read."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.data import open_data, read_tokenization
from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import require_output_file, write_json
from gato_jax.verbs.runs import require_run

with epy.lazy_imports():
    import jax

    from gato_jax import batching, checkpoints, model


_DATA_FORMATS = ("array_record", "parquet")
_AGENT_FORMATS = ("safetensors",)

# The formats that a flag applies to; flags that are not named here apply to all formats.
_FORMATS = {
    "data": _DATA_FORMATS, "split": _DATA_FORMATS, "config": _DATA_FORMATS, "context": ("parquet",),
    "workdir": _AGENT_FORMATS, "dtype": _AGENT_FORMATS,
}  # fmt: skip


def export(flag: flags.FlagValues, argv: Sequence[str]):
    """Write a tokenized dataset, or the params of an agent, to files that other tools can read.

    --format=array_record writes token records, which a config names as tokens:DIR to train on them; --format=parquet
    writes rows of tokens; --format=safetensors writes the params of a run's newest checkpoint.
    """
    config_file = define_config(flag, argv)
    flags.DEFINE_enum("format", None, [*_DATA_FORMATS, *_AGENT_FORMATS], "Format of the export.", flag_values=flag)
    flags.DEFINE_string("output", None, "Folder to write a dataset to, or file to write an agent to.", flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "Replace an existing export.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the counts to.", flag_values=flag)
    flags.DEFINE_string("data", None, "Dataset to export: its folder, or a source as KIND:PATH.", flag_values=flag)
    flags.DEFINE_string("split", "train", "Split of the dataset.", flag_values=flag)
    flags.DEFINE_integer(
        "context", 1024, "Largest number of tokens of a row, with --format=parquet.", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_string("workdir", None, "Folder of the run of the agent, with --format=safetensors.", flag_values=flag)
    flags.DEFINE_enum(
        "dtype", "float32", ["float32", "bfloat16"], "Dtype of the params, with --format=safetensors.", flag_values=flag
    )
    parse_flags(flag, argv, required=("format", "output"))
    for name, formats in _FORMATS.items():
        if flag[name].present and flag.format not in formats:
            raise UsageError(
                f"--{name} is given with --format={flag.format}, expected {' or '.join(formats)}. Leave it out."
            )
    if flag.format in _AGENT_FORMATS:
        _export_agent(flag)
    else:
        _export_data(flag, config_file.value)


def _export_agent(flag: flags.FlagValues):
    """Write the params of the newest checkpoint of --workdir to the file --output, and print and write the counts.

    Raises:
      UsageError: --workdir is missing or no run, or --output is a folder or exists without --overwrite.
    """
    require(flag, "workdir")
    output = as_path(flag.output)
    require_output_file(output)
    if output.exists() and not flag.overwrite:
        raise UsageError(f"--output is {output}, which exists already. Name another file, or replace it (--overwrite).")

    workdir = require_run("workdir", flag.workdir)
    with contextlib.closing(checkpoints.CheckpointStore(workdir, read_only=True)) as store:
        agent = store.restore_agent()
    checkpoints.export_params(agent, output, dtype=flag.dtype)
    counts = {
        "parameters": model.count_parameters(agent.params),
        "tensors": len(jax.tree.leaves(agent.params)),
        "bytes": output.stat().st_size,
        "step": agent.step,
    }
    write_json(flag.json, counts)
    print(
        f"{counts['parameters']} parameters of step {agent.step}, in {flag.dtype}: {counts['bytes']} bytes in {output}"
    )


def _export_data(flag: flags.FlagValues, config: Any):
    """Write the dataset --data to the folder --output as token records or as Parquet rows, as --format says."""
    require(flag, "data")

    output, (settings, images) = as_path(flag.output), read_tokenization(config)
    reader = open_data(flag.data, flag.split)
    job = batching.Export(
        spec=reader.spec,
        split=flag.split,
        fingerprint=reader.fingerprint,
        format=flag.format,
        context=flag.context,
        tokenization=settings,
        image_tokenizer=images,
    )
    counts = job.write(output, reader, overwrite=flag.overwrite)
    write_json(flag.json, counts._asdict())
    unit, use = ("rows", "") if flag.format == "parquet" else ("timesteps", f"; train on it as tokens:{output}")
    print(f"{reader.spec.name}: {counts.rows} {unit}, {counts.tokens} tokens in {output}{use}")
