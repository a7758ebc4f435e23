"""`gato export`: a dataset, tokenized once, with its contract."""

from __future__ import annotations

import contextlib
import dataclasses
import pathlib
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import watched, write_json

if TYPE_CHECKING:
    from gato_jax.episodes import Episode
    from gato_jax.sources import EpisodeReader


def export(flag: flags.FlagValues, argv: Sequence[str]):
    """Tokenizes a dataset once: into records to train on as tokens:DIR, or into Parquet for other tools."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string("data", None, "folder of the dataset, or a source KIND:WHERE", flag_values=flag)
    flags.DEFINE_string("split", "train", "of the dataset", flag_values=flag)
    flags.DEFINE_enum("format", None, ["array_record", "parquet"], "what is written", flag_values=flag)
    flags.DEFINE_string("output", None, "folder of the export", flag_values=flag)
    flags.DEFINE_integer(
        "context", 1024, "with --format=parquet: tokens of a row at most", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_bool("overwrite", False, "replace another export that is there", flag_values=flag)
    flags.DEFINE_string("json", None, "write the counts here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "data", "format", "output")
    if flag["context"].present and flag.format != "parquet":
        raise UsageError(f"--context does not go with --format={flag.format}, which has no rows; leave it out")
    from gato_jax.batching import Export
    from gato_jax.verbs.data import open_data

    output, settings = pathlib.Path(flag.output), _tokenization(config_file.value)
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
    from gato_jax.verbs.data import read_config

    if "{workdir}" in (config.get("image_tokenizer") or ""):
        raise UsageError(f"--config.image_tokenizer={config.image_tokenizer}: an export has no workdir; name a folder")
    run = read_config(config, pathlib.Path())
    images = None if run.image_tokenizer is None else ImageTokenizer.load(pathlib.Path(run.image_tokenizer))
    return {"tokenization": run.model.tokenization, "image_tokenizer": images}
