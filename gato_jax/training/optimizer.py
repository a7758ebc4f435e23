"""AdamW and its schedules (paper, appendices D and E)."""

from __future__ import annotations

import jax
import optax

from gato_jax.model import ModelConfig, is_frozen, is_stacked, param_path
from gato_jax.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Return the schedule: linear to the peak rate over the warm-up, then constant or a falling cosine.

    The cosine falls to `config.final_fraction` of the peak rate at step `steps`. The schedule maps the number of
    steps done to the learning rate of the next step.

    Args:
      config: Settings of the optimizer.
      steps: Number of steps of the run, the warm-up included.
    """
    if config.schedule == "constant":
        warmup = optax.linear_schedule(config.initial_learning_rate, config.peak_learning_rate, config.warmup_steps)
        constant = optax.constant_schedule(config.peak_learning_rate)
        return optax.join_schedules([warmup, constant], [config.warmup_steps])
    return optax.warmup_cosine_decay_schedule(
        init_value=config.initial_learning_rate,
        peak_value=config.peak_learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=steps,
        end_value=config.peak_learning_rate * config.final_fraction,
    )


def optimizer(config: OptimizerConfig, model: ModelConfig, steps: int) -> optax.GradientTransformation:
    """Return AdamW with the schedule and, if any, the clipping of the config.

    Args:
      config: Settings of the optimizer.
      model: Config of the model; with freeze_image_trunk, the updates of the params of `is_frozen` are zero.
      steps: Number of steps of the run, for the schedule.
    """
    adamw = optax.adamw(
        learning_rate(config, steps),
        b1=config.beta_1,
        b2=config.beta_2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=decay_mask,
    )
    clip = [] if config.clip_norm is None else [optax.clip_by_global_norm(config.clip_norm)]
    freeze = [optax.masked(optax.set_to_zero(), frozen_mask)] if model.freeze_image_trunk else []
    return optax.chain(*clip, adamw, *freeze)


def decay_mask(params):
    """Return a tree of bools, True for params with weight decay: matrices, tables and kernels, not biases and norms.

    A param has weight decay if it has more than one axis, that of stacked layers not counted, and its path does not
    contain `bias`. The paper states no exclusions (docs/decisions.md).
    """

    def is_weight(path, leaf) -> bool:
        path = param_path(path)
        return leaf.ndim - is_stacked(path) > 1 and "bias" not in path  # attention's biases are (heads, size)

    return jax.tree_util.tree_map_with_path(is_weight, params)


def frozen_mask(params):
    """Return a tree of bools, True for the params of `is_frozen`, whether or not model.freeze_image_trunk is set."""
    return jax.tree_util.tree_map_with_path(lambda path, _: is_frozen(param_path(path)), params)
