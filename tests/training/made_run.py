"""A run of thirty small steps; `python -m tests.training.made_run DATA WORKDIR [STEPS]` trains it in a new process."""

import logging
import pathlib
import sys

from gato_jax.batching import Mixture, TokenRecords
from gato_jax.model import ModelConfig
from gato_jax.tokenization import Tokenization, Vocabulary
from gato_jax.training import CheckpointsConfig, MeshConfig, OptimizerConfig, TrainConfig, train

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


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, force=True)
    data, workdir = map(pathlib.Path, sys.argv[1:3])
    changes = {} if len(sys.argv) < 4 else {"steps": int(sys.argv[3]), "log_every": 5}
    config = made_config(**changes)
    train(config, made_mixture(data, config), workdir)
