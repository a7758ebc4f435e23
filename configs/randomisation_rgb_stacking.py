"""Domain randomisation of RGB stacking, for agents that are to leave the simulator: dynamics, cameras, colours, delay.

    gato collect --tasks=rgb_stacking/skill_generalisation --episodes=100 --output=data
    --config=configs/randomisation_rgb_stacking.py

Lee et al. 2021 (arXiv 2110.06192) distil their teacher in such a simulator, but their release
(google-deepmind/rgb_stacking) has none of it and no intervals; these are our own choice. Lights are not among them, as
images by ray casting do not show them. An episode lists what was drawn for it in its provenance.
"""

from ml_collections import ConfigDict


def get_config() -> ConfigDict:
    """Return the config of a randomised recording of RGB stacking."""
    config = ConfigDict()
    config.randomisation = ConfigDict()
    config.randomisation.masses = (0.8, 1.2)
    config.randomisation.friction = (0.8, 1.2)
    config.randomisation.damping = (0.9, 1.1)
    config.randomisation.colours = (0.7, 1.3)
    config.randomisation.textures = (0.7, 1.3)
    config.randomisation.camera_positions = (-0.01, 0.01)
    config.randomisation.camera_angles = (-1.0, 1.0)
    config.randomisation.action_delay = (0, 2)
    config.randomisation.observation_noise = (0.0, 0.002)
    return config
