"""Recordings of the DM Control Suite, states as observations: a row of the paper's Table 1.

    gato collect --config=configs/collect/dm_control.py --output=data

The experts of the tasks play; docs/experts.md has their scores and the hours on two cores and on 64. Any flag of the
command comes first, such as --episodes=100.
"""

from ml_collections import ConfigDict

from configs.collect.recipe import recipe


def get_config() -> ConfigDict:
    """Return the recipe."""
    return recipe("dm_control", episodes=1000, max_failed=0.01)
