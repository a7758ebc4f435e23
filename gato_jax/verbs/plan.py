"""`gato plan`: memory, speed and duration of a training run on accelerators that are not present."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime import interruptible
from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import UsageError, define_config, parse_flags
from gato_jax.verbs.outputs import show_progress, write_json

with epy.lazy_imports():
    import jax

    from gato_jax import batching, planning, training


# Settings that let libtpu compile for TPUs that are not present. Without them it queries the cloud for its location,
# logs an error, and refuses to be loaded by two processes. They do not affect the code that it compiles.
_LIBTPU = {
    "TPU_SKIP_MDS_QUERY": "1",
    "ALLOW_MULTIPLE_LIBTPU_LOAD": "1",
    "TPU_ACCELERATOR_TYPE": "v4-8",
    "TPU_WORKER_HOSTNAMES": "localhost",
}


def plan(flag: flags.FlagValues, argv: Sequence[str]):
    """Compile the train step for accelerators that are not present and print its memory, speed and duration."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string(
        "topology", None, "Accelerators to plan for, such as v3:16x16, v5p:4x4x4 or h100:8.", flag_values=flag
    )
    flags.DEFINE_string(
        "workdir",
        None,
        "Folder of a run whose datasets give the token budgets. Default: plan for the worst case.",
        flag_values=flag,
    )
    flags.DEFINE_integer(
        "tokens",
        None,
        "Token budget for the estimate of training days. Default: all of config.steps.",
        flag_values=flag,
    )
    flags.DEFINE_string(
        "serialize", None, "File to write the compiled step to, for `load_step` on the accelerators.", flag_values=flag
    )
    flags.DEFINE_bool("sweep", False, "Plan a table of batch sizes, fsdp axes and remat policies.", flag_values=flag)
    flags.DEFINE_list(
        "batches", [], "Batch sizes of --sweep, comma-separated. Default: config.batch_size.", flag_values=flag
    )
    flags.DEFINE_list(
        "fsdps", [], "Sizes of the fsdp axis of --sweep, comma-separated. Default: all up to 64.", flag_values=flag
    )
    flags.DEFINE_list("remats", [], "Remat policies of --sweep, comma-separated. Default: all.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the plan to.", flag_values=flag)
    for name, value in _LIBTPU.items():  # before the config file imports jax
        os.environ.setdefault(name, value)
    parse_flags(flag, argv, required=("config", "topology"))
    _require_fitting_flags(flag)

    # A compilation takes minutes, in which Python itself cannot react to a signal.
    with interruptible("Nothing was planned.", resumable=False) as interruption, interruption.at_once():
        topology = planning.parse_topology(flag.topology)
        if topology.chip.platform == "tpu":
            jax.config.update("jax_platforms", "cpu")  # the planned TPU is not present; local devices are not needed
        config, mixture = _read(config_file.value, flag.workdir)
        if flag.sweep:
            _sweep(flag, config, topology, mixture)
        else:
            _plan(flag, config, topology, mixture)


def _require_fitting_flags(flag: flags.FlagValues):
    for name in ("batches", "fsdps", "remats"):
        if flag[name].present and not flag.sweep:
            raise UsageError(f"--{name} is given without --sweep. Add --sweep, or leave --{name} out.")
    for name in ("serialize", "tokens"):
        if flag[name].present and flag.sweep:
            raise UsageError(f"--{name} is given with --sweep, but applies to a single plan. Leave one of them out.")
    if flag.serialize and pathlib.Path(flag.serialize).is_dir():
        raise UsageError(f"--serialize is {flag.serialize}, a folder, expected a file. Name a file.")


def _read(fields: Any, workdir: str | None) -> tuple[training.TrainConfig, batching.Mixture | None]:
    """Return the train config, and the mixture of the run in `workdir`, or None if `workdir` is None.

    Raises:
      UsageError: `workdir` is not a folder, or is needed for the image tokenizer of the config but missing.
    """
    if workdir is None:
        if "{workdir}" in (fields.get("image_tokenizer") or ""):
            raise UsageError(
                f"--config.image_tokenizer is {fields.image_tokenizer}, but --workdir is missing. Name its folder."
            )
        return training.TrainConfig.from_mapping(fields), None
    if not as_path(workdir).is_dir():
        raise UsageError(
            f"--workdir is {workdir}, expected a folder. Name a run, or leave it out to plan for the worst case."
        )
    config = training.TrainConfig.from_mapping(fields, as_path(workdir))
    return config, training.open_run_mixture(config, as_path(workdir))


def _plan(
    flag: flags.FlagValues, config: training.TrainConfig, topology: planning.Topology, mixture: batching.Mixture | None
):

    planned, executable = planning.make_plan(config, topology, mixture, flag.tokens)
    if flag.serialize and executable is not None:
        size = planning.save_step(executable, pathlib.Path(flag.serialize))
        planned = dataclasses.replace(planned, serialized_bytes=size)
    write_json(flag.json, planned.to_json())
    print(planning.describe_plan(planned, topology), flush=True)
    if not planned.fits:
        gib = f"{planned.hbm_bytes_per_device / 2**30:.2f} of {planned.hbm_limit / 2**30:.2f} GiB"
        raise UsageError(f"{topology.name}: the step needs {gib} per device. Set {' or '.join(planned.remedies)}.")
    if flag.serialize and executable is None:
        raise UsageError(
            f"--serialize is given, but nothing was compiled, as there is no {topology.chip.kind} here. Leave it out."
        )
    if flag.serialize:
        print(f"step in {flag.serialize}, {planned.serialized_bytes} bytes")


def _sweep(
    flag: flags.FlagValues, config: training.TrainConfig, topology: planning.Topology, mixture: batching.Mixture | None
):
    batches, fsdps = _integers("batches", flag.batches), _integers("fsdps", flag.fsdps)
    grid = planning.Grid.around(config, topology, batches=batches, fsdps=fsdps, remats=flag.remats)
    rows = list(
        show_progress(planning.sweep(config, topology, mixture, grid), total=len(grid), desc="plan", unit="plan")
    )
    picked = planning.fastest(rows)
    pick = None if picked is None else rows.index(picked)
    table = {"topology": topology.name, "rows": [dataclasses.asdict(row) for row in rows], "pick": pick}
    write_json(flag.json, table)
    print(planning.describe_sweep(rows), flush=True)
    if picked is None:
        raise UsageError(
            f"{topology.name}: none of these {len(rows)} plans fits. Try larger --fsdps or smaller --batches."
        )


def _integers(name: str, words: Sequence[str]) -> list[int]:
    try:
        return [int(value) for value in words]
    except ValueError:
        raise UsageError(
            f"--{name} is {','.join(words)}, expected whole numbers separated by commas. Correct the list."
        ) from None
