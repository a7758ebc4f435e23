"""Reader of LeRobot datasets of formats v2.0, v2.1 and v3.0."""

from gato_jax.sources.lerobot.reader import open_lerobot

__all__ = ["open_lerobot"]
