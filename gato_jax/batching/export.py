"""Export of a dataset as tokens: token records to train on, or Parquet rows for other tools, with their contract.

    FOLDER/contract.json    the contract, the provenance of the episodes, and the list of the other files
    FOLDER/...              token records (records.py), or Parquet rows (parquet.py) and their README.md

A folder appears when it is complete.
"""

from __future__ import annotations

import collections
import dataclasses
import json
import pathlib
import string
from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple

from tqdm import tqdm

from gato_jax.batching.parquet import COLUMNS, ExportError, Row, pack_rows, require_pyarrow, write_rows
from gato_jax.batching.record_writer import BAR_DELAY, Episodes, write_records
from gato_jax.batching.task_texts import task_texts_of
from gato_jax.episodes import Episode, Image, Provenance, TaskSpec
from gato_jax.episodes.differences import require_same
from gato_jax.episodes.episode import join_distinct
from gato_jax.episodes.licences import hub_licence
from gato_jax.runtime.atomic_writes import atomic_folder
from gato_jax.tokenization import Contract, Tokenization, measure_action_limits
from gato_jax.tokenization.codecs.image import ImageTokenizer

DESCRIPTION_FILE = "contract.json"
SCHEMA = 1
FORMATS = ("array_record", "parquet")

_PATCHES = 'The patches of a row: `numpy.frombuffer(b"".join(row["patches"]), numpy.uint8).reshape(-1, {})`.'
_CARD = pathlib.Path(__file__).with_name("templates") / "dataset_card.md"


