"""The experts of Atari: a planner for all games, and scripts for those where a script was written."""

from gato_jax.environments.suites.atari import EXTENDED, SUITES
from gato_jax.experts.atari.gopher import GopherScript
from gato_jax.experts.atari.planner import AtariPlanner
from gato_jax.experts.atari.scripts import SCRIPTS, RamScript
from gato_jax.experts.base import Expert

EXPERTS: dict[str, type[Expert]] = {f"{suite.name}/{game}": AtariPlanner for suite in SUITES for game in suite.tasks}
EXPERTS |= {f"{suite.name}/gopher": GopherScript for suite in SUITES}
# Speeds of the first mode, which others do not have.
EXPERTS |= {f"{suite.name}/{game}": RamScript for suite in SUITES if suite is not EXTENDED for game in SCRIPTS}

__all__ = ["EXPERTS", "SCRIPTS", "AtariPlanner", "GopherScript", "RamScript"]
