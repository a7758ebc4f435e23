"""AdamW, warm-up and cosine (paper, appendix D)."""

from __future__ import annotations

import jax
import optax

from gato_jax.training.config import OptimizerConfig


def learning_rate(config: OptimizerConfig, steps: int) -> optax.Schedule:
    """Linear from the initial to the peak rate, then cosine to a fraction of the peak at the last step."""
    return optax.warmup_cosine_decay_schedule(
        init_value=config.initial_learning_rate,
        peak_value=config.peak_learning_rate,
        warmup_steps=config.warmup_steps,
        decay_steps=steps,
        end_value=config.peak_learning_rate * config.final_fraction,
    )


def optimizer(config: OptimizerConfig, steps: int) -> optax.GradientTransformation:
    """AdamW, behind a clip of the global norm if the config asks for one."""
    adamw = optax.adamw(
        learning_rate(config, steps),
        b1=config.beta_1,
        b2=config.beta_2,
        eps=config.epsilon,
        weight_decay=config.weight_decay,
        mask=decayed,
    )
    return adamw if config.clip_norm is None else optax.chain(optax.clip_by_global_norm(config.clip_norm), adamw)


def decayed(params):
    """Matrices and tables decay; biases and norms do not (the paper states no exclusions; docs/decisions.md)."""

    def is_weight(path, leaf) -> bool:
        return leaf.ndim > 1 and "bias" not in jax.tree_util.keystr(path)  # attention's biases are (heads, size)

    return jax.tree_util.tree_map_with_path(is_weight, params)
