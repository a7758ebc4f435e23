"""A run of thirty small steps; `run_process` trains it in a process of its own."""

import pathlib

from gato_jax.batching import Mixture, TokenRecords
from gato_jax.model import ModelConfig
from gato_jax.tokenization import Tokenization, Vocabulary
from gato_jax.training import CheckpointsConfig, MeshConfig, OptimizerConfig, TrainConfig

TOKENIZATION = Tokenization(vocabulary=Vocabulary(text=32))  # neither task has text, so the table may be short
MODEL = ModelConfig(
    layers=1, width=32, heads=2, head_size=8, hidden=32, patch_channels=32, patch_stride=8, tokenization=TOKENIZATION
)


def made_config(**changes) -> TrainConfig:
    fields = {
        "seed": 3, "batch_size": 8, "context": 24, "steps": 30, "model": MODEL, "mesh": MeshConfig(), "datasets": {},
        "optimizer": OptimizerConfig(peak_learning_rate=3e-3, warmup_steps=5, clip_norm=1.0),
        "log_every": 1, "checkpoints": CheckpointsConfig(every=10),
    }  # fmt: skip
    return TrainConfig(**{**fields, **changes})


def made_mixture(data: pathlib.Path, config: TrainConfig) -> Mixture:
    """The mixture of all token records in `data`, each a dataset under its folder's name, of equal weights."""
    records = {folder.name: TokenRecords.open(folder) for folder in sorted(data.iterdir())}
    return Mixture.uniform(records, batch_size=config.batch_size, context=config.context, seed=config.seed)
