"""`gato train`: a config, its datasets and a folder become an agent."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence

from absl import flags

from gato_jax.verbs.flags import define_config, parse_flags, require
from gato_jax.verbs.outputs import make_folder, write_json


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
    from gato_jax.reports.provenance import describe_data
    from gato_jax.training import (
        TrainConfig,
        first_process_first,
        from_scratch,
        join_processes,
        require_same_run,
        with_image_trunk,
    )  # fmt: skip
    from gato_jax.training import train as run_training
    from gato_jax.verbs.data import open_mixture

    config = TrainConfig.from_mapping(config_file.value, pathlib.Path(flag.workdir))
    if config.distributed:
        join_processes()
    trunk = config.image_trunk_weights
    start = from_scratch if trunk is None else with_image_trunk(pathlib.Path(trunk))
    workdir = make_folder(flag.workdir)
    with first_process_first("records"):
        mixture = open_mixture(config, workdir)
        require_same_run(config, mixture, workdir)
        write_json(workdir / "data.json", describe_data(mixture))
    metrics = run_training(config, mixture, workdir, stop_after=flag.stop_after, start=start)
    write_json(
        flag.json, {name: metrics.get(name) for name in ("step", "loss", "tokens", "tokens_per_second", "parameters")}
    )
    reached = f"trained to step {metrics['step']}, loss {metrics['loss']:.4f}" if "step" in metrics else "stopped early"
    print(f"{reached}; run in {workdir}")
