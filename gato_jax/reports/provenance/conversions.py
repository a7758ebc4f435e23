"""What the folder of a dataset says of the conversion that made it, and of those before it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes import DatasetError, open_dataset
from gato_jax.reports.run import ReportError
from gato_jax.sources.conversion.dataset import REJECTED_FILE
from gato_jax.sources.conversion.manifest import HEADER_FILE

_UNKNOWN = "what was left out before, and how, is not known"
# Of a conversion's description, what is no setting.
_NO_SETTINGS = ("schema", "splits", "task")


@dataclasses.dataclass(frozen=True, kw_only=True)
class ConversionLineage:
    """One conversion.

    Attributes:
      folder: of the dataset that it made.
      settings: what it was asked to do.
      rejected: where parts of its source were left out as damaged, and why.
      filtered: {filter: how many sound episodes it left out}.
      missing: what is not known of it, or no longer there, and why; empty where all is known.
    """

    folder: str = ""
    settings: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    rejected: tuple[tuple[str, str], ...] = ()
    filtered: Mapping[str, int] = dataclasses.field(default_factory=dict)
    missing: str = ""

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> ConversionLineage:
        """Raises TypeError or ValueError where `dataclasses.asdict` did not write it."""
        rejected = tuple((str(where), str(reason)) for where, reason in fields["rejected"])
        return cls(**{**fields, "rejected": rejected})


def conversions_of(folder: Path) -> tuple[ConversionLineage, ...]:
    """The conversions that led to a dataset, the newest first; none where it was recorded as it is.

    Raises:
      ReportError: a conversion's file is damaged.
    """
    return tuple(_chain(folder))


def _chain(folder: Path) -> Iterator[ConversionLineage]:
    made = folder.resolve()
    while (made / HEADER_FILE).exists() or (made / REJECTED_FILE).exists():
        header = read_json(made / HEADER_FILE)
        yield _read(made, header)
        kind, _, where = str(header.get("source", "")).partition(":")
        if kind != "recorded":
            return
        made = Path(where)
        if missing := _not_the_source(made, header.get("splits")):
            yield ConversionLineage(folder=str(made), missing=missing)
            return


def _not_the_source(folder: Path, splits: Any) -> str:
    """Why a folder no longer says where a conversion read from; empty where it does."""
    if not folder.is_dir():
        return f"{folder}, the source, is not there any more: {_UNKNOWN}"
    try:
        same = {split: open_dataset(folder, split).fingerprint == read["fingerprint"] for split, read in splits.items()}
    except (AttributeError, KeyError, TypeError, DatasetError) as error:
        return f"{folder}, the source, cannot be read any more ({error}): {_UNKNOWN}"
    # Without a split that is the same, a chain of headers could lead back to where it began.
    return "" if same and all(same.values()) else f"{folder}, the source, holds other data now: {_UNKNOWN}"


def _read(folder: Path, header: Mapping[str, Any]) -> ConversionLineage:
    left_out = read_json(folder / REJECTED_FILE)
    try:
        return ConversionLineage(
            folder=str(folder),
            settings={name: value for name, value in header.items() if name not in _NO_SETTINGS},
            rejected=tuple((str(part["where"]), str(part["reason"])) for part in left_out.get("rejected", [])),
            filtered={str(name): int(count) for name, count in left_out.get("filtered", {}).items()},
            missing="" if "source" in header else f"{folder} does not say from where it was converted: {_UNKNOWN}",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise ReportError(f"{folder}/{REJECTED_FILE}: not what a conversion wrote ({error!r}); convert again") from None


def read_json(file: Path, of: type = dict) -> Any:
    """The JSON in a file, empty where there is none.

    Raises:
      ReportError: it is no JSON, or of another type.
    """
    if not file.exists():
        return of()
    try:
        content = json.loads(file.read_text())
    except (OSError, ValueError) as error:
        raise ReportError(f"{file} is no JSON ({error}); make it again, or delete it") from None
    if not isinstance(content, of):
        raise ReportError(f"{file} holds no {of.__name__}; make it again, or delete it")
    return content
