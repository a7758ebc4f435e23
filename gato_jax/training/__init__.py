"""Loss, optimizer, sharding, train step and loop. May import batching, model, checkpoints, tokenization."""

from gato_jax.training.config import MeshConfig, OptimizerConfig, TrainConfig
from gato_jax.training.loop import train
from gato_jax.training.step import TrainState

__all__ = ["MeshConfig", "OptimizerConfig", "TrainConfig", "TrainState", "train"]
