"""A sampling planner for tasks that MuJoCo simulates: predictive sampling, MPPI and CEM, over copies of the live model.

A suite declares a `Plan` for each task as data: the `Objective` with the `Sensor`s that it reads, the `Budget` and the
sampler; and it derives from `Planner` one expert that knows where the suite keeps its model and state.
"""

from gato_jax.experts.planning.noise import ColouredNoise, SplinedNoise
from gato_jax.experts.planning.planner import Budget, Objective, Plan, Planner
from gato_jax.experts.planning.samplers import CEM, MPPI, PredictiveSampling, Sampler, Search
from gato_jax.experts.planning.simulation import Readings, Sensor, Simulator, last_compiled_spec
from gato_jax.experts.planning.tolerance import tolerance

__all__ = [
    "CEM",
    "MPPI",
    "Budget",
    "ColouredNoise",
    "Objective",
    "Plan",
    "Planner",
    "PredictiveSampling",
    "Readings",
    "Sampler",
    "Search",
    "Sensor",
    "Simulator",
    "SplinedNoise",
    "last_compiled_spec",
    "tolerance",
]
