"""`gato finetune`: an agent and some episodes of one task become its learning curve there (paper, appendix E)."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import make_folder, write_json

if TYPE_CHECKING:
    from gato_jax.checkpoints import AgentCheckpoint
    from gato_jax.episodes import TaskSpec
    from gato_jax.evaluation import References
    from gato_jax.evaluation.learning_curve import LearningCurve
    from gato_jax.policy import Agent
    from gato_jax.sources.selection import Selection
    from gato_jax.training import FinetuneConfig, TrainConfig


def finetune(flag: flags.FlagValues, argv: Sequence[str]):
    """Adapts an agent to one task, as the paper does; run again, it goes on from its newest checkpoint."""
    config_file = define_config(flag, argv)
    flags.DEFINE_string("from", None, "what it begins as: a run's folder or a .safetensors file", flag_values=flag)
    flags.DEFINE_string("workdir", None, "folder of this run", flag_values=flag)
    flags.DEFINE_string("json", None, "write learning curve and score here, too", flag_values=flag)
    flags.DEFINE_integer(
        "stop_after", None, "stop, with a checkpoint, after this step", lower_bound=1, flag_values=flag
    )
    parse_flags(flag, argv)
    require(flag, "from", "config", "workdir")
    from gato_jax.evaluation import gather_references
    from gato_jax.evaluation.learning_curve import LearningCurve
    from gato_jax.reports.provenance import describe_data
    from gato_jax.training import (
        from_params,
        identity,
        open_run_mixture,
        read_finetuning,
        require_same_run,
        require_same_start,
        train,
    )  # fmt: skip

    path = pathlib.Path(flag.get_flag_value("from", ""))
    checkpoint = _open_checkpoint(path)
    config, training = read_finetuning(config_file.value, checkpoint, path, pathlib.Path(flag.workdir))
    selection = _select(config, training)
    workdir = make_folder(flag.workdir)
    start_file = workdir / "finetune_start.json"
    require_same_start(start_file, identity(config, checkpoint) | selection.to_json(), workdir)
    references = gather_references([config.task], workdir)[config.task] if config.rollouts else None
    print(f"{_said(selection, config)}, all in {start_file}")
    mixture = open_run_mixture(training, workdir, {config.task: selection})
    require_same_run(training, mixture, workdir)
    write_json(workdir / "data.json", describe_data(mixture))
    curve = LearningCurve(
        path=workdir / "finetune.jsonl", task=config.task, every=config.evaluate_every, rollouts=config.rollouts,
        environments=config.environments, temperature=config.temperature,
    )  # fmt: skip

    def start(program, key):  # of a run that has no checkpoint yet
        curve.forget()
        return from_params(checkpoint.params)(program, key)

    metrics = train(
        training, mixture, workdir, stop_after=flag.stop_after, start=start,
        after_checkpoint=lambda step: curve.reach(step, lambda: _on_one_device(workdir)),
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


def _on_one_device(workdir: pathlib.Path) -> Agent:
    """The newest agent, which acts sooner on a device of its own than spread as it is trained."""
    import jax

    from gato_jax.policy import Agent

    agent = Agent.restore(workdir)
    return dataclasses.replace(agent, params=jax.device_put(agent.params, jax.local_devices()[0]))


def _open_checkpoint(path: pathlib.Path) -> AgentCheckpoint:
    from gato_jax.checkpoints import restore_agent

    if not path.is_file() and not (path / "checkpoints").is_dir():
        raise UsageError(
            f"--from={path}: no checkpoint there; give the folder of a run that was trained, or the .safetensors file "
            "that gato export wrote"
        )
    return restore_agent(path)


def _select(config: FinetuneConfig, training: TrainConfig) -> Selection:
    """The episodes to learn from, once they are known to be of the task and as its environment has them."""
    from gato_jax.sources.selection import select
    from gato_jax.tokenization import Contract
    from gato_jax.verbs.data import open_data

    played = _spec_of_environment(config.task) if config.rollouts else None
    source = training.datasets[config.task].source
    reader = open_data(source)
    if reader.spec.name != config.task:
        raise UsageError(
            f"dataset.source={source} is of task {reader.spec.name}, the config's task is {config.task}; change one "
            "of them"
        )
    if played is not None:
        settings = training.model.tokenization
        recorded = Contract.of(settings, [reader.spec])
        recorded.require_equal(Contract.of(settings, [played]), f"the environment {config.task}")
    return select(reader, episodes=config.episodes, keep_best=config.keep_best, series=config.series)


def _spec_of_environment(task: str) -> TaskSpec:
    """Of the environment itself: what cannot be loaded is an error before the first step, not at the first rollout."""
    from gato_jax.environments import UnknownTaskError, load

    try:
        return load(task).task_spec
    except UnknownTaskError as error:
        raise UsageError(f"{error}; rollouts=0 fine-tunes on a task that has no environment") from None


def _said(selection: Selection, config: FinetuneConfig) -> str:
    recorded, shown = len(selection.reader), 10
    kept = (
        f"the best {selection.candidates}"
        if selection.candidates < recorded
        else f"all, no more than {config.keep_best},"
    )
    pairs = zip(selection.positions.tolist()[:shown], selection.returns.tolist()[:shown], strict=True)
    more = f", {len(selection) - shown} more" if len(selection) > shown else ""
    return (
        f"{len(selection)} episodes, series {config.series}, drawn from {kept} of {recorded}; numbers (and returns): "
        + ", ".join(f"{number} ({value:.4g})" for number, value in pairs)
        + more
    )


def _score(
    config: FinetuneConfig, spec: TaskSpec, curve: LearningCurve, references: References | None
) -> dict[str, Any]:
    """The learning curve as the JSON has it."""
    from gato_jax.evaluation import normalise
    from gato_jax.evaluation.learning_curve import best, smooth

    evaluations = curve.evaluations()
    smoothed = smooth(evaluations, config.smoothing)
    highest = best(smoothed)
    return {
        "task": config.task,
        "episodes": config.episodes,
        "series": config.series,
        "curve": [evaluation.to_json() for evaluation in evaluations],
        "smoothed": [evaluation.to_json() for evaluation in smoothed],
        "best_step": None if highest is None else highest.step,
        "score": None if highest is None else highest.mean,
        "metric": spec.metric,
        "normalised": None if highest is None else normalise(highest.mean, references),
    }
