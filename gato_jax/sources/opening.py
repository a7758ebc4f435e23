"""Opening of any recording by one string, `KIND:WHERE`, such as `hdf5:/data/lift.hdf5`."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Callable, Sequence

from gato_jax.runtime.bucket_copies import local_source
from gato_jax.runtime.paths import as_path, is_bucket, split_name
from gato_jax.sources.fields import FIELDS_FILE, Fields
from gato_jax.sources.hdf5 import open_hdf5
from gato_jax.sources.images import emoji_captions, open_image_text, open_vqa
from gato_jax.sources.language import chatterbot_dialogues, open_dialogues, open_documents
from gato_jax.sources.lerobot import open_lerobot
from gato_jax.sources.mcap import open_mcap
from gato_jax.sources.minari import open_minari
from gato_jax.sources.parquet import open_parquet
from gato_jax.sources.reader import EmptySplitError, EpisodeReader, SourceError
from gato_jax.sources.recorded import open_recorded
from gato_jax.sources.rlds import open_rlds, open_tfds_text


def _open_captions(path: str, split: str) -> EpisodeReader:
    return emoji_captions(split, folder=None if path == "emoji" else path)


def _open_dialogue(path: str, split: str) -> EpisodeReader:
    return chatterbot_dialogues(split) if path == "chatterbot" else open_dialogues(path, split)


def _open_rlds(path: str, split: str, fields: Fields | None) -> EpisodeReader:
    directory, name = split_name(path)
    return open_rlds(directory, split, name=name or None, fields=fields)


# Kinds whose recordings define the meaning of their fields. A function takes (path, split).
SELF_DESCRIBED: dict[str, Callable[[str, str], EpisodeReader]] = {
    "recorded": open_recorded,  # recorded:DIR, a dataset that gato_jax wrote
    "captions": _open_captions,  # captions:emoji draws from a font, captions:DIR reads a folder of PNG files
    "dialogue": _open_dialogue,  # dialogue:chatterbot, or dialogue:DIR of JSON Lines
    "documents": lambda path, split: open_documents(path, split),  # documents:DIR of text, JSON Lines or Parquet
}
# Kinds whose fields a person describes, unless the recording does. A function takes (path, split, fields).
DESCRIBED_BY_FIELDS: dict[str, Callable[[str, str, Fields | None], EpisodeReader]] = {
    "rlds": _open_rlds,  # rlds:DIR, or rlds:DIR#NAME if the folder is not named as in RLDS_DATASETS
    "tfds_text": lambda path, split, fields: open_tfds_text(path, split, fields=fields),  # a dataset of TFDS_TEXT
    "image_text": lambda path, split, fields: open_image_text(path, split, fields=fields),  # COCO, WebDataset, ...
    "vqa": lambda path, split, fields: open_vqa(path, split, fields=fields),  # vqa:DIR as VQAv2 and OK-VQA
    "hdf5": lambda path, split, fields: open_hdf5(path, split, fields=fields),  # hdf5:DIR#LAYOUT, see HDF5_LAYOUTS
    "lerobot": lambda path, split, fields: open_lerobot(path, split, fields=fields),
    "mcap": lambda path, split, fields: open_mcap(path, split, fields=fields),
    "rosbag2": lambda path, split, fields: open_mcap(path, split, fields=fields),
    "minari": lambda path, split, fields: open_minari(path, split, fields=fields),
    "parquet": lambda path, split, fields: open_parquet(path, split, fields=fields),
}
# Kinds whose readers open addresses in buckets, and copy what they need; the others get a copy of all.
_OPENED_IN_BUCKETS = ("recorded", "rlds", "tfds_text")
# Kinds whose readers look up what is no path, and say so if there is nothing of that name.
_LOOKED_UP = ("recorded", "rlds", "tfds_text", "minari")
_NAMES = ("captions:emoji", "dialogue:chatterbot")
KINDS = (*SELF_DESCRIBED, *DESCRIBED_BY_FIELDS)


def open_source(source: str, split: str = "train", *, fields: Fields | None = None) -> EpisodeReader:
    """Open one split of a recording of any format.

    Args:
      source: `KIND:WHERE`. KIND is one of KINDS; WHERE is usually the path of a file or folder, which may end in
        `#NAME` for the kinds `rlds` (the dataset) and `hdf5` (the layout). It may be an address in a bucket, such as
        gs://BUCKET/FOLDER, which is copied to this disk unless the kind is read in place.
      split: name of the split.
      fields: meaning of the fields, only for the kinds of DESCRIBED_BY_FIELDS: rlds, tfds_text, image_text,
        vqa, hdf5, lerobot, mcap, rosbag2, minari and parquet. Default: the file `fields.json` in the folder of the
        recording if it exists, otherwise what the recording itself defines.

    Raises:
      SourceError: the kind is unknown; WHERE is empty; `fields` is given for a kind that takes none; the recording
        defines no fields, and neither `fields` nor `fields.json` does; or the recording cannot be read.
      DatasetError: the kind is `recorded`, and the dataset is missing or damaged or has no such split.
    """
    kind, colon, path = source.partition(":")
    if kind not in KINDS or not path:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4)
        problem = f"unknown kind {kind!r}" if kind not in KINDS else f"nothing after {kind + colon!r}"
        hint = f"did you mean {near[0]!r}? " if near and colon and kind not in KINDS else ""
        raise SourceError(f"{source}: {problem}; {hint}a source is KIND:WHERE, KIND one of {', '.join(KINDS)}")
    if kind not in _LOOKED_UP and source not in _NAMES:
        _require_existing(source, path)
    described = kind in DESCRIBED_BY_FIELDS
    if fields is not None and not described:
        raise SourceError(f"{source}: fields are given, but {kind} recordings define them. Omit the fields.")
    fields = fields or (_read_fields_beside(path) if described else None)
    if kind not in _OPENED_IN_BUCKETS:
        try:
            path = local_source(path)
        except FileNotFoundError as error:
            raise SourceError(f"{source}: {error}") from None
    return DESCRIBED_BY_FIELDS[kind](path, split, fields) if described else SELF_DESCRIBED[kind](path, split)


@dataclasses.dataclass(frozen=True, kw_only=True)
class OpenedSplits:
    """The readers of some splits of a recording.

    Attributes:
      readers: one reader for each split that has episodes.
      empty: names of the splits that a rule defines and that happen to have none.
    """

    readers: tuple[EpisodeReader, ...]
    empty: tuple[str, ...] = ()


def open_splits(source: str, splits: Sequence[str], *, fields: Fields | None = None) -> OpenedSplits:
    """Open several splits of a recording, as `open_source` does; a split that happens to be empty is no error.

    Raises:
      SourceError: as `open_source`, or all splits are empty.
    """
    readers, empty = [], {}
    for split in splits:
        try:
            readers.append(open_source(source, split, fields=fields))
        except EmptySplitError as error:
            empty[split] = error
    if not readers and empty:
        raise next(iter(empty.values()))
    return OpenedSplits(readers=tuple(readers), empty=tuple(empty))


def _require_existing(source: str, path: str):
    """Raise SourceError if a recording on the disk does not exist.

    Args:
      source: the source, for the message.
      path: path of the recording, with or without `#NAME` at its end; of an address in a bucket nothing is checked.
    """
    where = as_path(split_name(path)[0])
    if is_bucket(where) or where.exists() or where.is_symlink():  # a link to nowhere is refused with its target
        return
    above = next(parent for parent in where.absolute().parents if parent.exists())
    raise SourceError(f"{source}: {where} does not exist, but {above} does. Name the file or folder of the recording.")


def _read_fields_beside(path: str) -> Fields | None:
    """Read the `fields.json` in the folder of a recording, or return None if there is no such file.

    Args:
      path: path of the recording, with or without `#NAME` at its end. If it is not a folder, its parent is the folder.

    Raises:
      SourceError: the file cannot be read, or its content is wrong.
    """
    recording = as_path(split_name(path)[0])
    file = (recording if recording.is_dir() else recording.parent) / FIELDS_FILE
    return Fields.read(file) if file.is_file() else None
