"""Paths on disks and in buckets, atomic writes, locks, signals and workers of long jobs, devices and compilation.

Imports no other package of gato_jax and not NumPy; `devices` imports JAX when it is used.
"""

from gato_jax.runtime.file_locks import FolderInUseError, writer_lock
from gato_jax.runtime.interruption import Interruption, interruptible
from gato_jax.runtime.workers import begin_worker

__all__ = ["FolderInUseError", "Interruption", "begin_worker", "interruptible", "writer_lock"]
