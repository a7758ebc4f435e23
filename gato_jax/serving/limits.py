"""Limits of what clients may ask of the server."""

from __future__ import annotations

import dataclasses
import math


@dataclasses.dataclass(frozen=True, kw_only=True)
class Limits:
    """Limits of connections and messages.

    Attributes:
      connections: Maximum number of robots that are served at once.
      message_bytes: Maximum length of a message.
      rate_hz: Maximum mean number of messages a second from one robot; a robot that sends more often waits.
      session_s: Seconds after which a connection is closed.
      idle_s: Seconds without a message after which a connection is closed.
      ping_s: Seconds between pings, and seconds that an answer to one may take before a connection counts as lost.
      write_s: Seconds that a client may take to accept an answer.
      open_s: Seconds that a client may take to complete its handshake.
    """

    connections: int = 64
    message_bytes: int = 2**20
    rate_hz: float = 200.0
    session_s: float = 86_400.0
    idle_s: float = 600.0
    ping_s: float = 20.0
    write_s: float = 10.0
    open_s: float = 10.0

    @property
    def sockets(self) -> int:
        """Maximum number of open sockets: robots, and others that are in their handshake or read metrics."""
        return 2 * self.connections + 16


class RateLimit:
    """A token bucket, which holds one second of messages.

    Args:
      rate_hz: number of messages a second.
    """

    def __init__(self, rate_hz: float):
        self._rate_hz, self._full = rate_hz, max(1.0, rate_hz)
        self._tokens, self._at = self._full, -math.inf

    def delay(self, now: float) -> float:
        """Return the seconds to wait before a message that has arrived at `now`, in seconds, may be handled."""
        self._tokens = min(self._full, self._tokens + (now - self._at) * self._rate_hz) - 1
        self._at = now
        return max(0.0, -self._tokens / self._rate_hz)
