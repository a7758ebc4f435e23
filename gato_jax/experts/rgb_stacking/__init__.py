"""A script for RGB stacking that tries its grasps and placements on a copy of the scene before it makes them."""

from gato_jax.environments.suites.rgb_stacking import SUITE
from gato_jax.experts.rgb_stacking.script import StackingScript

EXPERTS = {f"{SUITE.name}/{task}": StackingScript for task in SUITE.tasks}
