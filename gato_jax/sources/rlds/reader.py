"""Random access to the episodes of RLDS datasets in ArrayRecord or TFRecord files, without TensorFlow.

The path of a field is `observation/state` for a value of each step and `/success` for a value of the episode.
`action[0:6]` selects elements, and `bgr_to_rgb(observation/image)` applies one of `field_decoders.DECODERS`.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
import json
import os
from pathlib import Path
from typing import Any

from PIL.Image import DecompressionBombError

from gato_jax.episodes import Episode, Provenance
from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.rlds_format import PROVENANCE_FIELDS
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, SourceError
from gato_jax.sources.rlds.field_decoders import DECODERS, split_decoder
from gato_jax.sources.rlds.tables import RLDS_DATASETS
from gato_jax.sources.rlds.tfds_dataset import dataset_parser, open_record_file, open_tfds, to_epath
from gato_jax.sources.rlds.tfds_lengths import RecordLengths

PROVENANCE_FILE = "provenance.json"
_STEP_FLAGS = ("discount", "is_first", "is_last", "is_terminal")


def open_rlds(
    path: str | Path, split: str = "train", *, name: str | None = None, fields: Fields | None = None
) -> RecordedEpisodes:
    """Open one split of an RLDS dataset.

    A `provenance.json` beside the records replaces provenance, control rate and robot of the fields, even of the
    argument `fields`. The lengths of episodes are counted on the first opening, which reads all records, and kept in a
    file; see `RecordLengths.read`.

    Args:
      path: Folder NAME/VERSION of the dataset, local or as gs://BUCKET/NAME/VERSION; or its name, which is looked up in
        TFDS's own folder.
      split: Name of the split.
      name: Key of RLDS_DATASETS whose entry applies. Default: the name in the dataset's own description.
      fields: Fields to read instead of those of the entry in RLDS_DATASETS. The entry's `final_observation` still
        applies; without an entry, the last step holds an action.

    Returns:
      The readable episodes; damaged records and missing files are in `rejected`.

    Raises:
      SourceError: The dataset or split does not exist, the fields are neither given nor in RLDS_DATASETS, the
        `provenance.json` is damaged, or the split has no readable episode.
    """
    try:
        dataset = open_tfds(path, split)
    except SourceError as error:
        known = RLDS_DATASETS.get(name or os.fspath(path))
        raise SourceError(f"{error} {known.download_hint}" if known else str(error)) from None
    entry = RLDS_DATASETS.get(name or dataset.name)
    if fields is None:
        if entry is None:
            near = difflib.get_close_matches(name or dataset.name, RLDS_DATASETS, n=1, cutoff=0.0)
            raise SourceError(
                f"cannot open {path}: the fields of {name or dataset.name!r} are unknown; nearest known: {near[0]}. "
                "Give a file of fields."
            )
        fields = entry.fields
    fields = _with_provenance(dataset.directory, fields)
    lengths = RecordLengths.read(dataset, split, feature="steps/is_first")
    rejected = (*dataset.missing, *lengths.rejected)
    if not len(lengths.length):
        reasons = "; ".join(f"{part.location}: {part.reason}" for part in rejected[:1])
        raise SourceError(f"cannot open {path}: no readable episode in split {split!r}. {reasons or 'It is empty.'}")
    files = list(dataset.files)
    content = repr((fields.spec.to_json(), split, dataclasses.asdict(fields.provenance), dataset.sizes))
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=[(files[file], record) for file, record in lengths.address.tolist()],
        lengths=lengths.length,
        fingerprint=hashlib.sha256(content.encode() + lengths.length.tobytes()).hexdigest()[:16],
        read=functools.partial(_read, dataset.directory, fields, entry is not None and entry.final_observation),
        rejected=rejected,
    )


def _read(directory: str, fields: Fields, final_observation: bool, address: tuple[str, int]) -> Episode:
    """Read the episode of one record.

    Args:
      directory: Folder of the dataset.
      fields: Fields of the episode.
      final_observation: Whether the last step holds an observation without an action, unless its `is_last` is false.
      address: Name of the file and number of the record in it, from 0.

    Raises:
      EpisodeRejected: The record is damaged, or does not fit the fields.
      SourceError: A field names an unknown decoder, or the description of the dataset cannot be read.
    """
    file, record = address
    location = f"{directory}/{file}, record {record}"
    try:
        columns = dataset_parser(directory).parse(open_record_file(directory, file)[record])
    except (ImportError, SourceError):
        raise
    except Exception as error:  # RecordError, or any error of protobuf and TFDS for a record with other fields
        raise EpisodeRejected(location, f"it cannot be read ({describe_error(error)})") from error

    def column(path: str) -> Any:
        decoder, path = split_decoder(path)
        if decoder is not None and decoder not in DECODERS:
            raise SourceError(
                f"cannot read field {path!r} of {location}: decoder is {decoder!r}, expected one of "
                f"{', '.join(DECODERS)}"
            )
        values = columns[path[1:] if path.startswith("/") else f"steps/{path}"]
        try:
            return values if decoder is None else DECODERS[decoder](values)
        except (OSError, ValueError, TypeError, SyntaxError, OverflowError, DecompressionBombError) as error:
            raise EpisodeRejected(location, f"field {path!r} cannot be decoded by {decoder} ({error})") from None

    flags = tuple(flag for flag in _STEP_FLAGS if f"steps/{flag}" in columns)
    return assemble(fields, column, location, step_flags=flags, final_observation=final_observation)


def _with_provenance(directory: str, fields: Fields) -> Fields:
    """Return the fields with provenance and control rate from `provenance.json` beside the records, if it exists.

    The provenance is replaced as a whole. If the fields have an embodiment and the new provenance an equipment, the
    equipment becomes the robot of the embodiment. The file must have `control_rate_hz`.

    Raises:
      SourceError: The file is damaged or lacks a key. A damaged file is not ignored, because simulated episodes would
        then count as real ones.
    """
    file = to_epath(directory) / PROVENANCE_FILE
    if not file.exists():
        return fields
    try:
        values = json.loads(file.read_text())
        provenance = Provenance(**{key: values[key] for key in PROVENANCE_FIELDS if key in values})
        embodiment = fields.embodiment
        if embodiment is not None and provenance.equipment:
            embodiment = dataclasses.replace(embodiment, robot=provenance.equipment)
        rate = float(values["control_rate_hz"])
        return dataclasses.replace(fields, provenance=provenance, control_rate_hz=rate, embodiment=embodiment)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(
            f"cannot read {file}: it holds no provenance "
            f"({describe_error(error)}). Remove it only if the recordings are real."
        ) from error
