"""Fine-tuning of a small agent on 20 demonstrations of a robot, in a minute or two on a laptop, as in docs/robot.md.

What it reproduces: the protocol of configs/finetune.py at a small scale, without rollouts, as a robot has no
environment.

Hardware: two CPU cores. Time and score: docs/robot.md, from experiments/results/robot_tutorial.json.

    gato finetune --from=runs/arm --config=configs/robot_finetune.py:lerobot/reach --workdir=runs/reach
"""

from ml_collections import ConfigDict

from configs import finetune
from gato_jax.episodes import dataset_name


def get_config(task: str = "lerobot/reach") -> ConfigDict:
    """Return the config for the recordings in data/. Values that differ from configs/finetune.py say why."""
    config = finetune.get_config(task)
    config.episodes = 20
    config.rollouts = 0
    config.steps = config.evaluate_every = 200
    config.batch_size = 32  # 1,000 timesteps in all
    config.context = 24  # one timestep of the tutorial has fewer tokens
    config.tokenization = ConfigDict({"predict_text_observations": False})  # as in configs/robot_base.py
    config.model = ConfigDict({"dropout": 0.0, "stochastic_depth": 0.0})
    config.optimizer = ConfigDict({"schedule": "cosine", "warmup_steps": 0, "weight_decay": 0.0, "clip_norm": 1.0})
    config.optimizer.peak_learning_rate = 1e-3  # few steps of a small model
    config.compute = ConfigDict({"dtype": "float32", "remat": "none"})  # on a CPU
    config.dataset = ConfigDict({"source": f"recorded:data/{dataset_name(task)}/1.0.0", "window": 1})
    config.dataset.prompt_share = 0.0  # a row holds one timestep
    return config
