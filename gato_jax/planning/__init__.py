"""The preflight planner: memory, FLOPs and duration of a training run on accelerators that are not present.

May import training, batching, model.
"""

from gato_jax.planning.budgets import PlanError, PoolBudgets
from gato_jax.planning.compilation import CompileError, load_step, save_step
from gato_jax.planning.plan import Plan
from gato_jax.planning.preflight import Planned, make_plan
from gato_jax.planning.roofline import Lowering, Roofline, step_roofline
from gato_jax.planning.start_up import MemoryNeedError, require_memory
from gato_jax.planning.sweep import Grid, SweepRow, fastest, sweep
from gato_jax.planning.tables import describe_plan, describe_sweep
from gato_jax.planning.topologies import CHIPS, Chip, Topology, TopologyError, parse_topology

__all__ = [
    "CHIPS",
    "Chip",
    "CompileError",
    "Grid",
    "Lowering",
    "MemoryNeedError",
    "Plan",
    "PlanError",
    "Planned",
    "PoolBudgets",
    "Roofline",
    "SweepRow",
    "Topology",
    "TopologyError",
    "describe_plan",
    "describe_sweep",
    "fastest",
    "load_step",
    "make_plan",
    "parse_topology",
    "require_memory",
    "save_step",
    "step_roofline",
    "sweep",
]
