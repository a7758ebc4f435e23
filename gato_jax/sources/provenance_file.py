"""Provenance of recordings, read from a `provenance.json` beside them."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import Provenance
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.sources.reader import SourceError

PROVENANCE_FILE = "provenance.json"


def read_provenance(folder: Path, default: Provenance) -> Provenance:
    """Return the provenance of the recordings in a folder.

    Args:
      folder: folder of the recordings. The entries of its `provenance.json` replace fields of `default`. Without this
        file, `default` is returned.
      default: values of the fields that the file does not give.

    Raises:
      SourceError: the file cannot be read, is not a JSON object, or has a key or value that Provenance does not allow.
    """
    file = folder / PROVENANCE_FILE
    if not file.exists():
        return default
    try:
        fields = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: cannot be read as provenance ({error}). Correct or remove the file.") from None
    return update_provenance(default, fields, str(file))


def update_provenance(default: Provenance, fields: Any, location: str) -> Provenance:
    """Return a copy of `default` in which some fields are replaced.

    Args:
      default: the provenance to copy.
      fields: parsed JSON object with the fields to replace.
      location: file that `fields` come from, the beginning of error messages.

    Raises:
      SourceError: `fields` is not an object, or has a key or value that Provenance does not allow.
    """
    if not isinstance(fields, Mapping):
        raise SourceError(f"{location} is {fields!r:.60}, expected an object with fields of a provenance")
    return DataclassReader(error=SourceError).read(Provenance, {**dataclasses.asdict(default), **fields}, location)