class Exported(NamedTuple):
    """Size of an export.

    Attributes:
      rows: Number of Parquet rows; of token records, which have no rows, the number of timesteps.
      tokens: Number of tokens.
    """

    rows: int
    tokens: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Export:
    """A dataset to export, and the format.

    Attributes:
      spec: Task of the dataset.
      split: Name of its split, with which the names of Parquet files begin.
      fingerprint: Fingerprint of its episodes.
      tokenization: Settings of all codecs.
      image_tokenizer: The tokenizer whose codes stand for images, if the settings name one.
      format: `array_record`, which gato_jax trains on as `tokens:FOLDER`, or `parquet`.
      context: Maximum number of tokens of a Parquet row. Token records have no rows.

    Raises:
      ExportError: The format is unknown, or the context is not positive.
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
            raise ExportError(f"format is {self.format!r}, expected {' or '.join(FORMATS)}")
        if self.context < 1:
            raise ExportError(f"context is {self.context}, expected a positive number")

    def write(self, folder: pathlib.Path, episodes: Episodes, *, overwrite: bool = False) -> Exported:
        """Write the export, unless the folder holds the same one already, and return its counts in either case.

        Args:
          folder: Folder of the export, which appears when it is complete.
          episodes: The episodes, by their index. They are read twice if the tokenization scales actions by the data
            (`actions="rt_2"`).
          overwrite: Whether to replace another or a damaged export that is in the folder. Other content of the folder
            is never replaced.

        Raises:
          ExportError: The folder holds another or a damaged export and `overwrite` is False, or it holds files that are
            no export, or a path above it is a file. For Parquet also: pyarrow is not installed, there are no episodes,
            an episode has no step at which an action was taken, or a timestep is longer than the context.
          RecordsError: Token records cannot be made of the episodes (see `write_records`).
          FolderInUseError: Another process writes the same folder.
          TokenizationError: A value has no exact token.
        """
        if self.format == "parquet":
            require_pyarrow()
        if (counts := self._find_equal(folder, overwrite)) is not None:
            return counts
        with atomic_folder(folder.resolve()) as staging:
            write = self._write_rows if self.format == "parquet" else self._write_records
            description = write(staging, episodes)
            description["files"] = {file.name: file.stat().st_size for file in sorted(staging.iterdir())}
            (staging / DESCRIPTION_FILE).write_text(json.dumps({**self._identity, **description}, indent=2))
        return Exported(description["rows"], description["tokens"])

    @property
    def _identity(self) -> dict[str, Any]:
        """Everything that decides the content, as JSON, without the measured action limits, which follow from it."""
        identity = {"schema": SCHEMA, "format": self.format, "split": self.split}
        identity |= {"dataset_fingerprint": self.fingerprint}
        identity |= {"context": self.context} if self.format == "parquet" else {}
        contract = Contract.of(self.tokenization, [self.spec], task_texts=task_texts_of(self.spec, self.tokenization))
        return {**identity, "contract": contract.to_json()}

    def _find_equal(self, folder: pathlib.Path, overwrite: bool) -> Exported | None:
        """Return the counts of this export if a folder holds it already, undamaged; None if the folder may be written.

        An export is damaged if a file of its list is missing or of another size; contents are not read. The folder may
        be written if it is missing or empty, or holds another or a damaged export and `overwrite` is True.

        Raises:
          ExportError: The folder holds another or a damaged export and `overwrite` is False, or it holds files that are
            no export, or a path above it is a file.
        """
        description = _read_description(folder)
        if description is None:
            return None
        wanted, refusal = self._identity, "name another folder, or replace it (--overwrite)"
        held = {**description, "contract": {**description["contract"], "action_limits": {}}}
        held = {key: held[key] for key in wanted if key in held}
        if held == wanted and all(_size(folder / name) == size for name, size in description["files"].items()):
            return Exported(description["rows"], description["tokens"])
        if not overwrite:
            require_same(
                wanted, held, problem=f"{folder} holds another export", holder=DESCRIPTION_FILE, remedy=refusal,
                error=ExportError,
            )  # fmt: skip
            raise ExportError(f"{folder} holds a damaged export; {refusal}")
        return None

    def _write_records(self, staging: pathlib.Path, episodes: Episodes) -> dict[str, Any]:
        """Write token records, and return their contract, provenance and counts as JSON for contract.json."""
        records = write_records(
            staging / "records", self.spec, episodes, self.fingerprint, self.tokenization, self.image_tokenizer
        )
        for file in records.directory.iterdir():
            file.rename(staging / file.name)
        records.directory.rmdir()
        steps, tokens = records.steps, records.tokens
        counts = {"rows": steps, "tokens": tokens, "steps": steps, "episodes": records.episodes}
        return {**_origin(records.contract, records.provenances[0]), **_origins(records.provenance_counts), **counts}

    def _write_rows(self, staging: pathlib.Path, episodes: Episodes) -> dict[str, Any]:
        """Write Parquet rows and their README, and return their contract, provenance and counts as JSON.

        Raises:
          ExportError, TokenizationError: There are no episodes, or an episode cannot be packed into rows (see
            `pack_rows`).
        """
        limits = None
        if self.tokenization.actions == "rt_2":
            limits = {self.spec.name: measure_action_limits(self.spec, episodes)}
        contract = Contract.of(self.tokenization, [self.spec], limits, task_texts_of(self.spec, self.tokenization))
        if not len(episodes):
            raise ExportError(f"{self.spec.name}: no episodes to export; record or convert some first")
        origin = {**_origin(contract, episodes[0].provenance), "patch_shape": self._patch_shape}
        counts, provenances = {"steps": 0, "episodes": 0}, collections.Counter[Provenance]()
        layout = contract.layout(self.spec.name, self.image_tokenizer)
        with tqdm(episodes, desc=f"export {self.spec.name}", unit="episode", delay=BAR_DELAY) as progress:
            rows = _count_rows(pack_rows(layout, _count_provenances(progress, provenances), self.context), counts)
            written = write_rows(staging, self.split, rows, {**self._identity, **origin})
        counts |= {"rows": written.rows, "tokens": written.tokens}
        (staging / "README.md").write_text(self._card({**origin, **counts}, provenances))
        description = {**origin, **_origins(provenances), **counts}
        return description

    @property
    def _patch_shape(self) -> list[int]:
        has_images = any(isinstance(m, Image) for m in self.spec.observation.values())
        if not has_images or self.tokenization.image_tokenizer is not None:
            return [0, 0, 0]
        return [self.tokenization.patch, self.tokenization.patch, 3]

    def _card(self, description: Mapping[str, Any], provenances: Collection[Provenance]) -> str:
        """Return the README.md of Parquet rows: a dataset card in Markdown with YAML metadata."""
        fields = [field.name for field in dataclasses.fields(Provenance)]
        shape = description["patch_shape"]
        return string.Template(_CARD.read_text()).substitute(
            description,
            task=self.spec.name,
            split=self.split,
            context=self.context,
            dataset_fingerprint=self.fingerprint,
            pretty_name=json.dumps(f"{self.spec.name}, tokenized"),  # a JSON string is also a YAML string
            license=_card_licence(list(dict.fromkeys(origin.licence for origin in provenances))),
            provenance=_table_rows({name: join_distinct(provenances, name) for name in fields}),
            columns=_table_rows(COLUMNS),
            patches=_PATCHES.format(", ".join(map(str, shape))) if all(shape) else "This task has no patches.",
        )


def _origin(contract: Contract, provenance: Provenance) -> dict[str, Any]:
    return {
        "contract": contract.to_json(),
        "contract_fingerprint": contract.fingerprint,
        "provenance": dataclasses.asdict(provenance),
    }


def _origins(provenances: Mapping[Provenance, int]) -> dict[str, Any]:
    """Return all provenances of the episodes with their numbers of episodes, in the form of a run's data.json."""
    return {"provenances": [{"episodes": count, **dataclasses.asdict(origin)} for origin, count in provenances.items()]}


