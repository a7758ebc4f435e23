"""`gato export`: what other tools can read. A dataset, tokenized once, with its contract; or an agent's params."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import require_page, watched, write_json

if TYPE_CHECKING:
    from gato_jax.episodes import Episode
    from gato_jax.sources import EpisodeReader

_OF_DATA = ("array_record", "parquet")
_OF_AGENT = ("safetensors",)

# What goes with some formats only.
_FORMATS = {
    "data": _OF_DATA, "split": _OF_DATA, "config": _OF_DATA, "context": ("parquet",),
    "workdir": _OF_AGENT, "dtype": _OF_AGENT,
}  # fmt: skip


def export(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes a dataset, tokenized once, to train on as tokens:DIR or for other tools; or an agent, for those."""
    config_file = define_config(flag, argv)
    flags.DEFINE_enum("format", None, [*_OF_DATA, *_OF_AGENT], "what is written", flag_values=flag)
    flags.DEFINE_string("output", None, "folder of a dataset's export, file of an agent's", flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "replace another export that is there", flag_values=flag)
    flags.DEFINE_string("json", None, "write the counts here", flag_values=flag)
    flags.DEFINE_string("data", None, "folder of the dataset, or a source KIND:WHERE", flag_values=flag)
    flags.DEFINE_string("split", "train", "of the dataset", flag_values=flag)
    flags.DEFINE_integer(
        "context", 1024, "with --format=parquet: tokens of a row at most", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_string("workdir", None, "with --format=safetensors: folder of the agent's run", flag_values=flag)
    flags.DEFINE_enum(
        "dtype", "float32", ["float32", "bfloat16"], "with --format=safetensors: of the params", flag_values=flag
    )
    parse_flags(flag, argv)
    require(flag, "format", "output")
    for name, formats in _FORMATS.items():
        if flag[name].present and flag.format not in formats:
            raise UsageError(f"--{name} does not go with --format={flag.format}, only with {' or '.join(formats)}")
    if flag.format in _OF_AGENT:
        _export_agent(flag)
    else:
        _export_data(flag, config_file.value)


def _export_agent(flag: flags.FlagValues):
    """The newest checkpoint of a run, in one file."""
    require(flag, "workdir")
    output = pathlib.Path(flag.output)
    require_page(output)
    if output.exists() and not flag.overwrite:
        raise UsageError(f"--output={output} is there already; name another file, or replace it (--overwrite)")
    import jax

    from gato_jax.checkpoints import CheckpointStore, export_params
    from gato_jax.model import count_parameters

    with contextlib.closing(CheckpointStore(pathlib.Path(flag.workdir), read_only=True)) as store:
        agent = store.restore_agent()
    export_params(agent, output, dtype=flag.dtype)
    made = {
        "parameters": count_parameters(agent.params),
        "tensors": len(jax.tree.leaves(agent.params)),
        "bytes": output.stat().st_size,
        "step": agent.step,
    }
    write_json(flag.json, made)
    print(f"{made['parameters']} parameters of step {agent.step}, in {flag.dtype}: {made['bytes']} bytes in {output}")


def _export_data(flag: flags.FlagValues, config: Any):
    """A dataset, as token records or as Parquet rows."""
    require(flag, "data")
    from gato_jax.batching import Export
    from gato_jax.verbs.data import open_data

    output, settings = pathlib.Path(flag.output), _tokenization(config)
    reader = open_data(flag.data, flag.split)
    job = Export(
        spec=reader.spec,
        split=flag.split,
        fingerprint=reader.fingerprint,
        format=flag.format,
        context=flag.context,
        **settings,
    )
    with contextlib.ExitStack() as bars:
        made = job.write(output, _Watched(reader, bars), overwrite=flag.overwrite)
    write_json(flag.json, made._asdict())
    unit, use = ("rows", "") if flag.format == "parquet" else ("timesteps", f"; train on it as tokens:{output}")
    print(f"{reader.spec.name}: {made.rows} {unit}, {made.tokens} tokens in {output}{use}")


@dataclasses.dataclass(frozen=True)
class _Watched:
    """Episodes under a progress bar, as often as they are read; the bars close with `bars`."""

    reader: EpisodeReader
    bars: contextlib.ExitStack

    def __iter__(self) -> Iterator[Episode]:
        bar = watched(iter(self.reader), total=len(self.reader), desc=f"export {self.reader.spec.name}", unit="episode")
        return self.bars.enter_context(contextlib.closing(bar))


def _tokenization(config: Any) -> dict[str, Any]:
    """The tokenization of a config, with its image tokenizer; the paper's where there is no config."""
    from gato_jax.tokenization import Tokenization

    if config is None:
        return {"tokenization": Tokenization()}
    from gato_jax.tokenization.image_tokenizer import ImageTokenizer
    from gato_jax.training import TrainConfig

    if "{workdir}" in (config.get("image_tokenizer") or ""):
        raise UsageError(f"--config.image_tokenizer={config.image_tokenizer}: an export has no workdir; name a folder")
    run = TrainConfig.from_mapping(config)
    images = None if run.image_tokenizer is None else ImageTokenizer.load(pathlib.Path(run.image_tokenizer))
    return {"tokenization": run.model.tokenization, "image_tokenizer": images}
