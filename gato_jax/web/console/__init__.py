"""The console: one place in a browser for the runs of a folder, live while they are trained.

May import reports, training, batching, runtime and `web.local_server`. Nothing in a run's folder is changed.
"""

from gato_jax.web.console.console import Console
from gato_jax.web.console.discovery import DEPTH, find_runs

__all__ = ["DEPTH", "Console", "find_runs"]
