"""`gato finetune`: an agent is adapted to one task and scored along its learning curve (paper, appendix E)."""

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
    from gato_jax import checkpoints, evaluation, planning, policy, training
    from gato_jax.evaluation import learning_curve
    from gato_jax.reports import provenance


def finetune(flag: flags.FlagValues, argv: Sequence[str]):
    """Adapt an agent to one task with some of its episodes, as in the paper's appendix E.

    A run that was interrupted continues from its newest checkpoint when the command is repeated.
    """
    config_file = define_config(flag, argv)
    flags.DEFINE_string("from", None, "Agent to begin with: a run's folder or a .safetensors file.", flag_values=flag)
    flags.DEFINE_string("workdir", None, "Folder of the new run.", flag_values=flag)
    flags.DEFINE_string("json", None, "File for the learning curve and the score.", flag_values=flag)
    flags.DEFINE_integer(
        "stop_after", None, "Step of the run after which to stop, with a checkpoint.", lower_bound=1, flag_values=flag
    )
    define_on_damage(flag)
    define_renderer(flag)
    parse_flags(flag, argv, required=("from", "config", "workdir"))
    workdir = as_path(flag.workdir)
    path = require_agent("from", flag.get_flag_value("from", ""))
    command = shlex.join(["gato", "finetune", *argv[1:]])
    with interruptible(f"Go on with: {command}") as interruption:
        with interruption.at_once():  # while JAX is imported, too
            choose_renderer(flag)
            checkpoint = checkpoints.restore_agent(path)
            config, train_config = training.read_finetuning(config_file.value, checkpoint, path, workdir)
            devices.print_devices()
            planning.require_memory(train_config)
            spec = learning_curve.environment_spec(config.task) if config.rollouts else None
            selection = training.select_episodes(config, train_config, spec)
        with training.hold_run(workdir):
            with interruption.at_once():  # records that are made by then are kept
                if flag.on_damage == "previous":
                    checkpoints.set_aside_damaged(workdir)
                start_file = workdir / "finetune_start.json"
                identity = training.identity(config, checkpoint) | selection.to_json()
                training.require_same_start(start_file, identity, workdir)
                references = (
                    evaluation.gather_references([config.task], workdir)[config.task] if config.rollouts else None
                )
                print(f"{training.describe_selection(selection, config)}, all in {start_file}")
                mixture = training.open_run_mixture(train_config, workdir, {config.task: selection})
                training.require_same_run(train_config, mixture, workdir)
                write_json(workdir / "data.json", provenance.describe_data(mixture))
                sessions.record_session(workdir, argv, devices.describe_devices())
                planning.require_memory(train_config, mixture)
            curve = learning_curve.LearningCurve(
                path=workdir / "finetune.jsonl", task=config.task, every=config.evaluate_every,
                rollouts=config.rollouts, environments=config.environments, temperature=config.temperature,
            )  # fmt: skip

            def start(program, key):
                curve.forget()  # evaluations of a run that was killed before its first checkpoint
                return training.from_params(checkpoint.params)(program, key)

            metrics = training.train(
                train_config, mixture, workdir, stop_after=flag.stop_after, start=start, interruption=interruption,
                command=command,
                after_checkpoint=lambda step: curve.reach(step, lambda: policy.Agent.restore(workdir).on_one_device()),
            )  # fmt: skip
        result = {name: metrics.get(name) for name in ("step", "loss", "tokens", "tokens_per_second", "parameters")}
        result |= {"task": config.task, "episodes": config.episodes, "series": config.series}
        result |= {"metric": selection.spec.metric}
        result |= curve.score(config.smoothing, references)
        write_json(workdir / "finetune.json", result)
        write_json(flag.json, result)
    if result["score"] is not None:
        print(
            f"score {result['score']:.4g} ({result['metric']}), over the evaluations up to step {result['best_step']}"
        )
    print(f"trained to step {metrics['step']}; curve in {workdir / 'finetune.json'}, run in {workdir}")
    if metrics["interrupted"]:
        print(f"ended by {metrics['interrupted']} with a checkpoint of the last step. Go on with: {command}")
