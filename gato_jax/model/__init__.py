"""Embedding, transformer and head: parameters only, no random state. May import tokenization."""

from gato_jax.model.config import ModelConfig
from gato_jax.model.gato import Gato, count_parameters, graph_of, initialise
from gato_jax.model.sizes import size

__all__ = ["Gato", "ModelConfig", "count_parameters", "graph_of", "initialise", "size"]
