"""A small Gato that knows another task of the Fetch arm, from which docs/robot.md fine-tunes.

What it reproduces: none of the paper's results. The agent is trained in a minute, and knows the arm but not the
task of the tutorial.

Hardware: two CPU cores, about a minute. Score: none is measured.

    gato collect --tasks=fetch_state/push --episodes=20 --output=runs/arm/data
    gato train --config=configs/robot_base.py --workdir=runs/arm
"""

from ml_collections import ConfigDict

from configs.quickstart import dataset


def get_config() -> ConfigDict:
    """Return the config of a model of two layers. Values that differ from the paper's say why."""
    config = ConfigDict()
    config.seed = 0
    config.steps = 100
    config.batch_size = 32  # paper: 512 (section 2.3)
    config.context = 40  # paper: 1024; a timestep of the arm has 36 tokens
    config.log_every = 20
    config.checkpoints = ConfigDict({"every": 100})

    config.tokenization = ConfigDict()
    # The instruction of the tutorial has the same words at each step, so there is nothing to learn.
    config.tokenization.predict_text_observations = False

    config.model = ConfigDict()
    config.model.layers = 2
    config.model.width = 128
    config.model.heads = 4
    config.model.head_size = 32
    config.model.hidden = 512
    config.model.stochastic_depth = 0.0  # paper: 0.1; a run of a minute does not overfit
    config.model.bin_init = "fourier"  # as in configs/quickstart.py

    config.optimizer = ConfigDict()
    config.optimizer.peak_learning_rate = 3e-3  # paper: 1e-4 for 1M steps
    config.optimizer.warmup_steps = 20
    config.optimizer.clip_norm = 1.0  # paper: not stated

    config.datasets = ConfigDict({"push": dataset("fetch_state/push", weight=1.0, prompt_share=0.0)})
    return config
