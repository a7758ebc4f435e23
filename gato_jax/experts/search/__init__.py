"""Width-based search for tasks whose emulator can be copied and restored: Rollout-IW(1) and IW(1), without training.

An `Emulator` is a simulator beside the environment that is played; there is one for Atari and one for Procgen. A
`SearchPlanner` chooses an action for a state of the live environment.
"""

from gato_jax.experts.search.atari_emulator import AtariEmulator
from gato_jax.experts.search.emulator import Emulator, Transition
from gato_jax.experts.search.planner import SearchPlanner, SearchSettings
from gato_jax.experts.search.procgen_emulator import ProcgenEmulator
from gato_jax.experts.search.tree import Node, Tree
from gato_jax.experts.search.width import iw, rollout_iw

__all__ = [
    "AtariEmulator",
    "Emulator",
    "Node",
    "ProcgenEmulator",
    "SearchPlanner",
    "SearchSettings",
    "Transition",
    "Tree",
    "iw",
    "rollout_iw",
]
