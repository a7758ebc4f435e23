"""Paths on disks and in buckets, atomic writes, locks and signals of jobs that run long.

Imports no other package of gato_jax, nor NumPy nor JAX.
"""

from gato_jax.runtime.file_locks import FolderInUseError, writer_lock
from gato_jax.runtime.interruption import Interruption, interruptible

__all__ = ["FolderInUseError", "Interruption", "interruptible", "writer_lock"]
