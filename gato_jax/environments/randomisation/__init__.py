"""Domain randomisation of any task that MuJoCo simulates: another body, look and sensors in each episode."""

from gato_jax.environments.randomisation.environment import (
    Randomisation,
    RandomisationError,
    RandomisedEnvironment,
    randomise,
)

__all__ = ["Randomisation", "RandomisationError", "RandomisedEnvironment", "randomise"]
