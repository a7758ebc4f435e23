"""What a verb leaves, and what is seen while it works: JSON, folders, a progress bar."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Generator, Iterator
from typing import Any

from gato_jax.verbs.flags import UsageError


def write_json(path: str | pathlib.Path | None, value: Any):
    """Writes indented JSON, folders included; without a path, as of a --json that is not given, nothing."""
    if path is not None:
        pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(path).write_text(json.dumps(value, indent=2))


def require_page(path: pathlib.Path):
    """Refuses an --output that cannot be a file: a folder, or what lies below a file.

    Raises:
      UsageError: naming what is in the way.
    """
    if path.is_dir():
        raise UsageError(f"--output={path} is a folder; name a file")
    for above in path.parents:
        if above.is_file():
            raise UsageError(f"--output={path}: {above} is a file; name another folder")


def make_folder(path: str) -> pathlib.Path:
    """The folder, with those above it; one that is there is kept as it is."""
    folder = pathlib.Path(path)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def watched(episodes: Iterator[Any], **bar: Any) -> Generator[Any, None, None]:
    """A progress bar from the first episode on: a refusal before it stays the only line on stderr."""
    from tqdm import tqdm

    with tqdm(episodes, **bar) as progress:
        yield from progress
