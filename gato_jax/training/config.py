"""Configs of training as frozen dataclasses, read from a ConfigDict or from JSON.

The module imports nothing heavy, so that a config is checked before JAX is imported.
"""

from __future__ import annotations

import dataclasses
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, TypeAlias

from etils import epy
from ml_collections import ConfigDict

from gato_jax.batching.dataset_config import AdmissionConfig, DatasetConfig, Missing, Weighting
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import (
    BelowOne,
    NonNegativeFloat,
    NonNegativeInt,
    PositiveFloat,
    PositiveInt,
    Range,
    Seed,
    UnitInterval,
    rule,
)
from gato_jax.model.config import ComputeConfig, ModelConfig
from gato_jax.runtime.paths import as_path

with epy.lazy_imports():
    from gato_jax.tokenization import image_tokenizer as image_tokenizers

Fields: TypeAlias = Mapping[str, Any] | ConfigDict


class ConfigError(ValueError):
    """A config that cannot run; the message names the key, the value and the remedy."""


READER = DataclassReader(error=ConfigError)

_Steps = Annotated[int, Range(above=0, below=2**31)]  # the step is counted in 32 bits
_Threads = Annotated[int, Range(above=0, at_most=1024)]
_EmaDecay = Annotated[float, Range(at_least=0, below=1, remedy="None keeps no average.")]
_ClipNorm = Annotated[float, Range(above=0, remedy="None does not clip.")]
_Keep = Annotated[int, Range(above=0, remedy="None keeps all.")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class OptimizerConfig:
    """Settings of AdamW; the defaults are the paper's for pretraining (appendix D).

    Attributes:
      schedule: Learning rate after the warm-up. `cosine` falls to `final_fraction` of the peak at the last step;
        `constant` stays at the peak, as in the paper's fine-tuning (appendix E).
      peak_learning_rate: Learning rate at the end of the warm-up.
      initial_learning_rate: Learning rate at the first step; not used if `warmup_steps` is 0.
      final_fraction: Learning rate at the last step of `cosine`, divided by the peak; `constant` ignores it.
      warmup_steps: Steps of the linear warm-up.
      beta_1, beta_2: Decays of the moments.
      epsilon: Constant in the denominator of the update.
      weight_decay: Decoupled weight decay of matrices, tables and convolution kernels, not of biases and norms.
      clip_norm: Maximum of the global gradient norm; None for no clipping (the paper states none).
      ema_decay: Decay in [0, 1) of a moving average of the params, with which the agent then acts; None for no average.

    Raises:
      ConfigError: A number is out of its range.
    """

    schedule: Literal["cosine", "constant"] = "cosine"
    peak_learning_rate: NonNegativeFloat = 1e-4
    initial_learning_rate: NonNegativeFloat = 1e-7
    final_fraction: UnitInterval = 0.1
    warmup_steps: NonNegativeInt = 15_000
    beta_1: BelowOne = 0.9
    beta_2: BelowOne = 0.95
    epsilon: PositiveFloat = 1e-8
    weight_decay: NonNegativeFloat = 0.1
    clip_norm: _ClipNorm | None = None
    ema_decay: _EmaDecay | None = None

    def __post_init__(self):
        READER.check(self, "optimizer")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Number of devices along each axis of the mesh; -1, of one axis at most, takes all that are left.

    Attributes:
      data: Axis that rows are spread over, but not params.
      fsdp: Axis that both rows and params are spread over.
      tensor: Axis that heads, hidden units and the vocabulary are spread over, but not rows.
    """

    data: Literal[-1] | PositiveInt = -1
    fsdp: Literal[-1] | PositiveInt = 1
    tensor: Literal[-1] | PositiveInt = 1

    def __post_init__(self):
        READER.check(self, "mesh")

    @rule
    def _one_axis_takes_the_rest(self) -> str | None:
        sizes = [self.data, self.fsdp, self.tensor]
        if sizes.count(-1) <= 1:
            return None
        return f"data, fsdp and tensor are {sizes}, expected at most one -1. Set the others to numbers of devices."


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointsConfig:
    """Choice of the checkpoints that are written and kept. A run may be continued with other settings.

    Attributes:
      every: Steps between two checkpoints, a multiple of `log_every`. The last step always has one.
      keep: Number of the newest checkpoints to keep; None to keep all. With 1, there is none to go back to when it is
        damaged.
      keep_every: Checkpoints of steps that are multiples of this number are kept for good, besides the newest ones. It
        is a multiple of `every`; None for no such checkpoints.

    Raises:
      ConfigError: A number is too small, or `keep_every` is no multiple of `every`.
    """

    every: PositiveInt = 1000
    keep: _Keep | None = 2
    keep_every: PositiveInt | None = None

    def __post_init__(self):
        READER.check(self, "checkpoints")

    @rule
    def _kept_checkpoints_are_written(self) -> str | None:
        if self.keep_every is None or self.keep_every % self.every == 0:
            return None
        return f"keep_every is {self.keep_every}, expected a multiple of every ({self.every}). Change it, or set None."


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatorsConfig:
    """Measurements during training, and how often they are made. A run may be continued with other settings.

    Attributes:
      every: Steps between two evaluations.
      held_out_rows: Number of rows, of each dataset that has a held-out split, whose mean loss is measured; 0 for none.
      tasks: Names of tasks that the agent plays; none by default.
      episodes: Number of episodes to play of each of them.
      environments: Number of episodes that are played side by side.
      temperature: Temperature of sampling the actions; 0 takes the most probable ones.
      prompt: Prompt before each episode, as of `gato evaluate --prompt`: `demonstration`, `none`, or None for a
        demonstration where the dataset of a task is at hand and has prompts.

    Raises:
      ConfigError: A value is out of range.
    """

    every: PositiveInt = 1000
    held_out_rows: NonNegativeInt = 64
    tasks: tuple[str, ...] = ()
    episodes: PositiveInt = 10
    environments: PositiveInt = 10
    temperature: NonNegativeFloat = 1.0
    prompt: Literal["demonstration", "none"] | None = None

    def __post_init__(self):
        READER.check(self, "evaluators")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Everything that a training run depends on.

    Attributes:
      seed: Seed of the initial params, of the order of the rows and of dropout.
      batch_size: Rows of a batch, over all devices: a multiple of mesh.data x mesh.fsdp x compute.accumulate, which is
        checked when the training begins.
      context: Positions of a row.
      steps: Number of steps of the run, more than optimizer.warmup_steps.
      model: Sizes and settings of the model, with its tokenization.
      optimizer: Settings of the optimizer.
      mesh: Number of devices along each axis of the mesh.
      datasets: {name: where the dataset is and how it is sampled}. Losses and errors use this name of a dataset.
      compute: How a step is computed. A run may be continued with other settings.
      weighting: How the weights of the datasets become shares of the rows (see `batching.weigh`).
      missing: What to do about a dataset that is not on disk or is of kind `unavailable`: `error`, or `skip`, which
        gives its weight to the others.
      held_out_tasks: Full names of tasks that the run must not learn from, such as `atari/boxing`. Their
        datasets, and their episodes in datasets of several tasks, are kept out in any spelling, such as
        `rlu_atari/Boxing_run_1`, and the log names them.
      admission: The data that the run may learn from, by licence and kind.
      patch_budget, target_budget: Room for patches and targets in the rows of one device in one microbatch. None for
        the upper bound of the mixture; training refuses a smaller number. Without the data, the upper bound is unknown,
        and `gato plan` takes a patch and a target at every position in place of None.
      image_tokenizer: Folder of a trained image tokenizer, whose codes then stand for images instead of patches.
      image_trunk_weights: Local file of torchvision's resnet50 weights, only with model.image_trunk=resnet_50.
      init_from: Folder of another run, or file that `gato export` wrote, whose params the run begins with; None for
        random params. It counts at step 0 alone.
      distributed: Whether several processes are one run. Each is started with the same command (see docs/training.md).
      predict_prompts: Whether the targets of prompts count in the loss.
      log_every: Steps between two lines of metrics.
      checkpoints: When checkpoints are written, and which of them are kept.
      evaluators: What is measured during training, and how often.
      max_skipped_steps: Number of steps in a row whose loss or gradient is not finite that end the run. Such a step is
        skipped: it changes no param.
      wandb: Name of the project of Weights & Biases that gets the metrics, too; None for none.
      loader_threads: Threads that build batches; each builds whole batches, one at a time.

    Raises:
      ConfigError: A value is out of range, or two of them contradict each other.
    """

    seed: Seed
    batch_size: PositiveInt
    context: PositiveInt
    steps: _Steps
    model: ModelConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    datasets: Mapping[str, DatasetConfig]
    compute: ComputeConfig = ComputeConfig()
    weighting: Weighting = "by_hand"
    missing: Missing = "error"
    held_out_tasks: tuple[str, ...] = ()
    admission: AdmissionConfig = AdmissionConfig()
    patch_budget: NonNegativeInt | None = None
    target_budget: PositiveInt | None = None
    image_tokenizer: str | None = None
    image_trunk_weights: str | None = None
    init_from: str | None = None
    distributed: bool = False
    predict_prompts: bool = False
    log_every: PositiveInt = 20
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    evaluators: EvaluatorsConfig = EvaluatorsConfig()
    max_skipped_steps: PositiveInt = 5
    wandb: str | None = None
    loader_threads: _Threads = 1

    def __post_init__(self):
        READER.check(self, "config")

    @rule
    def _checkpoints_end_a_line_of_metrics(self) -> str | None:
        if self.checkpoints.every % self.log_every == 0:
            return None
        return (
            f"checkpoints.every is {self.checkpoints.every}, expected a multiple of log_every ({self.log_every}), so "
            "that a resumed run logs the same means. Change one of them."
        )

    @rule
    def _held_out_tasks_are_full_names(self) -> str | None:
        for task in self.held_out_tasks:
            suite, _, name = task.partition("/")
            if not suite.strip() or not re.search(r"[A-Za-z]", name):
                return f"held_out_tasks has {task!r}, expected full names SUITE/TASK. Write it as `gato tasks` does."
        return None

    @rule
    def _image_tokenizer_is_named(self) -> str | None:
        if self.model.tokenization.image_tokenizer is None or self.image_tokenizer is not None:
            return None
        return "tokenization.image_tokenizer needs the tokenizer itself. Name its folder in image_tokenizer."

    @rule
    def _attention_fits_the_model(self) -> str | None:
        return self.compute.misfit(self.model.position)

    @rule
    def _image_trunk_has_weights_of_its_kind(self) -> str | None:
        if self.image_trunk_weights is None or self.model.image_trunk == "resnet_50":
            return None
        return (
            f"image_trunk_weights are those of a ResNet-50, model.image_trunk is {self.model.image_trunk}. Set "
            "model.image_trunk=resnet_50."
        )

    @rule
    def _warm_up_ends(self) -> str | None:
        if self.optimizer.warmup_steps < self.steps:
            return None
        return (
            f"optimizer.warmup_steps is {self.optimizer.warmup_steps}, expected less than steps ({self.steps}). "
            "Lower it."
        )

    @rule
    def _params_begin_in_one_way(self) -> str | None:
        if self.init_from is None or self.image_trunk_weights is None:
            return None
        return "init_from and image_trunk_weights are both set, expected one of them. Leave one out."

    @rule
    def _one_process_plays(self) -> str | None:
        if not self.evaluators.tasks or not self.distributed:
            return None
        return "evaluators.tasks are played in one process, and distributed is True. Leave one of them out."

    @classmethod
    def from_mapping(cls, config: Fields, workdir: pathlib.Path | None = None) -> TrainConfig:
        """Build the config from a ConfigDict or a dict.

        Args:
          config: The sections and values, with the tokenization in a section of its own, `tokenization`. A section
            `experiment` belongs to the script around the run and is ignored.
          workdir: Folder of the run, which takes the place of `{workdir}` in the texts of the config (see
            `plain_fields`); None to leave the texts as they are.

        Raises:
          ConfigError: A key is unknown, in which case the error names the nearest one or lists the known ones; a key is
            missing; a value is not allowed; or the section `tokenization` contradicts the image tokenizer.
          ImageTokenizerError: The folder `image_tokenizer` has no image tokenizer that can be read.
        """
        fields = nested_fields(config, workdir)
        READER.raise_listed(config_problems(READER.problems(cls, fields, "config")), "config")
        return READER.read(cls, fields, "config")


def nested_fields(config: Fields, workdir: pathlib.Path | None) -> dict[str, Any]:
    """Return the fields of `TrainConfig` in a config, with the section `tokenization` inside of the section `model`.

    The arguments are those of `TrainConfig.from_mapping`. With an image tokenizer, the tokenization gets its
    fingerprint and number of codes. Other values are not checked.

    Raises:
      ConfigError: A section is no object, or `tokenization` contradicts the image tokenizer.
      ImageTokenizerError: The folder `image_tokenizer` has no image tokenizer that can be read.
    """
    fields = {key: value for key, value in plain_fields(config, workdir).items() if key != "experiment"}
    tokenization = read_section(fields.pop("tokenization", {}), "config.tokenization")
    if (folder := READER.value(str | None, fields.get("image_tokenizer"), "config.image_tokenizer")) is not None:
        images = image_tokenizers.ImageTokenizer.load(as_path(folder))
        vocabulary = read_section(tokenization.get("vocabulary", {}), "config.tokenization.vocabulary")
        tokenization["vocabulary"] = vocabulary
        for section, key, value in (
            (tokenization, "image_tokenizer", images.fingerprint),
            (vocabulary, "image_codes", images.config.codes),
        ):
            if section.setdefault(key, value) != value:
                raise ConfigError(f"{key} is {section[key]!r}, that of {folder} is {value!r}; leave it out")
    model = read_section(fields.get("model", {}), "config.model")
    if "tokenization" in model:
        raise ConfigError("config.model has the key 'tokenization', expected it in config. Move the section there.")
    return {**fields, "model": {**model, "tokenization": tokenization}}


def config_problems(problems: Sequence[str]) -> list[str]:
    """Return problems of `nested_fields` with the names that the keys have in the config."""
    return [line.replace("config.model.tokenization", "config.tokenization") for line in problems]


def plain_fields(config: Fields, workdir: pathlib.Path | None) -> dict[str, Any]:
    """Return a config as a new dict of dicts, with `workdir` in place of `{workdir}` in each value that is a text.

    Values of nested sections count, texts inside of lists and tuples do not. If `workdir` is None, nothing is replaced.
    """

    def fill(value: Any) -> Any:
        if hasattr(value, "items"):
            return {key: fill(item) for key, item in value.items()}
        return value.replace("{workdir}", str(workdir)) if isinstance(value, str) and workdir is not None else value

    return fill(config.to_dict() if isinstance(config, ConfigDict) else config)


def read_section(fields: Any, path: str) -> dict[str, Any]:
    """Return a copy of a section of a config. Raises ConfigError, which calls it `path`, if it is no mapping."""
    return READER.value(Mapping[str, Any], fields, path)
