"""HDF5: the files of robomimic, ALOHA, DROID and RoboNet, and any other whose datasets are named."""

from gato_jax.sources.hdf5.layouts import HDF5_LAYOUTS
from gato_jax.sources.hdf5.reader import open_hdf5

__all__ = ["HDF5_LAYOUTS", "open_hdf5"]
