"""Experiments, one script for each table or figure, run as `python -m experiments.NAME` from the repository root."""

from gato_jax.runtime.devices import choose_platforms

choose_platforms()  # before a script imports JAX
