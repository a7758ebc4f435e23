"""Files of one JSON object a line, each with a `step`, that follow a run which may be killed at any moment."""

from __future__ import annotations

import json
import pathlib
from typing import Any

from gato_jax.runtime.atomic_writes import atomic_file


def read_lines(path: pathlib.Path) -> list[dict[str, Any]]:
    """Return the objects of a file, [] if there is none. A last line that a kill cut off is left out."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.split("\n")[:-1]]


def keep_lines(path: pathlib.Path, last_step: int) -> list[dict[str, Any]]:
    """Drop the lines of steps after `last_step` from a file, which is made if it is missing, and return the others."""
    kept = [line for line in read_lines(path) if line["step"] <= last_step]
    with atomic_file(path) as partial:
        partial.write_text("".join(json.dumps(line) + "\n" for line in kept))
    return kept
