"""Loss, optimizer, sharding, train step and loop. May import batching, model, checkpoints, tokenization."""

from gato_jax.training.config import ConfigError, MeshConfig, OptimizerConfig, TrainConfig
from gato_jax.training.loop import NonFiniteLossError, require_same_model, train
from gato_jax.training.step import TrainState

__all__ = [
    "ConfigError",
    "MeshConfig",
    "NonFiniteLossError",
    "OptimizerConfig",
    "TrainConfig",
    "TrainState",
    "require_same_model",
    "train",
]
