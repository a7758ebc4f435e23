"""RLDS datasets of others as episodes, read at random from ArrayRecord or TFRecord files, without TensorFlow.

A field's path is `observation/state`, from the step; `/success`, from the episode; `action[0:6]`, a part; and
`bgr_to_rgb(observation/image)`, with one of `field_decoders.DECODERS`.
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
from gato_jax.episodes.rlds_format import PROVENANCE_FIELDS
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, SourceError
from gato_jax.sources.rlds.field_decoders import DECODERS, split_decoder
from gato_jax.sources.rlds.tables import RLDS_DATASETS
from gato_jax.sources.rlds.tfds_dataset import epath_of, open_tfds, parser_of, records_of
from gato_jax.sources.rlds.tfds_lengths import RecordLengths

PROVENANCE_FILE = "provenance.json"
_STEP_FLAGS = ("discount", "is_first", "is_last", "is_terminal")


def open_rlds(
    where: str | Path, split: str = "train", *, name: str | None = None, fields: Fields | None = None
) -> RecordedEpisodes:
    """Opens one split of a dataset.

    Args:
      where: the folder NAME/VERSION, here or as gs://BUCKET/NAME/VERSION, or its name in TFDS's own folder.
      split: `train`, or another that the dataset has.
      name: which of RLDS_DATASETS it is, where its own description says otherwise.
      fields: what its fields mean, instead of what RLDS_DATASETS says of it.

    Raises:
      SourceError: no dataset there, a name or split that is unknown, files that are missing, or no readable episode.
    """
    try:
        dataset = open_tfds(where, split)
    except SourceError as error:
        known = RLDS_DATASETS.get(name or os.fspath(where))
        raise SourceError(f"{error}; {known.download}" if known else str(error)) from None
    entry = RLDS_DATASETS.get(name or dataset.name)
    if fields is None:
        if entry is None:
            near = difflib.get_close_matches(name or dataset.name, RLDS_DATASETS, n=1, cutoff=0.0)
            raise SourceError(
                f"{where}: what the fields of {name or dataset.name!r} mean is not known; nearest known: {near[0]}; "
                "say it in a file of fields"
            )
        fields = entry.fields
    fields = _with_provenance(dataset.directory, fields)
    lengths = RecordLengths.read(dataset, split, counted="steps/is_first")
    rejected = (*dataset.missing, *lengths.rejected)
    if not len(lengths.length):
        reasons = "; ".join(f"{part.location}: {part.reason}" for part in rejected[:1])
        raise SourceError(f"{where}: no readable episode in split {split!r}; {reasons or 'it is empty'}")
    files = list(dataset.files)
    said = repr((fields.spec.to_json(), split, dataclasses.asdict(fields.provenance), dataset.sizes))
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=[(files[file], record) for file, record in lengths.place.tolist()],
        lengths=lengths.length,
        fingerprint=hashlib.sha256(said.encode() + lengths.length.tobytes()).hexdigest()[:16],
        read=functools.partial(_read, dataset.directory, fields, entry is not None and entry.final_observation),
        rejected=rejected,
    )


def _read(directory: str, fields: Fields, final_observation: bool, place: tuple[str, int]) -> Episode:
    """The episode of a record. `final_observation`: where the last step says so, its action was not taken."""
    file, record = place
    where = f"{directory}/{file}, record {record}"
    try:
        columns = parser_of(directory).parse(records_of(directory, file)[record])
    except (ImportError, SourceError):
        raise
    except Exception as error:  # the record's own and those of protobuf and TFDS, where it holds other fields
        raise EpisodeRejected(where, f"it cannot be read ({error})") from error

    def column(path: str) -> Any:
        decoder, path = split_decoder(path)
        if decoder is not None and decoder not in DECODERS:
            raise SourceError(f"{where}: no decoder {decoder!r}; there are {', '.join(DECODERS)}")
        values = columns[path[1:] if path.startswith("/") else f"steps/{path}"]
        try:
            return values if decoder is None else DECODERS[decoder](values)
        except (OSError, ValueError, TypeError, SyntaxError, OverflowError, DecompressionBombError) as error:
            raise EpisodeRejected(where, f"field {path!r} is nothing for {decoder} ({error})") from None

    flags = tuple(flag for flag in _STEP_FLAGS if f"steps/{flag}" in columns)
    return assemble(fields, column, where, step_flags=flags, final_observation=final_observation)


def _with_provenance(directory: str, fields: Fields) -> Fields:
    """The fields with the provenance and the control rate that a file beside the records says, where there is one."""
    file = epath_of(directory) / PROVENANCE_FILE
    if not file.exists():
        return fields
    try:
        said = json.loads(file.read_text())
        provenance = Provenance(**{key: said[key] for key in PROVENANCE_FIELDS if key in said})
        embodiment = fields.embodiment
        if embodiment is not None and provenance.equipment:
            embodiment = dataclasses.replace(embodiment, robot=provenance.equipment)
        rate = float(said["control_rate_hz"])
        return dataclasses.replace(fields, provenance=provenance, control_rate_hz=rate, embodiment=embodiment)
    except (OSError, KeyError, TypeError, ValueError) as error:
        raise SourceError(f"{file}: not a provenance ({error}); remove it only if the recordings are real") from error
