"""RLDS datasets of others as episodes, read at random from ArrayRecord or TFRecord files, without TensorFlow."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import warnings
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, SupportsIndex

import numpy as np
import PIL.Image

from gato_jax.episodes import Episode, Image, Modality, Provenance, TaskSpec, Text
from gato_jax.episodes.rlds_format import PROVENANCE_FIELDS, look_up
from gato_jax.sources.reader import SourceError
from gato_jax.sources.rlds_table import RLDS_DATASETS, RldsTable
from gato_jax.sources.tfrecord import TFRecords

PROVENANCE_FILE = "provenance.json"


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class RldsDataset:
    """One split of an RLDS dataset of others, as `open_rlds` opens it. Every step of an episode acts."""

    directory: Path
    split: str
    name: str
    spec: TaskSpec
    provenance: Provenance
    lengths: np.ndarray
    fingerprint: str
    image_size: tuple[int, int]

    def __len__(self) -> int:
        return len(self.lengths)

    @property
    def total_steps(self) -> int:
        return int(self.lengths.sum())

    @functools.cached_property
    def _records(self) -> _Records:
        return _Records(self.directory, self.split)

    def __getitem__(self, position: SupportsIndex) -> Episode:
        """The episode at `position`; negative counts from the end. Raises SourceError where the record is damaged."""
        position = range(len(self))[position]
        table = RLDS_DATASETS[self.name]
        sources = {key: (field, self.spec.observation[key]) for key, field in table.images.items()}
        try:
            steps = self._records.steps(position)
            return Episode(
                task=self.spec.name,
                observation=self._read(steps, sources | dict(table.observation)),
                action=self._read(steps, table.action),
                **{key: steps[key] for key in ("reward", "discount", "is_first", "is_last", "is_terminal")},
                provenance=self.provenance,
            )
        except ImportError:
            raise
        except Exception as error:  # protobuf, array_record and the image codecs each have their own
            raise SourceError(
                f"{self.directory}: episode {position} of split {self.split!r} cannot be read ({error!r}); "
                "the files are damaged or hold other fields; copy the dataset again"
            ) from error

    def _read(self, steps: Any, sources: Mapping[str, tuple[str, Modality]]) -> dict[str, np.ndarray]:
        return {key: self._records.decode(steps, field, modality) for key, (field, modality) in sources.items()}

    def __iter__(self) -> Iterator[Episode]:
        return (self[position] for position in range(len(self)))

    def __reduce__(self):  # as its path, so that every loader process opens files of its own
        return _reopen, (self.directory, self.split, self.name, self.image_size)


def open_rlds(
    directory: str | Path, split: str = "train", *, name: str | None = None, image_size: tuple[int, int] = (64, 64)
) -> RldsDataset:
    """Opens one split of `.../NAME/VERSION`.

    Args:
      directory: the folder with `dataset_info.json`, `features.json` and the records.
      split: `train`, or another that the dataset has.
      name: which of RLDS_DATASETS it is, where its own description says otherwise.
      image_size: (height, width) to which images are averaged; stated in the spec.

    Raises:
      SourceError: no dataset there, a name or split that is unknown, or files that are missing.
    """
    directory = Path(directory)
    info = _describe(directory)
    name = name or str(info["name"])
    if name not in RLDS_DATASETS:
        near = difflib.get_close_matches(name, RLDS_DATASETS, n=1) or list(RLDS_DATASETS)
        raise SourceError(f"{directory}: what the fields of {name!r} mean is not known; nearest known: {near[0]}")
    counts = {entry["name"]: sum(map(int, entry["shardLengths"])) for entry in info["splits"]}
    if split not in counts:
        raise SourceError(f"{directory}: no split {split!r}; it has {', '.join(counts)}")
    table = RLDS_DATASETS[name]
    provenance, control_rate_hz = _provenance(directory, table)
    spec = table.spec(image_size, control_rate_hz, provenance.equipment or table.robot)
    files = _record_files(directory, split)
    sizes = [(file.name, file.stat().st_size) for file in files]
    lengths = _lengths(directory, split, sizes, counts[split])
    said = repr((spec.to_json(), split, dataclasses.asdict(provenance), sizes)).encode()
    fingerprint = hashlib.sha256(said + lengths.tobytes()).hexdigest()[:16]
    return RldsDataset(
        directory=directory,
        split=split,
        name=name,
        spec=spec,
        provenance=provenance,
        lengths=lengths,
        fingerprint=fingerprint,
        image_size=image_size,
    )


def _reopen(directory: Path, split: str, name: str, image_size: tuple[int, int]) -> RldsDataset:
    return open_rlds(directory, split, name=name, image_size=image_size)


class _Records:
    """The records of a split, parsed into columns by TFDS's own NumPy parser."""

    def __init__(self, directory: Path, split: str):
        import tensorflow_datasets as tfds
        from tensorflow_datasets.core import example_parser

        builder: Any = tfds.builder_from_directory(directory)
        parser: Any = example_parser.ExampleParserNp  # TFDS's types promise less than it has
        if builder.info.file_format.value == "tfrecord":  # which TFDS reads with TensorFlow only
            self._source = TFRecords(_record_files(directory, split))
        else:
            self._source = builder.as_data_source(split, deserialize_method=tfds.decode.DeserializeMethod.RAW_BYTES)
        self._parser = parser(builder.info.features.get_serialized_info())
        self._features = builder.info.features["steps"].feature

    def __len__(self) -> int:
        return len(self._source)

    def steps(self, position: int) -> Any:
        """The episode's steps: a tree of columns, each of T values, images still encoded."""
        return self._parser.parse_example(self._source[position])["steps"]

    def decode(self, steps: Any, field: str, modality: Modality) -> np.ndarray:
        """(T, ...) values of one field of the steps."""
        column, feature = look_up(steps, field), look_up(self._features, field)
        match modality:
            case Text():
                return np.array([text.decode() for text in column], dtype=object)
            case Image():
                return np.stack([_average(feature.decode_example_np(image), modality) for image in column])
        return column


