"""Local worker processes of Apache Beam whose death ends the pipeline. Beam itself waits for such a worker forever."""

from __future__ import annotations

import contextlib
import threading
from typing import Any

from apache_beam.portability import python_urns
from apache_beam.runners.portability.fn_api_runner.worker_handlers import SubprocessSdkWorkerHandler, WorkerHandler

from gato_jax.runtime.beam.errors import BeamError

_REPEAT_SECONDS = 1.0
_Handler: Any = SubprocessSdkWorkerHandler  # Beam's decorator hides from type checkers that it is a class


@WorkerHandler.register_environment(python_urns.SUBPROCESS_SDK, bytes)
class WatchedWorkerHandler(_Handler):
    """Handler of a worker in a subprocess, in place of Beam's own, which fails all that its dead worker was to do."""

    def __init__(self, *arguments: Any):
        super().__init__(*arguments)
        self._stopped = threading.Event()

    def start_worker(self):
        """Start the worker and the thread that waits for its end."""
        super().start_worker()
        threading.Thread(target=self._watch, daemon=True, name="watch of a Beam worker").start()

    def stop_worker(self):
        """Wait for the end of a worker that has been told to stop."""
        self._stopped.set()
        super().stop_worker()

    def _watch(self):
        self.worker_thread.join()
        error = BeamError(
            "a worker process was killed or crashed, perhaps because the memory was used up. The finished shards are "
            "kept; run the same command again, with fewer workers (--beam.direct_num_workers=1)."
        )
        while not self._stopped.wait(_REPEAT_SECONDS):  # the pipeline may be about to hand out more work
            with contextlib.suppress(RuntimeError):  # which changes while it is looked at
                self.control_conn.abort(error)
