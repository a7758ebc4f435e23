"""Configs for the planner, without data: one that compiles in seconds, one that is too large for a GPU."""

import dataclasses

from gato_jax.model import ComputeConfig, ModelConfig
from gato_jax.training import MeshConfig, OptimizerConfig, TrainConfig

MODEL = ModelConfig(layers=2, width=32, heads=2, head_size=16, hidden=64, patch_channels=32)


def config(**changes) -> TrainConfig:
    fields = dict(
        seed=0, batch_size=8, context=128, steps=100, model=MODEL, optimizer=OptimizerConfig(warmup_steps=10),
        mesh=MeshConfig(), datasets={}, patch_budget=16, target_budget=32,
        compute=ComputeConfig(dtype="bfloat16", scan=True),
    )  # fmt: skip
    return TrainConfig(**{**fields, **changes})


# As many parameters as 1.18B in a quarter of the layers, which are what takes time to trace.
LARGE = config(
    model=ModelConfig(layers=6, width=4096, heads=32, head_size=128, hidden=16384),
    batch_size=512,
    context=1024,
    patch_budget=None,
    target_budget=None,
)


def computed(run: TrainConfig, **compute) -> TrainConfig:
    """Return the run with other settings of its computation."""
    return dataclasses.replace(run, compute=dataclasses.replace(run.compute, **compute))