def _average(image: np.ndarray, size: Image) -> np.ndarray:
    """The image at the given size, each pixel the mean of those it covers."""
    if image.shape == size.shape:
        return image
    return np.asarray(PIL.Image.fromarray(image).resize((size.width, size.height), PIL.Image.Resampling.BOX))


def _describe(directory: Path) -> dict[str, Any]:
    file = directory / "dataset_info.json"
    try:
        info = json.loads(file.read_text())
        return {"name": info["name"], "splits": info["splits"]}
    except (OSError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise SourceError(
            f"{file}: not a TFDS dataset ({error!r}); give the folder NAME/VERSION that holds dataset_info.json"
        ) from error


def _record_files(directory: Path, split: str) -> list[Path]:
    if files := sorted(directory.glob(f"*-{split}.*record-*")):
        return files
    raise SourceError(f"{directory}: no record files of split {split!r}; copy the dataset's folder whole")


def _provenance(directory: Path, table: RldsTable) -> tuple[Provenance, float]:
    """Where the recordings come from and their control rate: the table's unless a file beside them says otherwise."""
    file = directory / PROVENANCE_FILE
    if not file.exists():
        return table.provenance, table.control_rate_hz
    try:
        fields = json.loads(file.read_text())
        said = {key: fields[key] for key in PROVENANCE_FIELDS if key in fields}
        return Provenance(**said), float(fields["control_rate_hz"])
    except (OSError, KeyError, TypeError, ValueError, json.JSONDecodeError) as error:
        raise SourceError(f"{file}: not a provenance ({error}); remove it only if the recordings are real") from error


def _lengths(directory: Path, split: str, sizes: list[tuple[str, int]], count: int) -> np.ndarray:
    """(N,) int64 steps of each episode, from a sidecar that is made once, by reading everything, and kept."""
    file = directory / f"episode_lengths-{split}.npz"
    names, bytes_ = np.array([name for name, _ in sizes]), np.array([size for _, size in sizes], np.int64)
    try:
        with np.load(file, allow_pickle=False) as kept:
            if np.array_equal(kept["name"], names) and np.array_equal(kept["size"], bytes_):
                return kept["length"]
    except (OSError, KeyError, ValueError, EOFError, zipfile.BadZipFile):
        pass  # missing or damaged: made anew
    import tqdm

    records = _Records(directory, split)
    if len(records) != count:
        raise SourceError(f"{directory}: {len(records)} episodes in split {split!r}, {count} described; copy it again")
    progress = tqdm.trange(count, desc=f"{directory}: episode lengths, once", unit=" episodes", mininterval=1.0)
    lengths = np.array([len(records.steps(position)["is_first"]) for position in progress], np.int64)
    try:
        np.savez(file, name=names, size=bytes_, length=lengths)
    except OSError as error:
        warnings.warn(f"{file}: cannot be kept ({error}); the dataset is read whole at each opening", stacklevel=2)
    return lengths
