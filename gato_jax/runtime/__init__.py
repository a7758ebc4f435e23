"""Paths on disks and in buckets, atomic writes, locks and signals of long jobs, devices and compilation.

Imports no other package of gato_jax and not NumPy; `devices` imports JAX when it is used.
"""

from gato_jax.runtime.file_locks import FolderInUseError, writer_lock
from gato_jax.runtime.interruption import Interruption, interruptible

__all__ = ["FolderInUseError", "Interruption", "interruptible", "writer_lock"]
