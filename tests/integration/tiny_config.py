"""A training run of seconds, of one task."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed, config.steps, config.batch_size, config.context = 0, 20, 8, 176
    config.log_every, config.checkpoints = 1, ConfigDict({"every": 4})
    config.tokenization = ConfigDict({"predict_text_observations": False})
    config.model = ConfigDict({"layers": 1, "width": 32, "heads": 2, "head_size": 8, "hidden": 32})
    config.model.patch_channels = 32
    config.optimizer = ConfigDict({"peak_learning_rate": 3e-3, "warmup_steps": 2, "clip_norm": 1.0})
    source = "recorded:{workdir}/data/babyai__go_to_red_ball_no_dists_v0/1.0.0"
    config.datasets = ConfigDict({"grid": {"source": source, "weight": 1.0, "window": 1}})
    return config
