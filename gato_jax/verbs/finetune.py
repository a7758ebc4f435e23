"""`gato finetune`: an agent and some episodes of one task become its learning curve there (paper, appendix E)."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.verbs.data import open_data
from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import make_folder, write_json

with epy.lazy_imports():
    import jax

    from gato_jax import checkpoints, environments, episodes, evaluation, policy, tokenization, training
    from gato_jax.evaluation import learning_curve
    from gato_jax.reports import provenance
    from gato_jax.sources import selection as selections


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

    path = pathlib.Path(flag.get_flag_value("from", ""))
    checkpoint = _open_checkpoint(path)
    config, run = training.read_finetuning(config_file.value, checkpoint, path, pathlib.Path(flag.workdir))
    selection = _select(config, run)
    workdir = make_folder(flag.workdir)
    start_file = workdir / "finetune_start.json"
    training.require_same_start(start_file, training.identity(config, checkpoint) | selection.to_json(), workdir)
    references = evaluation.gather_references([config.task], workdir)[config.task] if config.rollouts else None
    print(f"{_said(selection, config)}, all in {start_file}")
    mixture = training.open_run_mixture(run, workdir, {config.task: selection})
    training.require_same_run(run, mixture, workdir)
    write_json(workdir / "data.json", provenance.describe_data(mixture))
    curve = learning_curve.LearningCurve(
        path=workdir / "finetune.jsonl", task=config.task, every=config.evaluate_every, rollouts=config.rollouts,
        environments=config.environments, temperature=config.temperature,
    )  # fmt: skip

    def start(program, key):  # of a run that has no checkpoint yet
        curve.forget()
        return training.from_params(checkpoint.params)(program, key)

    metrics = training.train(
        run, mixture, workdir, stop_after=flag.stop_after, start=start,
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


def _on_one_device(workdir: pathlib.Path) -> policy.Agent:
    """The newest agent, which acts sooner on a device of its own than spread as it is trained."""
    agent = policy.Agent.restore(workdir)
    return dataclasses.replace(agent, params=jax.device_put(agent.params, jax.local_devices()[0]))


def _open_checkpoint(path: pathlib.Path) -> checkpoints.AgentCheckpoint:

    if not path.is_file() and not (path / "checkpoints").is_dir():
        raise UsageError(
            f"--from={path}: no checkpoint there; give the folder of a run that was trained, or the .safetensors file "
            "that gato export wrote"
        )
    return checkpoints.restore_agent(path)


def _select(config: training.FinetuneConfig, run: training.TrainConfig) -> selections.Selection:
    """The episodes to learn from, once they are known to be of the task and as its environment has them."""
    played = _spec_of_environment(config.task) if config.rollouts else None
    source = run.datasets[config.task].source
    reader = open_data(source)
    if reader.spec.name != config.task:
        raise UsageError(
            f"dataset.source={source} is of task {reader.spec.name}, the config's task is {config.task}; change one "
            "of them"
        )
    if played is not None:
        settings = run.model.tokenization
        recorded = tokenization.Contract.of(settings, [reader.spec])
        recorded.require_equal(tokenization.Contract.of(settings, [played]), f"the environment {config.task}")
    return selections.select(reader, episodes=config.episodes, keep_best=config.keep_best, series=config.series)


def _spec_of_environment(task: str) -> episodes.TaskSpec:
    """Of the environment itself: what cannot be loaded is an error before the first step, not at the first rollout."""
    try:
        return environments.load(task).task_spec
    except environments.UnknownTaskError as error:
        raise UsageError(f"{error}; rollouts=0 fine-tunes on a task that has no environment") from None


def _said(selection: selections.Selection, config: training.FinetuneConfig) -> str:
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
    config: training.FinetuneConfig,
    spec: episodes.TaskSpec,
    curve: learning_curve.LearningCurve,
    references: evaluation.References | None,
) -> dict[str, Any]:
    """The learning curve as the JSON has it."""
    evaluations = curve.evaluations()
    smoothed = learning_curve.smooth(evaluations, config.smoothing)
    highest = learning_curve.best(smoothed)
    return {
        "task": config.task,
        "episodes": config.episodes,
        "series": config.series,
        "curve": [evaluation.to_json() for evaluation in evaluations],
        "smoothed": [evaluation.to_json() for evaluation in smoothed],
        "best_step": None if highest is None else highest.step,
        "score": None if highest is None else highest.mean,
        "metric": spec.metric,
        "normalised": None if highest is None else evaluation.normalise(highest.mean, references),
    }
