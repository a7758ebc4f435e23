"""The process that owns a graphics context or an engine, which a forked process must not use."""

from __future__ import annotations

import os


class ForkedEnvironmentError(RuntimeError):
    """An environment that is used in another process than the one that made it; the message names the task."""


class ProcessOwner:
    """The process that made an environment."""

    def __init__(self, task: str):
        self._task, self._process = task, os.getpid()

    def is_here(self) -> bool:
        """Return True in the process that made the environment."""
        return os.getpid() == self._process

    def require(self) -> None:
        """Raise ForkedEnvironmentError in another process than the one that made the environment."""
        if not self.is_here():
            raise ForkedEnvironmentError(
                f"{self._task}: this is process {os.getpid()}, and process {self._process} made the environment. Load "
                "it here, in a process that is spawned, as forked ones share the parent's context."
            )
