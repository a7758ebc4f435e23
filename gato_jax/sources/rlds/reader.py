"""Random access to the episodes of RLDS datasets in ArrayRecord or TFRecord files, without TensorFlow.

The path of a field is `observation/state` for a value of each step and `/success` for a value of the episode. Images
are read as TFDS reads them: EXIF orientation is ignored, because the features of the dataset declare the size.
"""

from __future__ import annotations

import dataclasses
import difflib
import functools
import json
import logging
import os
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Episode, Provenance
from gato_jax.episodes.errors import describe_error
from gato_jax.episodes.rlds_format import PROVENANCE_FIELDS
from gato_jax.runtime.content_digests import combine
from gato_jax.sources.assembly import assemble
from gato_jax.sources.contents import missing_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import READERS_VERSION, EpisodeRejected, NoSplitError, RecordedEpisodes, SourceError
from gato_jax.sources.rlds.contents import describe_features, find_left_out
from gato_jax.sources.rlds.tables import RLDS_DATASETS, RldsEntry
from gato_jax.sources.rlds.tfds_dataset import Columns, dataset_parser, open_record_file, open_tfds
from gato_jax.sources.rlds.tfds_images import decode_tfds_image, is_image
from gato_jax.sources.rlds.tfds_lengths import RecordLengths
from gato_jax.sources.rlds.tfds_names import to_epath
from gato_jax.sources.rlds.tfds_steps import find_step_counter

_log = logging.getLogger(__name__)

PROVENANCE_FILE = "provenance.json"
_STEP_FLAGS = ("discount", "is_first", "is_last", "is_terminal")
_OWN_FLAG = "episode_metadata/final_observation"  # in datasets that gato_jax wrote


def open_rlds(
    path: str | Path, split: str = "train", *, name: str | None = None, fields: Fields | None = None
) -> RecordedEpisodes:
    """Open one split of an RLDS dataset.

    A `provenance.json` beside the records replaces provenance, control rate and robot of the fields, even of the
    argument `fields`. The lengths of episodes are counted on the first opening, which reads all records, and kept in a
    file; see `RecordLengths.read`.

    If the steps have a flag `is_last`, the last step is what RLDS defines: an observation without an action. Many
    datasets have an action there nevertheless, so `fields.final_observation`, or else the entry in RLDS_DATASETS, says
    otherwise. The log tells which holds.

    Args:
      path: Folder NAME/VERSION of the dataset, local or as gs://BUCKET/NAME/VERSION; or its name, which is looked up in
        TFDS's own folder.
      split: Name of the split.
      name: Key of RLDS_DATASETS whose entry applies. Default: the name in the dataset's own description.
      fields: Fields to read instead of those of the entry in RLDS_DATASETS. The entry's `final_observation` still
        applies if the fields have None.

    Returns:
      The readable episodes; damaged records and missing files are in `rejected`.

    Raises:
      SourceError: The dataset or split does not exist, the fields are neither given nor in RLDS_DATASETS, the
        `provenance.json` is damaged, the dataset has no steps that can be counted, or the split has no readable
        episode.
    """
    try:
        dataset = open_tfds(path, split)
    except SourceError as error:
        known = RLDS_DATASETS.get(name or os.fspath(path))
        if isinstance(error, NoSplitError):
            raise
        raise SourceError(f"{error} {known.download_hint}" if known else str(error)) from None
    entry = RLDS_DATASETS.get(name or dataset.name)
    if fields is None:
        if entry is None:
            near = difflib.get_close_matches(name or dataset.name, RLDS_DATASETS, n=1, cutoff=0.0)
            problem = f"the fields of {name or dataset.name!r} are unknown; nearest known: {near[0]}"
            raise missing_fields(f"rlds:{path}", describe_features(dataset.directory), problem)
        fields = entry.fields
    fields = _with_provenance(dataset.directory, fields)
    counter, size = find_step_counter(dataset.directory)
    lengths = RecordLengths.read(dataset, split, feature=counter, size=size)
    rejected = (*dataset.missing, *lengths.rejected)
    if not len(lengths.length):
        reasons = "; ".join(f"{part.location}: {part.reason}" for part in rejected[:1])
        raise SourceError(f"cannot open {path}: no readable episode in split {split!r}. {reasons or 'It is empty.'}")
    last_step = _LastStep.choose(dataset.directory, fields, entry)
    _log.info("%s: %s", path, last_step.describe())
    files = list(dataset.files)
    content = repr((fields.to_json(), split, files, last_step, READERS_VERSION))
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=[(files[file], record) for file, record in lengths.address.tolist()],
        lengths=lengths.length,
        fingerprint=combine([content, *(digest for _, digest in dataset.digests)]),
        read=functools.partial(_read, dataset.directory, fields, last_step),
        rejected=rejected,
        fields=fields,
        find_left_out=functools.partial(find_left_out, dataset, split, fields, (*_STEP_FLAGS, f"/{_OWN_FLAG}")),
    )


