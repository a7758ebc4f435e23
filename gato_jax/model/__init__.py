"""Embedding, transformer and head: parameters only, no random state. May import tokenization, episodes.

The names below are imported when they are first used, so that configs are read and checked without JAX.
"""

from etils import epy

with epy.lazy_api_imports(globals()):
    from gato_jax.model.axes import constrain, mesh_axes, param_axes
    from gato_jax.model.config import ComputeConfig, ModelConfig
    from gato_jax.model.einsum import einsum_f32
    from gato_jax.model.gato import (
        Gato,
        cast_params,
        count_parameters,
        graphdef,
        initialise,
        is_frozen,
        param_path,
        param_shapes,
    )
    from gato_jax.model.kernels import KernelError, require_platform, require_room, save_attention
    from gato_jax.model.sizes import published_config
    from gato_jax.model.stacking import is_stacked, stack_blocks, unstack_blocks

__all__ = [
    "ComputeConfig",
    "Gato",
    "KernelError",
    "ModelConfig",
    "cast_params",
    "constrain",
    "count_parameters",
    "einsum_f32",
    "graphdef",
    "initialise",
    "is_frozen",
    "is_stacked",
    "mesh_axes",
    "param_axes",
    "param_path",
    "param_shapes",
    "published_config",
    "require_platform",
    "require_room",
    "save_attention",
    "stack_blocks",
    "unstack_blocks",
]
