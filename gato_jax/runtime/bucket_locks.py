"""The one writer of a folder in a bucket, where nothing can be locked: an object with a counter that keeps moving.

A writer that finds the object of another one watches the counter for a minute. If it moves, the other writer is alive.
If it stands still, that writer was killed, and its place is taken. No clocks are compared.
"""

from __future__ import annotations

import contextlib
import json
import logging
import pathlib
import threading
import time
import uuid
from collections.abc import Iterator, Mapping
from typing import Any

from gato_jax.runtime.writers import has_ended

BEAT = 15.0  # seconds between two changes of the counter
WATCH = 60.0  # seconds without a change after which a writer counts as killed
SETTLE = 2.0  # seconds between the claim and the look at who claimed last, for two that start at once

_log = logging.getLogger(__name__)


@contextlib.contextmanager
def claimed(path: pathlib.Path, writer: Mapping[str, Any]) -> Iterator[bool]:
    """Be the writer whose description the object `path` holds, during the block.

    Args:
      path: The object, which is removed after the block.
      writer: Description of this writer. One that was killed on this host is seen at once, without watching it.

    Yields:
      Whether this writer has the place; False if another one, whose description `path` then holds, is alive.
    """
    if not _is_free(path):
        yield False
        return
    claim = {**writer, "claim": uuid.uuid4().hex}
    path.write_text(json.dumps({**claim, "beat": 0}))
    time.sleep(SETTLE)
    if (_read(path) or {}).get("claim") != claim["claim"]:
        yield False
        return
    ended = threading.Event()
    heart = threading.Thread(target=_beat, args=(path, claim, ended), daemon=True, name="writer-lock")
    heart.start()
    try:
        yield True
    finally:
        ended.set()
        heart.join()
        if (_read(path) or {}).get("claim") == claim["claim"]:
            path.unlink(missing_ok=True)


def _is_free(path: pathlib.Path) -> bool:
    """Return whether there is no other writer, or it was killed; wait for up to WATCH seconds to find out."""
    if not (found := _read(path)):
        return True
    if has_ended(found):
        return True
    _log.warning(
        "%s: process %s on %s wrote there; waiting for up to %.0f s to see whether it still does",
        path.parent, found.get("process"), found.get("host"), WATCH,
    )  # fmt: skip
    deadline = time.monotonic() + WATCH
    while time.monotonic() < deadline:
        time.sleep(min(WATCH / 20, 2.0))
        if (now := _read(path)) != found:
            return now is None
    return True


def _beat(path: pathlib.Path, claim: dict[str, Any], ended: threading.Event):
    beat = 0
    while not ended.wait(BEAT):
        beat += 1
        try:
            if (found := _read(path)) is not None and found.get("claim") != claim["claim"]:
                _log.error("%s: another process took this folder over, as this one seemed dead: end one", path.parent)
                return
            path.write_text(json.dumps({**claim, "beat": beat}))
        except Exception as error:  # the package that opens the bucket raises errors of its own; the next beat may work
            _log.warning("%s: cannot be written (%s); trying again in %.0f s", path, error, BEAT)


def _read(path: pathlib.Path) -> dict[str, Any] | None:
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}
