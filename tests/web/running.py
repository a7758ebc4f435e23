"""A server that runs in a thread while a test talks to it."""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Iterator


@contextlib.contextmanager
def running(server) -> Iterator[str]:
    """Yields the address at which the server, with a method `run(stop, ready)`, listens."""
    loop, stop, addresses = asyncio.new_event_loop(), asyncio.Event(), queue.Queue()
    thread = threading.Thread(target=lambda: loop.run_until_complete(server.run(stop, addresses.put)))
    thread.start()
    try:
        yield addresses.get(timeout=60)
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(20)
        assert not thread.is_alive()
        loop.close()
