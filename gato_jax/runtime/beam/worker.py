"""Entry point of Apache Beam's local worker processes, which end with the process that started the pipeline.

    python -m gato_jax.runtime.beam.worker PROCESS

Beam's own entry point waits for more work for half an hour after that process, whose id is PROCESS, was killed.
"""

from __future__ import annotations

import os
import sys
import time
from typing import TextIO

from gato_jax.runtime import begin_worker
from gato_jax.runtime.workers import wait_for_end

_DYING_SECONDS = 0.5  # to wait before text is printed, and
_BURST_SECONDS = 0.1  # how long text may follow other text without another wait


class StderrOfChild:
    """Stderr of a process that prints nothing about the loss of its parent: it ends instead.

    Args:
      stream: where to print while the parent lives.
      parent: id of the parent.
    """

    def __init__(self, stream: TextIO, parent: int):
        self._stream, self._parent = stream, parent
        self._waited = float("-inf")

    def write(self, text: str) -> int:
        # The connections of a dying process close before it counts as ended.
        wait = _DYING_SECONDS if time.monotonic() - self._waited > _BURST_SECONDS else 0.0
        if wait_for_end(self._parent, wait):
            os._exit(1)
        self._waited = time.monotonic()
        return self._stream.write(text)

    def __getattr__(self, name: str):
        return getattr(self._stream, name)


def main(argv: list[str]):
    """Run a worker of Beam; the last word of the command line is the id of the process to end with."""
    parent = int(argv.pop())
    begin_worker(parent)
    sys.stderr = sys.__stderr__ = StderrOfChild(sys.stderr, parent)
    from apache_beam.runners.worker import sdk_worker_main  # takes seconds, in which the parent may be killed

    sdk_worker_main.main(argv)


if __name__ == "__main__":
    main(sys.argv)
