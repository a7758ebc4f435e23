"""Episodes in HDF5 files of robomimic, ALOHA, DROID and RoboNet, and in any others with given fields."""

from gato_jax.sources.hdf5.layouts import HDF5_LAYOUTS
from gato_jax.sources.hdf5.reader import open_hdf5

__all__ = ["HDF5_LAYOUTS", "open_hdf5"]
