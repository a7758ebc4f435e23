"""Episodes in Minari datasets."""

from gato_jax.sources.minari.reader import open_minari

__all__ = ["open_minari"]
