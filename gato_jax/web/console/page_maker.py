"""Pages that take seconds to make: made one by one in a thread, kept while their files do not change."""

from __future__ import annotations

import collections
import dataclasses
import logging
import queue
import threading
from collections.abc import Callable, Hashable
from typing import Any

_KEPT = 12  # pages in memory

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Made:
    """A page that was made.

    Attributes:
      signature: State of the files that it was made from.
      html: The page; None if it cannot be made.
      problem: Why it cannot be made.
    """

    signature: Hashable
    html: str | None = None
    problem: str | None = None


class PageMaker:
    """Maker of pages in a thread of its own, one after the other, so that training keeps the other processors.

    Args:
      kept: Number of pages that are kept, those that were asked for last.
    """

    def __init__(self, kept: int = _KEPT):
        self._kept, self._lock = kept, threading.Lock()
        self._made: collections.OrderedDict[Hashable, Made] = collections.OrderedDict()
        self._asked: dict[Hashable, Hashable] = {}  # {key: signature} of the pages that are waited for
        self._queue: queue.SimpleQueue[tuple[Any, Any, Callable[[], str]]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def get(self, key: Hashable, signature: Hashable, make: Callable[[], str]) -> Made | None:
        """Return a page, or None while it is being made.

        Args:
          key: Name of the page.
          signature: State of the files that it is made from; a page that was made from another state is made again.
          make: Function that returns the page. Its ValueErrors and OSErrors are for the reader; others are logged.
        """
        with self._lock:
            made = self._made.get(key)
            if made is not None and made.signature == signature:
                self._made.move_to_end(key)
                return made
            if key not in self._asked:
                self._asked[key] = signature
                self._queue.put((key, signature, make))
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, daemon=True, name="console-pages")
                self._thread.start()
        return None

    def _work(self):
        while True:
            key, signature, make = self._queue.get()
            made = _make(signature, make)
            with self._lock:
                self._made[key] = made
                self._made.move_to_end(key)
                del self._asked[key]
                while len(self._made) > self._kept:
                    self._made.popitem(last=False)


def _make(signature: Hashable, make: Callable[[], str]) -> Made:
    try:
        return Made(signature=signature, html=make())
    except (ValueError, OSError) as error:
        return Made(signature=signature, problem=str(error) or type(error).__name__)
    except Exception as error:
        _log.exception("a page cannot be made")
        return Made(signature=signature, problem=f"{type(error).__name__}: {error}")
