"""Episodes in MCAP files of ROS 2 messages."""

from gato_jax.sources.mcap.reader import open_mcap

__all__ = ["open_mcap"]
