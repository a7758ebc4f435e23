"""Gymnasium's interface to tasks of ours, and the conversion of its spaces, of which the suite `gymnasium` is made."""

from gato_jax.environments.gymnasium_api.adapter import as_gymnasium

__all__ = ["as_gymnasium"]
