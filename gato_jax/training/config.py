"""Configs of training as frozen dataclasses, read from a ConfigDict or from JSON."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

from ml_collections import ConfigDict

from gato_jax.batching import DatasetConfig
from gato_jax.batching.admission import AdmissionConfig
from gato_jax.batching.opening import Missing
from gato_jax.batching.weights import Weighting
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.model import ComputeConfig, ModelConfig
from gato_jax.tokenization import Tokenization
from gato_jax.tokenization.image_tokenizer import ImageTokenizer

Fields: TypeAlias = Mapping[str, Any] | ConfigDict


class ConfigError(ValueError):
    """A config that cannot run; the message names the key, the value and the remedy."""


READER = DataclassReader(error=ConfigError)


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
      ConfigError: `ema_decay` is not in [0, 1).
    """

    schedule: Literal["cosine", "constant"] = "cosine"
    peak_learning_rate: float = 1e-4
    initial_learning_rate: float = 1e-7
    final_fraction: float = 0.1
    warmup_steps: int = 15_000
    beta_1: float = 0.9
    beta_2: float = 0.95
    epsilon: float = 1e-8
    weight_decay: float = 0.1
    clip_norm: float | None = None
    ema_decay: float | None = None

    def __post_init__(self):
        if self.ema_decay is not None and not 0 <= self.ema_decay < 1:
            raise ConfigError(f"ema_decay is {self.ema_decay}, expected a number in [0, 1); None keeps no average")


@dataclasses.dataclass(frozen=True, kw_only=True)
class MeshConfig:
    """Number of devices along each axis of the mesh; -1, of one axis at most, takes all that are left.

    Attributes:
      data: Axis that rows are spread over, but not params.
      fsdp: Axis that both rows and params are spread over.
      tensor: Axis that heads, hidden units and the vocabulary are spread over, but not rows.
    """

    data: int = -1
    fsdp: int = 1
    tensor: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class CheckpointsConfig:
    """When checkpoints are written, and which of them are kept. A run may be continued with other settings.

    Attributes:
      every: Steps between two checkpoints, a multiple of `log_every`. The last step always has one.
      keep: Number of the newest checkpoints to keep; None to keep all. With 1, there is none to go back to when it is
        damaged.
      keep_every: Checkpoints of steps that are multiples of this number are kept for good, besides the newest ones. It
        is a multiple of `every`; None for no such checkpoints.

    Raises:
      ConfigError: A number is too small, or `keep_every` is no multiple of `every`.
    """

    every: int = 1000
    keep: int | None = 2
    keep_every: int | None = None

    def __post_init__(self):
        if self.every < 1:
            raise ConfigError(f"checkpoints.every is {self.every}, expected a positive number")
        if self.keep is not None and self.keep < 1:
            raise ConfigError(f"checkpoints.keep is {self.keep}, expected a positive number, or None to keep all")
        if self.keep_every is not None and (self.keep_every < 1 or self.keep_every % self.every):
            raise ConfigError(
                f"checkpoints.keep_every is {self.keep_every}, expected a multiple of checkpoints.every {self.every}, "
                "or None"
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluatorsConfig:
    """What is measured during training, and how often. A run may be continued with other settings.

    Attributes:
      every: Steps between two evaluations.
      held_out_rows: Number of rows, of each dataset that has a held-out split, whose mean loss is measured; 0 for none.
      tasks: Names of tasks that the agent plays; none by default.
      episodes: Number of episodes to play of each of them.
      environments: Number of episodes that are played side by side.
      temperature: Temperature of sampling the actions; 0 takes the most probable ones.

    Raises:
      ConfigError: A value is out of range.
    """

    every: int = 1000
    held_out_rows: int = 64
    tasks: tuple[str, ...] = ()
    episodes: int = 10
    environments: int = 10
    temperature: float = 1.0

    def __post_init__(self):
        for name in ("every", "episodes", "environments"):
            if getattr(self, name) < 1:
                raise ConfigError(f"evaluators.{name} is {getattr(self, name)}, expected a positive number")
        for name in ("held_out_rows", "temperature"):
            if not getattr(self, name) >= 0:
                raise ConfigError(f"evaluators.{name} is {getattr(self, name)}, expected 0 or more")


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

    seed: int
    batch_size: int
    context: int
    steps: int
    model: ModelConfig
    optimizer: OptimizerConfig = OptimizerConfig()
    mesh: MeshConfig = MeshConfig()
    datasets: Mapping[str, DatasetConfig]
    compute: ComputeConfig = ComputeConfig()
    weighting: Weighting = "by_hand"
    missing: Missing = "error"
    admission: AdmissionConfig = AdmissionConfig()
    patch_budget: int | None = None
    target_budget: int | None = None
    image_tokenizer: str | None = None
    image_trunk_weights: str | None = None
    init_from: str | None = None
    distributed: bool = False
    predict_prompts: bool = False
    log_every: int = 20
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    evaluators: EvaluatorsConfig = EvaluatorsConfig()
    max_skipped_steps: int = 5
    wandb: str | None = None
    loader_threads: int = 1

    def __post_init__(self):
        for name in ("batch_size", "context", "steps", "log_every", "max_skipped_steps", "loader_threads"):
            if getattr(self, name) < 1:
                raise ConfigError(f"{name} is {getattr(self, name)}, expected a positive number")
        if self.checkpoints.every % self.log_every:
            raise ConfigError(
                f"checkpoints.every {self.checkpoints.every} must be a multiple of log_every {self.log_every}, "
                "so that a resumed run logs the same means"
            )
        if self.model.tokenization.image_tokenizer is not None and self.image_tokenizer is None:
            raise ConfigError(
                "tokenization.image_tokenizer needs the tokenizer itself; name its folder, image_tokenizer"
            )
        try:
            self.compute.require_fits(self.model)
        except ValueError as error:
            raise ConfigError(str(error)) from None
        if self.image_trunk_weights is not None and self.model.image_trunk != "resnet_50":
            raise ConfigError(
                f"image_trunk_weights are of a ResNet-50, model.image_trunk is {self.model.image_trunk}; set resnet_50"
            )
        if self.init_from is not None and self.image_trunk_weights is not None:
            raise ConfigError("init_from and image_trunk_weights are both set, expected one of them; leave one out")
        if self.evaluators.tasks and self.distributed:
            raise ConfigError("evaluators.tasks are played in one process, and distributed is True; leave one out")
        if self.optimizer.warmup_steps >= self.steps:
            raise ConfigError(f"optimizer.warmup_steps {self.optimizer.warmup_steps} must be below steps {self.steps}")

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
        fields = {key: value for key, value in plain_fields(config, workdir).items() if key != "experiment"}
        tokenization = read_section(fields.pop("tokenization", {}), "config.tokenization")
        if (folder := READER.value(str | None, fields.get("image_tokenizer"), "config.image_tokenizer")) is not None:
            images = ImageTokenizer.load(pathlib.Path(folder))
            vocabulary = read_section(tokenization.get("vocabulary", {}), "config.tokenization.vocabulary")
            tokenization["vocabulary"] = vocabulary
            for section, key, value in (
                (tokenization, "image_tokenizer", images.fingerprint),
                (vocabulary, "image_codes", images.config.codes),
            ):
                if section.setdefault(key, value) != value:
                    raise ConfigError(f"{key} is {section[key]!r}, that of {folder} is {value!r}; leave it out")
        model = read_section(fields.get("model", {}), "config.model")
        model["tokenization"] = READER.read(Tokenization, tokenization, "config.tokenization")
        return READER.read(cls, {**fields, "model": model}, "config")


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
