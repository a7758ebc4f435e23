"""A dataset, tokenized once, with its contract: the loader's own token records, or Parquet rows for other tools.

FOLDER/contract.json    the contract, where the episodes came from, what else is in the folder
FOLDER/...              token records (records.py), or Parquet rows (parquet.py) and their README.md

A folder is there whole or not at all.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import string
from collections.abc import Iterator, Mapping
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

from gato_jax.batching.parquet import COLUMNS, ExportError, Row, pack_rows, require_pyarrow, write_rows
from gato_jax.batching.record_writer import BAR_DELAY, Episodes, write_records
from gato_jax.episodes import Image, Provenance, TaskSpec
from gato_jax.episodes.atomic_writes import atomic_folder
from gato_jax.episodes.differences import require_same
from gato_jax.tokenization import Contract, Tokenization, measure_action_limits
from gato_jax.tokenization.codecs.image import ImageTokenizer

ABOUT_FILE = "contract.json"
SCHEMA = 1
FORMATS = ("array_record", "parquet")

_PATCHES = 'The patches of a row: `numpy.frombuffer(b"".join(row["patches"]), numpy.uint8).reshape(-1, {})`.'
_CARD = pathlib.Path(__file__).with_name("templates") / "dataset_card.md"


class Exported(NamedTuple):
    """Rows of Parquet, or timesteps in token records, and the tokens in them."""

    rows: int
    tokens: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """What is exported, and how.

    Attributes:
      spec, split: of the dataset; fingerprint: of its episodes.
      format: `array_record`, which gato_jax trains on as `tokens:FOLDER`, or `parquet`.
      context: the most tokens of a Parquet row; token records have no rows.
    """

    spec: TaskSpec
    split: str
    fingerprint: str
    tokenization: Tokenization
    image_tokenizer: ImageTokenizer | None = None
    format: Literal["array_record", "parquet"]
    context: int = 1024

    def __post_init__(self):
        if self.format not in FORMATS:
            raise ExportError(f"format must be {' or '.join(FORMATS)}, got {self.format!r}")
        if self.context < 1:
            raise ExportError(f"context must be positive, got {self.context}")

    def write(self, folder: pathlib.Path, episodes: Episodes, *, overwrite: bool = False) -> Exported:
        """Writes into `folder`, which appears whole or not at all; the same export that is there already is kept.

        Where actions are scaled by the data, the episodes are read twice.

        Raises:
          ExportError: the folder holds something else, and `overwrite` is False or it is no export; it cannot be a
            folder; another process writes there; a timestep is longer than the context; pyarrow is not installed.
          ExportError, RecordsError: there are no episodes, or one has no step at which an action was taken.
        """
        if self.format == "parquet":
            require_pyarrow()
        if kept := self._kept(folder, overwrite):
            return kept
        with atomic_folder(folder.resolve()) as staging:
            about = self._write_rows(staging, episodes) if self.format == "parquet" else self._write(staging, episodes)
            about["files"] = {file.name: file.stat().st_size for file in sorted(staging.iterdir())}
            (staging / ABOUT_FILE).write_text(json.dumps({**self._identity, **about}, indent=2))
        return Exported(about["rows"], about["tokens"])

    @property
    def _identity(self) -> dict[str, Any]:
        """What decides the content; measured limits follow from it."""
        identity = {"schema": SCHEMA, "format": self.format, "split": self.split}
        identity |= {"dataset_fingerprint": self.fingerprint}
        identity |= {"context": self.context} if self.format == "parquet" else {}
        return {**identity, "contract": Contract.of(self.tokenization, [self.spec]).to_json()}

    def _kept(self, folder: pathlib.Path, overwrite: bool) -> Exported | None:
        """What is there, if it is this export and whole; None where the folder may be written."""
        about = _about(folder)
        if about is None:
            return None
        wanted, refusal = self._identity, "name another folder, or replace it (--overwrite)"
        held = {**about, "contract": {**about["contract"], "action_limits": {}}}
        held = {key: held[key] for key in wanted if key in held}
        if held == wanted and all(_size(folder / name) == size for name, size in about["files"].items()):
            return Exported(about["rows"], about["tokens"])
        if not overwrite:
            require_same(
                wanted, held, problem=f"{folder} holds another export", holder=ABOUT_FILE, remedy=refusal,
                error=ExportError,
            )  # fmt: skip
            raise ExportError(f"{folder} holds a damaged export; {refusal}")
        return None

    def _write(self, staging: pathlib.Path, episodes: Episodes) -> dict[str, Any]:
        """Token records. Returns what is to be said of them."""
        made = write_records(
            staging / "records", self.spec, episodes, self.fingerprint, self.tokenization, self.image_tokenizer
        )
        for file in made.directory.iterdir():
            file.rename(staging / file.name)
        made.directory.rmdir()
        steps, tokens = made.steps, made.tokens
        counts = {"rows": steps, "tokens": tokens, "steps": steps, "episodes": made.episodes}
        return {**_origin(made.contract, made.provenances[0]), **counts}

    def _write_rows(self, staging: pathlib.Path, episodes: Episodes) -> dict[str, Any]:
        """Parquet rows and their README. Returns what is to be said of them."""
        limits = None
        if self.tokenization.actions == "rt_2":
            limits = {self.spec.name: measure_action_limits(self.spec, episodes)}
        contract = Contract.of(self.tokenization, [self.spec], limits)
        if not len(episodes):
            raise ExportError(f"{self.spec.name}: no episodes to export; record or convert some first")
        origin = {**_origin(contract, episodes[0].provenance), "patch_shape": self._patch_shape}
        counts = {"steps": 0, "episodes": 0}
        layout = contract.layout(self.spec.name, self.image_tokenizer)
        with tqdm(episodes, desc=f"export {self.spec.name}", unit="episode", delay=BAR_DELAY) as progress:
            rows = _counted(pack_rows(layout, progress, self.context), counts)
            written = write_rows(staging, self.split, rows, {**self._identity, **origin})
        about = {**origin, "rows": written.rows, "tokens": written.tokens, **counts}
        (staging / "README.md").write_text(self._card(about))
        return about

    @property
    def _patch_shape(self) -> list[int]:
        has_images = any(isinstance(m, Image) for m in self.spec.observation.values())
        if not has_images or self.tokenization.image_tokenizer is not None:
            return [0, 0, 0]
        return [self.tokenization.patch, self.tokenization.patch, 3]

    def _card(self, about: Mapping[str, Any]) -> str:
        shape = about["patch_shape"]
        return string.Template(_CARD.read_text()).substitute(
            about,
            task=self.spec.name,
            split=self.split,
            context=self.context,
            dataset_fingerprint=self.fingerprint,
            pretty_name=json.dumps(f"{self.spec.name}, tokenized"),  # a JSON string is one of YAML
            license_name=json.dumps(about["provenance"]["licence"]),
            provenance=_table_rows(about["provenance"]),
            columns=_table_rows(COLUMNS),
            patches=_PATCHES.format(", ".join(map(str, shape))) if all(shape) else "This task has no patches.",
        )


def _origin(contract: Contract, provenance: Provenance) -> dict[str, Any]:
    return {
        "contract": contract.to_json(),
        "contract_fingerprint": contract.fingerprint,
        "provenance": dataclasses.asdict(provenance),
    }


def _counted(rows: Iterator[Row], counts: dict[str, int]) -> Iterator[Row]:
    for row in rows:
        counts["steps"] += row.steps
        counts["episodes"] = row.episode + 1
        yield row


def _table_rows(rows: Mapping[str, str]) -> str:
    return "\n".join(f"| {name} | {text} |" for name, text in rows.items() if text)


def _size(file: pathlib.Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _about(folder: pathlib.Path) -> dict[str, Any] | None:
    """What an export says of itself; None where the place is free. Raises ExportError for whatever else is there."""
    if (file := next((above for above in folder.parents if above.is_file()), None)) is not None:
        raise ExportError(f"{file} is a file, so {folder} cannot be a folder; name another folder")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        about = json.loads((folder / ABOUT_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        about = None
    kinds = {"contract": dict, "files": dict, "rows": int, "tokens": int}
    if not isinstance(about, dict) or not all(isinstance(about.get(name), kind) for name, kind in kinds.items()):
        raise ExportError(f"{folder} is there and is no export, so it is not replaced; name another folder")
    return about
