"""`gato plan`: a config and the name of a pod become what one wants to know before renting it."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import watched, write_json

if TYPE_CHECKING:
    from gato_jax.batching import Mixture
    from gato_jax.planning import Topology
    from gato_jax.training import TrainConfig

# libtpu compiles for TPUs that are not there, and would else ask the cloud where it is, complain that nobody knows, and
# refuse to be loaded by two processes. What it is told of this machine has no bearing on what it compiles for.
_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v4-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def plan(flag: flags.FlagValues, argv: Sequence[str]):
    """Compiles the train step for a pod that is not there: does it fit, how fast is it, how many days does it take."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string("topology", None, "chips, as v3:16x16, v5p:4x4x4 or h100:8", flag_values=flag)
    flags.DEFINE_string("workdir", None, "folder of a run, whose data say the budgets", flag_values=flag)
    flags.DEFINE_integer("tokens", None, "days are to so many; to the end of config.steps otherwise", flag_values=flag)
    flags.DEFINE_string("serialize", None, "write the compiled step here, for load_step on the pod", flag_values=flag)
    flags.DEFINE_bool("sweep", False, "a table over batches, fsdp and remat, to pick from", flag_values=flag)
    flags.DEFINE_list("batches", [], "with --sweep: batch sizes; config.batch_size otherwise", flag_values=flag)
    flags.DEFINE_list("fsdps", [], "with --sweep: mesh.fsdp; up to 64 otherwise", flag_values=flag)
    flags.DEFINE_list("remats", [], "with --sweep: compute.remat; all otherwise", flag_values=flag)
    flags.DEFINE_string("json", None, "write the plan here", flag_values=flag)
    for name, value in _LIBTPU.items():  # before the config file imports jax
        os.environ.setdefault(name, value)
    parse_flags(flag, argv)
    require(flag, "config", "topology")
    _require_fitting_flags(flag)
    from gato_jax.planning import parse_topology

    topology = parse_topology(flag.topology)
    if topology.chip.platform == "tpu":
        import jax

        jax.config.update("jax_platforms", "cpu")  # what is planned for is not here, and what is here is left alone
    config, mixture = _read(config_file.value, flag.workdir)
    if flag.sweep:
        _sweep(flag, config, topology, mixture)
    else:
        _plan(flag, config, topology, mixture)


def _require_fitting_flags(flag: flags.FlagValues):
    for name in ("batches", "fsdps", "remats"):
        if flag[name].present and not flag.sweep:
            raise UsageError(f"--{name} goes with --sweep; add it, or leave --{name} out")
    for name in ("serialize", "tokens"):
        if flag[name].present and flag.sweep:
            raise UsageError(f"--{name} is of one plan, not of a --sweep; leave one of them out")
    if flag.serialize and pathlib.Path(flag.serialize).is_dir():
        raise UsageError(f"--serialize={flag.serialize} is a folder; name a file")


def _read(fields: Any, workdir: str | None) -> tuple[TrainConfig, Mixture | None]:
    """The config, and the mixture of a run's data if its folder is named."""
    from gato_jax.training import TrainConfig
    from gato_jax.verbs.data import open_mixture

    if workdir is None:
        if "{workdir}" in (fields.get("image_tokenizer") or ""):
            raise UsageError(f"--config.image_tokenizer={fields.image_tokenizer}: name the run's --workdir")
        return TrainConfig.from_mapping(fields), None
    if not pathlib.Path(workdir).is_dir():
        raise UsageError(
            f"--workdir={workdir}: no such folder; name a run's, or leave it out to plan for the worst case"
        )
    config = TrainConfig.from_mapping(fields, pathlib.Path(workdir))
    return config, open_mixture(config, pathlib.Path(workdir))


def _plan(flag: flags.FlagValues, config: TrainConfig, topology: Topology, mixture: Mixture | None):
    from gato_jax.planning import describe_plan, make_plan, save_step

    planned, executable = make_plan(config, topology, mixture, flag.tokens)
    if flag.serialize and executable is not None:
        size = save_step(executable, pathlib.Path(flag.serialize))
        planned = dataclasses.replace(planned, serialized_bytes=size)
    write_json(flag.json, planned.to_json())
    print(describe_plan(planned, topology), flush=True)
    if not planned.fits:
        gib = f"{planned.hbm_bytes_per_device / 2**30:.2f} of {planned.hbm_limit / 2**30:.2f} GiB"
        raise UsageError(f"{topology.name}: the step needs {gib} a device; set {' or '.join(planned.remedies)}")
    if flag.serialize and executable is None:
        raise UsageError(f"--serialize: nothing was compiled, as no {topology.chip.kind} is here; leave it out")
    if flag.serialize:
        print(f"step in {flag.serialize}, {planned.serialized_bytes} bytes")


def _sweep(flag: flags.FlagValues, config: TrainConfig, topology: Topology, mixture: Mixture | None):
    from gato_jax.planning import Grid, best, describe_sweep, sweep

    batches, fsdps = _numbers("batches", flag.batches), _numbers("fsdps", flag.fsdps)
    grid = Grid.around(config, topology, batches=batches, fsdps=fsdps, remats=flag.remats)
    rows = list(watched(sweep(config, topology, mixture, grid), total=len(grid), desc="plan", unit="plan"))
    picked = best(rows)
    pick = None if picked is None else rows.index(picked)
    table = {"topology": topology.name, "rows": [dataclasses.asdict(row) for row in rows], "pick": pick}
    write_json(flag.json, table)
    print(describe_sweep(rows), flush=True)
    if picked is None:
        raise UsageError(
            f"{topology.name}: none of these {len(rows)} fits; try a larger --fsdps or a smaller --batches"
        )


def _numbers(name: str, said: Sequence[str]) -> list[int]:
    try:
        return [int(value) for value in said]
    except ValueError:
        raise UsageError(f"--{name}={','.join(said)}: must be whole numbers with commas between them") from None
