"""Episodes in HDF5 files of robomimic, ALOHA, DROID, RoboNet, D4RL and others, and in any with given fields."""

from gato_jax.sources.hdf5.layouts import HDF5_LAYOUTS
from gato_jax.sources.hdf5.reader import open_hdf5

__all__ = ["HDF5_LAYOUTS", "open_hdf5"]
