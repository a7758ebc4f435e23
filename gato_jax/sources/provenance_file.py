"""Where recordings come from, as a `provenance.json` beside them says."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import EpisodeError, Provenance, SpecError
from gato_jax.episodes.strict_json import read_fields
from gato_jax.sources.reader import SourceError

PROVENANCE_FILE = "provenance.json"


def read_provenance(folder: Path, default: Provenance) -> Provenance:
    """The provenance of what lies in `folder`: that of its `provenance.json`, the default's where this is silent.

    Raises:
      SourceError: the file is no JSON object of Provenance's fields, all of them text.
    """
    file = folder / PROVENANCE_FILE
    if not file.exists():
        return default
    try:
        said = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(f"{file}: no provenance in JSON ({error}); mend or remove it") from None
    return update_provenance(default, said, str(file))


def update_provenance(default: Provenance, said: Any, where: str) -> Provenance:
    """The default with the fields that are said. Raises SourceError, beginning with `where`, for any other field."""
    if not isinstance(said, Mapping):
        raise SourceError(f"{where} is {said!r:.60}; it needs an object with fields of a provenance")
    try:
        return Provenance(**read_fields(Provenance, {**dataclasses.asdict(default), **said}, where))
    except SpecError as error:
        raise SourceError(str(error)) from None
    except EpisodeError as error:
        raise SourceError(f"{where}: {error}") from None
