"""Reader of the conversions that produced a dataset, from the files that each conversion leaves in its folder."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import DatasetError
from gato_jax.episodes.errors import describe_error
from gato_jax.reports.errors import ReportError
from gato_jax.runtime.paths import as_path
from gato_jax.sources import SourceError, open_source
from gato_jax.sources.conversion.dataset import REJECTED_FILE
from gato_jax.sources.conversion.manifest import HEADER_FILE

_UNKNOWN = "earlier rejections and filters are unknown"
# Fields of a conversion's header that are not settings.
_NO_SETTINGS = ("schema", "splits", "task")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionLineage:
    """Record of one conversion of recordings into a dataset.

    Attributes:
      folder: folder of the dataset that the conversion wrote; empty if it is unknown.
      settings: {name: value} of the settings of the conversion, with its `source`.
      rejected: (location, reason) of each damaged part, such as an episode, of the source.
      filtered: {filter: number of undamaged episodes that it removed}.
      missing: a sentence, without full stop, on what is unknown about the conversion; empty if nothing is unknown.
    """

    folder: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejected: tuple[tuple[str, str], ...] = ()
    filtered: Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: str = ""


def read_conversions(folder: Path) -> tuple[ConversionLineage, ...]:
    """Read the conversions that produced the dataset in `folder`, the newest first; () if it was recorded directly.

    A source that is itself a folder of a recorded dataset is followed. If that folder is gone or changed, the last
    record has no settings and says so in `missing`.

    Raises:
      ReportError: a conversion's file is damaged.
    """
    return tuple(_chain(folder))


def _chain(folder: Path) -> Iterator[ConversionLineage]:
    folder = folder.resolve()
    while (folder / HEADER_FILE).exists() or (folder / REJECTED_FILE).exists():
        header = read_json(folder / HEADER_FILE)
        yield _read(folder, header)
        kind, _, path = str(header.get("source", "")).partition(":")
        if kind != "recorded":
            return
        folder = as_path(path)
        if missing := _why_not_the_source(folder, header.get("splits")):
            yield ConversionLineage(folder=str(folder), missing=missing)
            return


def _why_not_the_source(folder: Path, splits: Any) -> str:
    """Return why `folder` no longer holds the data that a conversion read, as a clause; "" if it does.

    Args:
      folder: the dataset that the conversion read.
      splits: {split: {"fingerprint": fingerprint of the data when they were read}}; anything else, or no split, also
        gives a reason.
    """
    if not folder.is_dir():
        return f"{folder}, the source, no longer exists: {_UNKNOWN}"
    try:
        found = {split: open_source(f"recorded:{folder}", split).fingerprint for split in splits}
        same = {split: found[split] == read["fingerprint"] for split, read in splits.items()}
    except (AttributeError, KeyError, TypeError, DatasetError, SourceError) as error:
        return f"{folder}, the source, can no longer be read ({describe_error(error)}): {_UNKNOWN}"
    # A chain of headers could lead back to its start if folders were accepted without an unchanged split.
    return "" if same and all(same.values()) else f"{folder}, the source, now holds other data: {_UNKNOWN}"


def _read(folder: Path, header: Mapping[str, Any]) -> ConversionLineage:
    left_out = read_json(folder / REJECTED_FILE)
    try:
        return ConversionLineage(
            folder=str(folder),
            settings={name: value for name, value in header.items() if name not in _NO_SETTINGS},
            rejected=tuple((str(part["where"]), str(part["reason"])) for part in left_out.get("rejected", [])),
            filtered={str(name): int(count) for name, count in left_out.get("filtered", {}).items()},
            missing="" if "source" in header else f"{folder} does not record its source: {_UNKNOWN}",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(
            f"{folder}/{REJECTED_FILE} is not the record of a conversion "
            f"({describe_error(error)}). Convert the dataset again."
        ) from None


def read_json(file: Path, of: type = dict) -> Any:
    """Read a JSON file and require its content to be of type `of`; a missing file gives `of()`, {} or [].

    Raises:
      ReportError: the file cannot be read or is not JSON, or its content is of another type.
    """
    if not file.exists():
        return of()
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ReportError(f"{file} is not JSON ({describe_error(error)}). Write it again, or delete it.") from None
    if not isinstance(content, of):
        raise ReportError(
            f"{file} holds {type(content).__name__}, expected {of.__name__}. Write it again, or delete it."
        )
    return content