def _card_licence(licences: Collection[str]) -> str:
    """Return the lines of a card's YAML metadata that state the licences of its dataset, in the names of the Hub.

    A licence that the Hub does not list is `other`, with its name in a second line; no licence is `unknown`.

    Args:
      licences: the distinct licences of the episodes, "" for one that is not stated.
    """
    if not any(licences):
        return "license: unknown"
    names = [hub_licence(licence) for licence in licences]
    if None in names:
        stated = "; ".join(licence or "not stated" for licence in licences)
        return f"license: other\nlicense_name: {json.dumps(stated)}"  # a JSON string is also a YAML string
    return f"license: {names[0]}" if len(names) == 1 else f"license: [{', '.join(map(str, names))}]"


def _count_provenances(episodes: Iterable[Episode], counts: collections.Counter[Provenance]) -> Iterator[Episode]:
    """Yield the episodes unchanged, and count their provenances in `counts`."""
    for episode in episodes:
        counts[episode.provenance] += 1
        yield episode


def _count_rows(rows: Iterator[Row], counts: dict[str, int]) -> Iterator[Row]:
    """Yield the rows unchanged, and count their timesteps and episodes in `counts`, under `steps` and `episodes`.

    Rows are in the order of their episodes, all episodes of a dataset; `counts["steps"]` must be 0 at first.
    """
    for row in rows:
        counts["steps"] += row.steps
        counts["episodes"] = row.episode + 1
        yield row


def _table_rows(rows: Mapping[str, str]) -> str:
    return "\n".join(f"| {name} | {text} |" for name, text in rows.items() if text)


def _size(file: pathlib.Path) -> int | None:
    return file.stat().st_size if file.is_file() else None


def _read_description(folder: pathlib.Path) -> dict[str, Any] | None:
    """Return the content of contract.json in a folder, None if the folder is missing or empty.

    Raises:
      ExportError: The folder has files but no contract.json of an export, or is a file, or a path above it is a file.
    """
    if (file := next((above for above in folder.parents if above.is_file()), None)) is not None:
        raise ExportError(f"{file} is a file, so {folder} cannot be a folder; name another folder")
    if not folder.exists() or (folder.is_dir() and not any(folder.iterdir())):
        return None
    try:
        description = json.loads((folder / DESCRIPTION_FILE).read_text())
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, ValueError):
        description = None
    kinds = {"contract": dict, "files": dict, "rows": int, "tokens": int}
    if not isinstance(description, dict) or not all(
        isinstance(description.get(name), kind) for name, kind in kinds.items()
    ):
        raise ExportError(f"{folder} is there and is no export, so it is not replaced; name another folder")
    return description
