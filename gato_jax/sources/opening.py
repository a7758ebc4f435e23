"""One name for any recording: `KIND:WHERE`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path

from gato_jax.episodes import open_dataset
from gato_jax.sources.fields import FIELDS_FILE, Fields
from gato_jax.sources.hdf5 import open_hdf5
from gato_jax.sources.images import emoji_captions, open_image_text, open_vqa
from gato_jax.sources.language import chatterbot_dialogues, open_dialogues, open_documents
from gato_jax.sources.lerobot import open_lerobot
from gato_jax.sources.mcap import open_mcap
from gato_jax.sources.minari import open_minari
from gato_jax.sources.parquet import open_parquet
from gato_jax.sources.reader import EpisodeReader, SourceError
from gato_jax.sources.rlds import open_rlds, open_tfds_text


def _open_captions(where: str, split: str) -> EpisodeReader:
    return emoji_captions(split, folder=None if where == "emoji" else where)


def _open_dialogue(where: str, split: str) -> EpisodeReader:
    return chatterbot_dialogues(split) if where == "chatterbot" else open_dialogues(where, split)


def _open_rlds(where: str, split: str, fields: Fields | None) -> EpisodeReader:
    directory, _, name = where.partition("#")
    return open_rlds(directory, split, name=name or None, fields=fields)


def _open_mcap(where: str, split: str, fields: Fields | None) -> EpisodeReader:
    if fields is None:
        raise SourceError(f"mcap:{where}: topics do not say what they mean; give the fields")
    return open_mcap(where, split, fields=fields)


# Kinds whose recordings say themselves what their fields mean.
SELF_DESCRIBED: dict[str, Callable[[str, str], EpisodeReader]] = {
    "recorded": lambda where, split: open_dataset(where, split),  # recorded:DIR, a dataset of ours
    "captions": _open_captions,  # captions:emoji from the font, captions:DIR from a folder of PNG files
    "dialogue": _open_dialogue,  # dialogue:chatterbot, or dialogue:DIR of JSON Lines
    "documents": lambda where, split: open_documents(where, split),  # documents:DIR of text, JSON Lines or Parquet
    "image_text": lambda where, split: open_image_text(where, split),  # COCO, WebDataset or imagefolder
    "vqa": lambda where, split: open_vqa(where, split),  # vqa:DIR as VQAv2 and OKVQA have it
}
# Kinds of which a person says what the fields mean, unless the recording does.
DESCRIBED_BY_FIELDS: dict[str, Callable[[str, str, Fields | None], EpisodeReader]] = {
    "rlds": _open_rlds,  # rlds:DIR or rlds:DIR#NAME, NAME as in RLDS_DATASETS where the folder's own differs
    "tfds_text": lambda where, split, fields: open_tfds_text(where, split, fields=fields),  # of TFDS_TEXT
    "hdf5": lambda where, split, fields: open_hdf5(where, split, fields=fields),  # hdf5:DIR#LAYOUT, see HDF5_LAYOUTS
    "lerobot": lambda where, split, fields: open_lerobot(where, split, fields=fields),
    "mcap": _open_mcap,
    "minari": lambda where, split, fields: open_minari(where, split, fields=fields),
    "parquet": lambda where, split, fields: open_parquet(where, split, fields=fields),
}
KINDS = (*SELF_DESCRIBED, *DESCRIBED_BY_FIELDS)


def open_source(source: str, split: str = "train", *, fields: Fields | None = None) -> EpisodeReader:
    """Opens one split of `KIND:WHERE`.

    What the fields of a recording mean is said by `fields`, or else by the file `fields.json` beside the recordings.

    Raises:
      SourceError: an unknown kind, the nearest of which is named, or fields for a kind that takes none.
    """
    kind, colon, where = source.partition(":")
    if kind not in KINDS or not where:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4)
        problem = f"unknown kind {kind!r}" if kind not in KINDS else f"nothing after {kind + colon!r}"
        hint = f"did you mean {near[0]!r}? " if near and colon and kind not in KINDS else ""
        raise SourceError(f"{source}: {problem}; {hint}a source is KIND:WHERE, KIND one of {', '.join(KINDS)}")
    if kind in DESCRIBED_BY_FIELDS:
        return DESCRIBED_BY_FIELDS[kind](where, split, fields or _fields_beside(where))
    if fields is not None:
        raise SourceError(f"{source}: {kind} recordings say what their fields mean; leave the fields out")
    return SELF_DESCRIBED[kind](where, split)


def _fields_beside(where: str) -> Fields | None:
    path = Path(where.partition("#")[0])
    file = (path if path.is_dir() else path.parent) / FIELDS_FILE
    return Fields.read(file) if file.is_file() else None
