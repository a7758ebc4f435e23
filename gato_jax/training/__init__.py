"""Loss, optimizer, sharding, training step, training loop and fine-tuning.

May import batching, sources, model, checkpoints, tokenization, episodes.

The names below are imported when they are first used, so that configs are read and checked without JAX.
"""

from etils import epy

with epy.lazy_api_imports(globals()):
    from gato_jax.training.config import (
        CheckpointsConfig,
        ConfigError,
        EvaluatorsConfig,
        MeshConfig,
        OptimizerConfig,
        TrainConfig,
    )
    from gato_jax.training.config_file import read_config, write_config
    from gato_jax.training.evaluators import Evaluator, HeldOutLoss, is_due
    from gato_jax.training.finetuning import (
        FinetuneConfig,
        describe_selection,
        identity,
        read_finetuning,
        require_same_start,
        select_episodes,
    )
    from gato_jax.training.holding import hold_run
    from gato_jax.training.loop import train
    from gato_jax.training.processes import first_process_first, join_processes
    from gato_jax.training.resume import require_same_model, require_same_run
    from gato_jax.training.run_data import open_held_out_mixture, open_image_tokenizer, open_run_mixture
    from gato_jax.training.skipped_steps import NonFiniteLossError
    from gato_jax.training.start import choose_start, from_params, from_scratch, with_image_trunk
    from gato_jax.training.step import TrainState

__all__ = [
    "CheckpointsConfig",
    "ConfigError",
    "Evaluator",
    "EvaluatorsConfig",
    "FinetuneConfig",
    "HeldOutLoss",
    "MeshConfig",
    "NonFiniteLossError",
    "OptimizerConfig",
    "TrainConfig",
    "TrainState",
    "choose_start",
    "describe_selection",
    "first_process_first",
    "from_params",
    "from_scratch",
    "hold_run",
    "identity",
    "is_due",
    "join_processes",
    "open_held_out_mixture",
    "open_image_tokenizer",
    "open_run_mixture",
    "read_config",
    "read_finetuning",
    "require_same_model",
    "require_same_run",
    "require_same_start",
    "select_episodes",
    "train",
    "with_image_trunk",
    "write_config",
]
