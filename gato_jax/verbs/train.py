"""`gato train`: a config, its datasets and a folder become an agent."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import define_config, parse_flags, require
from gato_jax.verbs.outputs import make_folder, write_json

if TYPE_CHECKING:
    from gato_jax.batching import Mixture


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
    from gato_jax.training import train as run_training
    from gato_jax.verbs.data import open_mixture, read_config

    config = read_config(config_file.value, pathlib.Path(flag.workdir))
    workdir = make_folder(flag.workdir)
    mixture = open_mixture(config, workdir)
    write_json(workdir / "data.json", [_data_row(mixture, number) for number in range(len(mixture.entries))])
    metrics = run_training(config, mixture, workdir, stop_after=flag.stop_after)
    write_json(
        flag.json, {name: metrics.get(name) for name in ("step", "loss", "tokens", "tokens_per_second", "parameters")}
    )
    reached = f"trained to step {metrics['step']}, loss {metrics['loss']:.4f}" if "step" in metrics else "stopped early"
    print(f"{reached}; run in {workdir}")


def _data_row(mixture: Mixture, number: int) -> dict[str, Any]:
    """What a report says of one dataset."""
    records = mixture.entries[number].records
    provenance = records.provenance
    return {
        "dataset": records.spec.name,
        "episodes": len(records.episode_steps),
        "steps": len(records.step_tokens),
        "source": provenance.source,
        "licence": provenance.licence,
        "kind": provenance.kind,
        "agent": provenance.agent,
        "weight": float(mixture.shares[number]),
    }
