"""Embedding, transformer and head: parameters only, no random state. May import tokenization."""

from gato_jax.model.axes import constrain, mesh_axes, param_axes
from gato_jax.model.config import ComputeConfig, ModelConfig
from gato_jax.model.gato import Gato, count_parameters, graph_of, in_dtype, initialise, is_frozen, param_path
from gato_jax.model.kernels import KernelError, require_platform
from gato_jax.model.products import product
from gato_jax.model.sizes import size

__all__ = [
    "ComputeConfig",
    "Gato",
    "KernelError",
    "ModelConfig",
    "constrain",
    "count_parameters",
    "graph_of",
    "in_dtype",
    "initialise",
    "is_frozen",
    "mesh_axes",
    "param_axes",
    "param_path",
    "product",
    "require_platform",
    "size",
]
