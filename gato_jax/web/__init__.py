"""Pages that `gato` serves to a browser on this machine. May import everything but verbs and the command."""

from gato_jax.runtime.listening import ListenError
from gato_jax.web.local_server import Connection, LocalServer, Page

__all__ = ["Connection", "ListenError", "LocalServer", "Page"]
