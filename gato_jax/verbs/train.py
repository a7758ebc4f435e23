"""`gato train`: a config, its datasets and a folder become an agent."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import define_config, parse_flags, require
from gato_jax.verbs.outputs import make_folder, write_json

if TYPE_CHECKING:
    from gato_jax.batching import Mixture, TokenRecords
    from gato_jax.training import TrainConfig


def train(flag: flags.FlagValues, argv: Sequence[str]):
    """Trains an agent; run again, it goes on from its newest checkpoint."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=flag)
    flags.DEFINE_string("json", None, "write the last metrics here", flag_values=flag)
    flags.DEFINE_integer(
        "stop_after", None, "stop, with a checkpoint, after this step", lower_bound=1, flag_values=flag
    )
    parse_flags(flag, argv)
    require(flag, "config", "workdir")
    from gato_jax.training import (
        first_process_first,
        from_scratch,
        join_processes,
        require_same_run,
        with_image_trunk,
    )  # fmt: skip
    from gato_jax.training import train as run_training
    from gato_jax.verbs.data import open_mixture, read_config

    config = read_config(config_file.value, pathlib.Path(flag.workdir))
    if config.distributed:
        join_processes()
    trunk = config.image_trunk_weights
    start = from_scratch if trunk is None else with_image_trunk(pathlib.Path(trunk))
    workdir = make_folder(flag.workdir)
    with first_process_first("records"):
        mixture = open_mixture(config, workdir)
        require_same_run(config, mixture, workdir)
        write_json(workdir / "data.json", data_rows(mixture, config, workdir))
    metrics = run_training(config, mixture, workdir, stop_after=flag.stop_after, start=start)
    write_json(
        flag.json, {name: metrics.get(name) for name in ("step", "loss", "tokens", "tokens_per_second", "parameters")}
    )
    reached = f"trained to step {metrics['step']}, loss {metrics['loss']:.4f}" if "step" in metrics else "stopped early"
    print(f"{reached}; run in {workdir}")


def data_rows(mixture: Mixture, config: TrainConfig, workdir: pathlib.Path) -> list[dict[str, Any]]:
    """What reports say of each dataset, and of the conversions that led to those of ours."""
    from gato_jax.verbs.data import UNAVAILABLE

    read = [dataset.source for dataset in config.datasets if not dataset.source.startswith(UNAVAILABLE)]
    noted = [_noted(source.replace("{workdir}", str(workdir))) for source in read]
    return [
        {
            "dataset": entry.records.spec.name,
            "episodes": entry.records.episodes,
            "steps": entry.records.steps,
            **{name: _distinct(entry.records, name) for name in ("source", "licence", "kind", "agent")},
            "weight": float(share),
            "fingerprint": entry.records.fingerprint,
            "provenances": [
                {"episodes": episodes, **dataclasses.asdict(provenance)}
                for provenance, episodes in entry.records.provenance_counts.items()
            ],
            **conversions,
        }
        for entry, share, conversions in zip(mixture.entries, mixture.shares, noted, strict=True)
    ]


def _noted(source: str) -> dict[str, Any]:
    """The conversions that led to a dataset of ours, noted now: its folder may go. Tokens do not say from which."""
    from gato_jax.reports.provenance import read_conversions

    kind, _, where = source.partition(":")
    if kind == "tokens":
        return {}
    made = read_conversions(pathlib.Path(where)) if kind == "recorded" else ()
    return {"conversions": [dataclasses.asdict(conversion) for conversion in made]}


def _distinct(records: TokenRecords, name: str) -> str:
    """What the provenances of a dataset say of one thing."""
    return "; ".join(dict.fromkeys(getattr(provenance, name) for provenance in records.provenances))
