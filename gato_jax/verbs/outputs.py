"""Output of verbs: JSON files, folders and progress bars."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Generator, Iterator
from typing import Any

from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import require_file_path

with epy.lazy_imports():
    import tqdm


def write_json(path: str | pathlib.Path | None, value: Any):
    """Write `value` as indented JSON to `path`, over a file that is there, and make the folders above it.

    Do nothing if `path` is None.
    """
    if path is not None:
        path = as_path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(value, indent=2))


def one_line(message: str) -> str:
    """Return a message of several lines, the first of which ends with a colon, as one line: `FIRST: SECOND; THIRD`."""
    first, _, rest = message.partition("\n")
    others = "; ".join(line.strip() for line in rest.split("\n"))
    return f"{first} {others}".rstrip()


def require_output_file(path: pathlib.Path):
    """Raise an error if a file cannot be written to `path`, the value of --output.

    Raises:
      UsageError: the path is a folder, or a parent of it is a file.
    """
    require_file_path("output", path)


def show_progress(items: Iterator[Any], **bar: Any) -> Generator[Any, None, None]:
    """Yield the items under a progress bar that appears when the first item is asked for.

    An error before the first item is then the only output on stderr.

    Args:
      items: the items.
      **bar: keyword arguments of `tqdm.tqdm`, such as `total` and `desc`.
    """
    with tqdm.tqdm(items, **bar) as progress:
        yield from progress
