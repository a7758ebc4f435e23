"""Domain randomisation of the episodes that `gato collect` records: moderate intervals of dynamics and sensors.

    gato collect --tasks=meta_world/push-v3 --episodes=100 --output=data --config=configs/randomisation.py

Any interval is changed by a flag, such as --config.randomisation.masses="(0.5, 2.0)"; None draws nothing. The fields
are those of `gato_jax.environments.Randomisation`. An episode lists what was drawn for it in its provenance. It
reproduces nothing of the paper, and takes as long as recording without it.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the config of a randomised recording."""
    config = ConfigDict()
    config.randomisation = ConfigDict()
    config.randomisation.masses = (0.8, 1.2)
    config.randomisation.friction = (0.7, 1.3)
    config.randomisation.damping = (0.8, 1.2)
    config.randomisation.gear = (0.9, 1.1)
    config.randomisation.action_delay = (0, 2)
    config.randomisation.observation_noise = (0.0, 0.01)
    return config
