"""Table of public RLDS datasets with the meaning of their fields, which the datasets themselves do not contain."""

from gato_jax.sources.rlds.tables.d4rl import D4RL
from gato_jax.sources.rlds.tables.entry import RldsEntry
from gato_jax.sources.rlds.tables.open_x_parts import OPEN_X_PARTS
from gato_jax.sources.rlds.tables.open_x_vectors import OPEN_X_VECTORS
from gato_jax.sources.rlds.tables.rl_unplugged import RL_UNPLUGGED
from gato_jax.sources.rlds.tables.simulated_arms import SIMULATED_ARMS

RLDS_DATASETS: dict[str, RldsEntry] = {
    **OPEN_X_PARTS,
    **OPEN_X_VECTORS,
    **RL_UNPLUGGED,
    **D4RL,
    **SIMULATED_ARMS,
}

__all__ = ["RLDS_DATASETS", "RldsEntry"]
