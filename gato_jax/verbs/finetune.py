"""`gato finetune`: an agent is adapted to one task and scored along its learning curve (paper, appendix E)."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import UsageError, define_config, define_on_damage, parse_flags, require
from gato_jax.verbs.outputs import make_folder, write_json

with epy.lazy_imports():
    import jax

    from gato_jax import checkpoints, environments, evaluation, policy, training
    from gato_jax.evaluation import learning_curve
    from gato_jax.reports import provenance

if TYPE_CHECKING:
    from gato_jax.checkpoints import AgentCheckpoint
    from gato_jax.episodes import TaskSpec
    from gato_jax.evaluation import References
    from gato_jax.evaluation.learning_curve import LearningCurve
    from gato_jax.policy import Agent
    from gato_jax.sources.selection import Selection
    from gato_jax.training import FinetuneConfig

_SHOWN = 10  # episodes that are listed


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
    parse_flags(flag, argv)
    require(flag, "from", "config", "workdir")
    path = as_path(flag.get_flag_value("from", ""))
    checkpoint = _open_checkpoint(path)
    config, train_config = training.read_finetuning(config_file.value, checkpoint, path, as_path(flag.workdir))
    spec = _environment_spec(config.task) if config.rollouts else None
    selection = training.select_episodes(config, train_config, spec)
    workdir = make_folder(flag.workdir)
    if flag.on_damage == "previous":
        checkpoints.set_aside_damaged(workdir)
    start_file = workdir / "finetune_start.json"
    identity = training.identity(config, checkpoint) | selection.to_json()
    training.require_same_start(start_file, identity, workdir)
    references = evaluation.gather_references([config.task], workdir)[config.task] if config.rollouts else None
    print(f"{_describe_selection(selection, config)}, all in {start_file}")
    mixture = training.open_run_mixture(train_config, workdir, {config.task: selection})
    training.require_same_run(train_config, mixture, workdir)
    write_json(workdir / "data.json", provenance.describe_data(mixture))
    curve = learning_curve.LearningCurve(
        path=workdir / "finetune.jsonl", task=config.task, every=config.evaluate_every, rollouts=config.rollouts,
        environments=config.environments, temperature=config.temperature,
    )  # fmt: skip

    def start(program, key):
        curve.forget()  # evaluations of a run that was killed before its first checkpoint
        return training.from_params(checkpoint.params)(program, key)

    metrics = training.train(
        train_config, mixture, workdir, stop_after=flag.stop_after, start=start,
        after_checkpoint=lambda step: curve.reach(step, lambda: _restore_on_one_device(workdir)),
    )  # fmt: skip
    result = {name: metrics.get(name) for name in ("step", "loss", "tokens", "tokens_per_second", "parameters")}
    result |= _score(config, selection.spec, curve, references)
    write_json(workdir / "finetune.json", result)
    write_json(flag.json, result)
    if result["score"] is not None:
        print(
            f"score {result['score']:.4g} ({result['metric']}), over the evaluations up to step {result['best_step']}"
        )
    print(f"curve in {workdir / 'finetune.json'}, the newest checkpoints in {workdir / 'checkpoints'}")


def _restore_on_one_device(workdir: pathlib.Path) -> Agent:
    """Return the agent of the newest checkpoint in `workdir` on one device, where it acts faster than on a mesh."""
    agent = policy.Agent.restore(workdir)
    return dataclasses.replace(agent, params=jax.device_put(agent.params, jax.local_devices()[0]))


def _open_checkpoint(path: pathlib.Path) -> AgentCheckpoint:
    if not path.is_file() and not (path / "checkpoints").is_dir():
        raise UsageError(
            f"--from={path}: no checkpoint there; give the folder of a run that was trained, or the .safetensors file "
            "that gato export wrote"
        )
    return checkpoints.restore_agent(path)


def _environment_spec(task: str) -> TaskSpec:
    """Return the spec of the task's environment, which is loaded now, so that an error comes before training.

    Raises:
      UsageError: no environment has this task.
      MissingPackageError: the task does not run here.
    """
    try:
        return environments.load(task).task_spec
    except environments.UnknownTaskError as error:
        raise UsageError(f"{error}; rollouts=0 fine-tunes on a task that has no environment") from None


def _describe_selection(selection: Selection, config: FinetuneConfig) -> str:
    """Return a line on the episodes that were drawn, with the numbers and returns of the first ten.

    For example, `2 episodes, series 0, drawn from the best 10 of 50; numbers (and returns): 3 (0.91), 7 (0.88)`.
    """
    recorded, candidates = len(selection.reader), selection.candidates
    best = f"the best {candidates}" if candidates < recorded else f"all, no more than {config.keep_best},"
    pairs = zip(selection.positions.tolist()[:_SHOWN], selection.returns.tolist()[:_SHOWN], strict=True)
    more = f", {len(selection) - _SHOWN} more" if len(selection) > _SHOWN else ""
    return (
        f"{len(selection)} episodes, series {config.series}, drawn from {best} of {recorded}; numbers (and returns): "
        + ", ".join(f"{number} ({value:.4g})" for number, value in pairs)
        + more
    )


def _score(
    config: FinetuneConfig, spec: TaskSpec, curve: LearningCurve, references: References | None
) -> dict[str, Any]:
    """Return the learning curve and the score, the maximum of the smoothed curve, as a dict for JSON.

    `score`, `best_step` and `normalised` are None as long as the smoothed curve is empty.
    """
    evaluations = curve.evaluations()
    smoothed = learning_curve.smooth(evaluations, config.smoothing)
    highest = learning_curve.best(smoothed)
    return {
        "task": config.task,
        "episodes": config.episodes,
        "series": config.series,
        "curve": [point.to_json() for point in evaluations],
        "smoothed": [point.to_json() for point in smoothed],
        "best_step": None if highest is None else highest.step,
        "score": None if highest is None else highest.mean,
        "metric": spec.metric,
        "normalised": None if highest is None else evaluation.normalise(highest.mean, references),
    }
