"""The time of a control loop, which tests simulate."""

from __future__ import annotations

import time


class Clock:
    """The monotonic clock of this machine."""

    def now(self) -> float:
        """Return the time in seconds."""
        return time.monotonic()

    def sleep_until(self, at: float):
        """Wait until a time in seconds; return at once if it has passed."""
        if (seconds := at - time.monotonic()) > 0:
            time.sleep(seconds)
