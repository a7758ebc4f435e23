"""Fine-tuning on one task, with the model and tokenization of a checkpoint and the paper's values (appendix E)."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
from flax import nnx

from gato_jax.checkpoints import AgentCheckpoint, CheckpointError, CheckpointStore
from gato_jax.episodes import TaskSpec
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.ranges import NonNegativeFloat, NonNegativeInt, PositiveInt, Seed, rule
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.sources import Fields as SourceFields
from gato_jax.sources import open_source
from gato_jax.sources.selection import Selection, select
from gato_jax.tokenization import Contract
from gato_jax.training.config import (
    READER,
    ConfigError,
    Fields,
    TrainConfig,
    config_problems,
    nested_fields,
    plain_fields,
    read_section,
)

# Defaults of fine-tuning; those of TrainConfig are for pretraining.
_ADAM = {"schedule": "constant", "peak_learning_rate": 1e-5, "warmup_steps": 0, "weight_decay": 0.0}
_REGULARISATION = {"dropout": 0.1, "stochastic_depth": 0.0}
_SHOWN = 10  # episodes that are listed
# Keys that a config may not set, with the reason and the remedy.
_FIXED = {
    "datasets": "It has one dataset. Fill the section dataset.",
    "image_tokenizer": "It is the checkpoint's. Leave it out.",
    "init_from": "All params are the checkpoint's. Leave it out.",
    "image_trunk_weights": "All params are the checkpoint's. Leave it out.",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneConfig:
    """Settings of fine-tuning beyond those of a training run; the defaults are the paper's.

    Attributes:
      task: Name of the task; the dataset must be of it.
      episodes: Number of episodes to learn from, at most `keep_best`.
      keep_best: Number of episodes of the dataset, those of the highest return, that they are drawn from.
      series: Index of the repetition, which seeds the draw; each repetition draws other episodes.
      evaluate_every: Steps between two evaluations.
      rollouts: Episodes of each evaluation; 0 for no evaluation, for a task without an environment.
      smoothing: Number of evaluations in the moving average whose maximum is the score.
      environments: Number of episodes that are played side by side.
      temperature: Temperature of sampling in the rollouts; 0 is greedy.

    Raises:
      ConfigError: A value is out of range.
    """

    task: str
    episodes: PositiveInt = 1000
    keep_best: PositiveInt = 2000
    series: Seed = 0
    evaluate_every: PositiveInt = 100
    rollouts: NonNegativeInt = 10
    smoothing: PositiveInt = 5
    environments: PositiveInt = 10
    temperature: NonNegativeFloat = 1.0

    def __post_init__(self):
        READER.check(self, "config")

    @rule
    def _episodes_are_among_the_best(self) -> str | None:
        if self.episodes <= self.keep_best:
            return None
        return f"episodes is {self.episodes}, expected at most keep_best ({self.keep_best}). Raise keep_best."


@dataclasses.dataclass(frozen=True, kw_only=True)
class FinetuneRun:
    """Settings of fine-tuning, and the config of the training run that follows from them.

    Attributes:
      finetuning: Settings of fine-tuning.
      training: Config of the run, with one dataset, named as the task, and a checkpoint for each evaluation.

    Raises:
      ConfigError: The steps are no multiple of `evaluate_every`; there are rollouts, and fewer evaluations than
        `smoothing`; or `distributed` is set. Fine-tuning runs in one process, with or without rollouts.
    """

    finetuning: FinetuneConfig
    training: TrainConfig

    def __post_init__(self):
        READER.check(self, "config")

    @rule
    def _last_step_is_evaluated(self) -> str | None:
        if self.training.steps % self.finetuning.evaluate_every == 0:
            return None
        return (
            f"steps is {self.training.steps}, expected a multiple of evaluate_every "
            f"({self.finetuning.evaluate_every}). Change one of them."
        )

    @rule
    def _evaluations_are_enough_to_smooth(self) -> str | None:
        evaluations = self.training.steps // self.finetuning.evaluate_every
        if not self.finetuning.rollouts or evaluations >= self.finetuning.smoothing:
            return None
        return (
            f"smoothing is {self.finetuning.smoothing}, expected at most the number of evaluations, "
            f"{evaluations} in {self.training.steps} steps. Lower smoothing or evaluate_every."
        )

    @rule
    def _one_process_trains(self) -> str | None:
        if not self.training.distributed:
            return None
        return "distributed is True, but fine-tuning runs in one process. Leave it out and use one host."


def read_finetuning(
    config: Fields, checkpoint: AgentCheckpoint, path: pathlib.Path, workdir: pathlib.Path | None = None
) -> tuple[FinetuneConfig, TrainConfig]:
    """Read a config of fine-tuning, and build the config of the training run that follows from it.

    The run has one dataset, named as the task, and saves a checkpoint for each evaluation. Where the config does not
    set the optimizer and the regularisation, they are the paper's for fine-tuning. All other settings of the model are
    the checkpoint's.

    Args:
      config: The fields of both configs in one mapping; the section `dataset` takes the place of `datasets`.
      checkpoint: The agent to begin with.
      path: The folder or file that holds the checkpoint. The agent's image tokenizer, if it has one, is in the folder's
        subfolder `image_tokenizer`.
      workdir: Folder of the new run, which takes the place of `{workdir}` in the texts of the config (see
        `plain_fields`); None to leave the texts as they are.

    Raises:
      ConfigError: A key is unknown, is missing or cannot be set in fine-tuning; a value is not allowed;
        `evaluate_every` is no multiple of `log_every`; or the run does not fit (see `FinetuneConfig.require_fits`).
      ImageTokenizerError: The checkpoint's image tokenizer is missing or cannot be read.
      ContractError: The config states another tokenization than the checkpoint's.
    """
    fields = plain_fields(config, workdir)
    own, known = ([field.name for field in dataclasses.fields(kind)] for kind in (FinetuneConfig, TrainConfig))
    fixed = [key for key in sorted(_FIXED) if key in fields]
    problems = [f"config has {key}, which fine-tuning cannot set. {_FIXED[key]}" for key in fixed]
    problems += READER.unknown_keys(fields, [*own, *known, "dataset", "tokenization"], "config")
    settings = {name: fields[name] for name in own if name in fields}
    sections, broken = _training_fields(fields, settings, checkpoint)
    if checkpoint.model.tokenization.image_tokenizer is not None:
        sections["image_tokenizer"] = str(path / "image_tokenizer")
    nested = {"finetuning": settings, "training": nested_fields(sections, None)}
    problems += broken + _in_words_of_the_config(READER.problems(FinetuneRun, nested, "config"), settings)
    READER.raise_listed(problems, "config")
    run = READER.read(FinetuneRun, nested, "config")
    stated, trained = run.training.model.tokenization, checkpoint.model.tokenization
    Contract(stated, {}).require_equal(Contract(trained, {}), str(path))
    return run.finetuning, run.training


def _training_fields(
    fields: Mapping[str, Any], settings: Mapping[str, Any], checkpoint: AgentCheckpoint
) -> tuple[dict[str, Any], list[str]]:
    """Return the fields of the training run, and the problems of the config that they do not show.

    Args:
      fields: Fields of the config.
      settings: Settings of fine-tuning, of which `task` and `evaluate_every` count here. They may be missing or wrong.
      checkpoint: The agent to begin with.

    Raises:
      ConfigError: A section is no object.
    """
    known = {field.name for field in dataclasses.fields(TrainConfig)} - _FIXED.keys()
    training = {name: value for name, value in fields.items() if name in known}
    model, tokenization, problems = _checkpoint_sections(fields, checkpoint)
    dataset: dict[str, Any] = {"weight": 1.0}
    if "dataset" in fields:
        dataset |= read_section(fields["dataset"], "config.dataset")
    checkpoints = read_section(fields.get("checkpoints", {}), "config.checkpoints")
    if "every" in checkpoints:
        problems.append(
            "config has checkpoints.every, which fine-tuning cannot set. Each evaluation is of a checkpoint. Set "
            "evaluate_every."
        )
    every = settings.get("evaluate_every", FinetuneConfig.evaluate_every)
    if not isinstance(every, int) or every < 1:  # it is reported as a setting
        every = fields.get("log_every", TrainConfig.log_every)
    return {
        **training,
        "model": model,
        "tokenization": tokenization,
        "optimizer": {**_ADAM, **read_section(fields.get("optimizer", {}), "config.optimizer")},
        "datasets": {str(settings.get("task")): dataset},
        "checkpoints": {**checkpoints, "every": every},
    }, problems


def _in_words_of_the_config(problems: Sequence[str], settings: Mapping[str, Any]) -> list[str]:
    """Return problems of a `FinetuneRun` with the names that the keys have in a config of fine-tuning."""
    renamed = {
        "config.finetuning": "config",
        "config.training": "config",
        f"config.datasets.{settings.get('task')}": "config.dataset",
        "checkpoints.every": "evaluate_every",
    }
    lines = config_problems(problems)
    for old, new in renamed.items():
        lines = [line.replace(old, new) for line in lines]
    return config_problems(lines)


def _checkpoint_sections(
    fields: Mapping[str, Any], checkpoint: AgentCheckpoint
) -> tuple[dict[str, Any], dict[str, Any], list[str]]:
    """Return the sections model and tokenization, those of the checkpoint with the values that the config sets.

    Of the model, a config sets dropout and stochastic depth alone. These two are never the checkpoint's: where the
    config does not set them they are 0.1 and 0. Values of the tokenization are not checked here. The third item names
    all other keys of the model that the config sets, even to the checkpoint's values, one problem for each.

    Raises:
      ConfigError: A section is no mapping.
    """
    model = dataclasses.asdict(checkpoint.model)
    tokenization = model.pop("tokenization")
    stated = read_section(fields.get("model", {}), "config.model")
    problems = [
        f"config.model.{key} is the checkpoint's, a config sets {' and '.join(_REGULARISATION)} only. Leave it out."
        for key in sorted(stated.keys() - _REGULARISATION.keys())
    ]
    stated = {key: value for key, value in stated.items() if key in _REGULARISATION}
    tokens = read_section(fields.get("tokenization", {}), "config.tokenization")
    vocabulary = read_section(tokens.pop("vocabulary", {}), "config.tokenization.vocabulary")
    tokens = {**tokenization, **tokens, "vocabulary": {**tokenization["vocabulary"], **vocabulary}}
    return {**model, **_REGULARISATION, **stated}, tokens, problems


def select_episodes(config: FinetuneConfig, training: TrainConfig, environment: TaskSpec | None) -> Selection:
    """Draw the episodes to learn from out of those of the highest return in the recording.

    Args:
      config: Settings of fine-tuning.
      training: Config of the training run, whose one dataset is the recording.
      environment: Spec of the environment that the agent is going to act in; None if it does not act.

    Raises:
      ConfigError: The recording is of another task, or it is an export of tokens.
      ContractError: The recording and the environment contradict each other.
      SourceError: The recording cannot be opened.
      SelectionError: The recording has too few episodes, or a return is not finite.
    """
    dataset = training.datasets[config.task]
    if dataset.kind == "tokens":
        raise ConfigError(f"{dataset.source} can be trained on alone; name the dataset that it was made from")
    reader = open_source(dataset.source, fields=None if dataset.fields is None else SourceFields.read(dataset.fields))
    if reader.spec.name != config.task:
        raise ConfigError(
            f"dataset.source={dataset.source} is of task {reader.spec.name}, the config's task is {config.task}; "
            "change one of them"
        )
    if environment is not None:
        settings = training.model.tokenization
        recorded = Contract.of(settings, [reader.spec])
        recorded.require_equal(Contract.of(settings, [environment]), f"the environment {config.task}")
    return select(reader, episodes=config.episodes, keep_best=config.keep_best, series=config.series)


def describe_selection(selection: Selection, config: FinetuneConfig) -> str:
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


def identity(config: FinetuneConfig, checkpoint: AgentCheckpoint) -> dict[str, Any]:
    """Return the JSON that, together with the training config, identifies a run of fine-tuning.

    It has the checkpoint's step and digest of params under `from`, and all settings of fine-tuning but `smoothing` and
    `environments`.
    """
    names = ("task", "episodes", "keep_best", "series", "evaluate_every", "rollouts", "temperature")
    start = {"step": checkpoint.step, "params": digest(checkpoint.params)}
    return {"from": start, **{name: getattr(config, name) for name in names}}


def digest(params: nnx.State) -> str:
    """Return sixteen hexadecimal digits of a hash of the content of all params, in the order of the tree."""
    content = hashlib.sha256()
    for leaf in jax.tree.leaves(params):
        content.update(np.ascontiguousarray(leaf).reshape(-1).view(np.uint8).data)
    return content.hexdigest()[:16]


def require_same_start(file: pathlib.Path, begins_with: Mapping[str, Any], workdir: pathlib.Path):
    """Write what a run begins with to a file, or check that it is the same if the run has a checkpoint already.

    Without a checkpoint, a file that is there is replaced. With one, nothing is written.

    Args:
      file: JSON file in the folder of the run.
      begins_with: Identity of the run and its episodes, as JSON.
      workdir: Folder of the run.

    Raises:
      CheckpointError: The run has a checkpoint and began with something else, or `file` is missing; the message shows
        the differences.
    """
    latest = None
    if (workdir / "checkpoints").is_dir():
        with contextlib.closing(CheckpointStore(workdir, read_only=True)) as store:
            latest = store.latest_step()
    if latest is None:
        with atomic_file(file) as partial:
            partial.write_text(json.dumps(begins_with, indent=2))
        return
    earlier = json.loads(file.read_text()) if file.exists() else {}
    require_same(
        begins_with, earlier, problem=f"{workdir} holds another run's checkpoint", holder=file.name,
        remedy="name another --workdir", error=CheckpointError,
    )  # fmt: skip
