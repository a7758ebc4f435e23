"""Config of a run that compiles in seconds, with every key that the planner's tests set."""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    config = ConfigDict()
    config.seed, config.steps, config.batch_size, config.context = 0, 20, 8, 32
    config.log_every, config.checkpoints = 1, ConfigDict({"every": 4})
    config.model = ConfigDict({"layers": 1, "width": 32, "heads": 2, "head_size": 16, "hidden": 32})
    config.model.patch_channels = 32
    config.model.stochastic_depth = 0.0
    config.model.position = "rope"
    config.optimizer = ConfigDict({"warmup_steps": 2})
    config.compute = ConfigDict({"dtype": "bfloat16", "attention": "dense", "remat": "none", "accumulate": 1})
    config.mesh = ConfigDict({"data": -1, "fsdp": 1, "tensor": 1})
    config.datasets = ConfigDict()
    config.patch_budget, config.target_budget = 4, 8
    return config
