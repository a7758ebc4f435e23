"""`gato train`: an agent is trained from a config into the folder of a run."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import devices, interruptible, sessions
from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import define_config, define_on_damage, parse_flags
from gato_jax.verbs.outputs import write_json
from gato_jax.verbs.renderers import choose_renderer, define_renderer
from gato_jax.verbs.runs import require_agent

with epy.lazy_imports():
    import jax

    from gato_jax import checkpoints, planning, training
    from gato_jax.evaluation import training_evaluators
    from gato_jax.reports import provenance

RESULT = ("step", "loss", "tokens", "tokens_per_second", "parameters")


def train(flag: flags.FlagValues, argv: Sequence[str]):
    """Train an agent. A run that was interrupted continues from its newest checkpoint when the command is repeated."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=flag)
    flags.DEFINE_string("json", None, "File for the last metrics.", flag_values=flag)
    flags.DEFINE_integer(
        "stop_after", None, "Step of the run after which to stop, with a checkpoint.", lower_bound=1, flag_values=flag
    )
    define_on_damage(flag)
    define_renderer(flag)
    parse_flags(flag, argv, required=("config", "workdir"))
    workdir = as_path(flag.workdir)
    command = shlex.join(["gato", "train", *argv[1:]])
    with interruptible(f"Go on with: {command}") as interruption:
        with interruption.at_once():  # while JAX is imported, too
            choose_renderer(flag)
            config = training.TrainConfig.from_mapping(config_file.value, workdir)
            if config.init_from is not None and not (workdir / "checkpoints").is_dir():
                require_agent("config.init_from", config.init_from)
            if config.distributed:
                training.join_processes()
            devices.print_devices()
            planning.require_memory(config)
        with training.hold_run(workdir):
            with interruption.at_once():  # records that are made by then are kept
                if flag.on_damage == "previous":
                    checkpoints.set_aside_damaged(workdir)
                start = training.choose_start(config, workdir)
                with training.first_process_first("records"):
                    mixture = training.open_run_mixture(config, workdir)
                    training.require_same_run(config, mixture, workdir)
                planning.require_memory(config, mixture)
                evaluators = training_evaluators.open_evaluators(config, mixture, workdir)
                if not jax.process_index():
                    write_json(workdir / "data.json", provenance.describe_data(mixture))
                    sessions.record_session(workdir, argv, devices.describe_devices())
            metrics = training.train(
                config, mixture, workdir, stop_after=flag.stop_after, start=start, evaluators=evaluators,
                interruption=interruption, command=command,
            )  # fmt: skip
    write_json(flag.json, {name: metrics.get(name) for name in RESULT})
    loss = f", loss {metrics['loss']:.4f}" if "loss" in metrics else ""
    print(f"trained to step {metrics['step']}{loss}; run in {workdir}")
    if metrics["interrupted"]:
        print(f"ended by {metrics['interrupted']} with a checkpoint of the last step. Go on with: {command}")