@dataclasses.dataclass(frozen=True, kw_only=True)
class _LastStep:
    """The rule that tells whether the last step of an episode is an observation without an action.

    Attributes:
      final_observation: Whether it is, unless its `is_last` is false.
      if_discount_is_zero: Whether that holds only if its discount is 0.
      reward_is_void: Whether the reward of such a step is read as 0.
      reason: Origin of the rule, in words.
    """

    final_observation: bool
    if_discount_is_zero: bool = False
    reward_is_void: bool = False
    reason: str

    @classmethod
    def choose(cls, directory: str, fields: Fields, entry: RldsEntry | None) -> _LastStep:
        """Return the rule of the fields, or else that of the entry, or else that of RLDS, if the steps have `is_last`.

        Raises:
          SourceError: The description of the dataset cannot be read.
        """
        if fields.final_observation is not None:
            return cls(final_observation=fields.final_observation, reason="the fields say so")
        if entry is not None:
            return cls(
                final_observation=entry.final_observation,
                if_discount_is_zero=entry.final_if_discount_is_zero,
                reward_is_void=entry.final_reward_is_void,
                reason=entry.last_step_reason,
            )
        if "is_last" in dataset_parser(directory).features["steps"].feature:
            return cls(final_observation=True, reason="the meaning of is_last in RLDS")
        return cls(final_observation=False, reason="the steps have no is_last")

    def describe(self) -> str:
        """Return a sentence for the log."""
        what = "holds an observation without an action" if self.final_observation else "has an action like the others"
        condition = " if its discount is 0" if self.if_discount_is_zero else ""
        return (
            f"the last step of an episode {what}{condition} ({self.reason}). Set final_observation in the fields to "
            "read it otherwise."
        )

    def is_final_observation(self, columns: Columns) -> bool:
        """Return whether the last step of an episode holds no action, its flag `is_last` aside."""
        if self.if_discount_is_zero and "steps/discount" in columns:
            return self.final_observation and float(np.reshape(columns["steps/discount"], -1)[-1]) == 0
        if self.final_observation and _OWN_FLAG in columns:
            return bool(columns[_OWN_FLAG])
        return self.final_observation


def _read(directory: str, fields: Fields, last_step: _LastStep, address: tuple[str, int]) -> Episode:
    """Read the episode of one record.

    Args:
      directory: Folder of the dataset.
      fields: Fields of the episode.
      last_step: Rule that tells whether the last step has an action.
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
        place = path[1:] if path.startswith("/") else f"steps/{path}"
        values, feature = columns[place], columns.feature(place)
        if not is_image(feature) or isinstance(values, bytes):
            return values
        return (
            decode_tfds_image(value, feature, f"field {path!r} at step {step}", location)
            for step, value in enumerate(values)
        )

    flags = tuple(flag for flag in _STEP_FLAGS if f"steps/{flag}" in columns)
    try:
        final_observation = last_step.is_final_observation(columns)
    except KeyError as error:
        raise EpisodeRejected(location, f"the flag of its last step is missing: {error.args[0]}") from None
    episode = assemble(fields, column, location, step_flags=flags, final_observation=final_observation)
    if episode.final_observation and last_step.reward_is_void:
        return dataclasses.replace(episode, reward=np.append(episode.reward[:-1], np.float32(0)))
    return episode


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
