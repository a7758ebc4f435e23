"""One name for any recording: `KIND:WHERE`."""

from __future__ import annotations

import difflib
from collections.abc import Callable

from gato_jax.episodes import open_dataset
from gato_jax.sources.captions import emoji_captions
from gato_jax.sources.dialogue import chatterbot_dialogues
from gato_jax.sources.fields import Fields
from gato_jax.sources.reader import EpisodeReader, SourceError
from gato_jax.sources.rlds import open_rlds


def _open_captions(where: str, split: str) -> EpisodeReader:
    return emoji_captions(split, folder=None if where == "emoji" else where)


def _open_dialogue(where: str, split: str) -> EpisodeReader:
    if where != "chatterbot":
        raise SourceError(f"dialogue:{where}: unknown; use dialogue:chatterbot")
    return chatterbot_dialogues(split)


def _open_rlds(where: str, split: str) -> EpisodeReader:
    directory, _, name = where.partition("#")
    return open_rlds(directory, split, name=name or None)


# Kinds whose recordings say themselves what their fields mean.
SELF_DESCRIBED: dict[str, Callable[[str, str], EpisodeReader]] = {
    "recorded": lambda where, split: open_dataset(where, split),  # recorded:DIR, a dataset of ours
    "rlds": _open_rlds,  # rlds:DIR or rlds:DIR#NAME, NAME as in RLDS_DATASETS where the folder's own differs
    "captions": _open_captions,  # captions:emoji from the font, captions:DIR from a folder of PNG files
    "dialogue": _open_dialogue,  # dialogue:chatterbot
}
# Kinds that take Fields.
DESCRIBED_BY_FIELDS: dict[str, Callable[[str, str, Fields | None], EpisodeReader]] = {}
KINDS = (*SELF_DESCRIBED, *DESCRIBED_BY_FIELDS)


def open_source(source: str, split: str = "train", *, fields: Fields | None = None) -> EpisodeReader:
    """Opens one split of `KIND:WHERE`.

    Raises:
      SourceError: an unknown kind, the nearest of which is named, or fields for a kind that takes none.
    """
    kind, colon, where = source.partition(":")
    if kind not in KINDS or not where:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.4)
        problem = f"unknown kind {kind!r}" if kind not in KINDS else f"nothing after {kind + colon!r}"
        hint = f"did you mean {near[0]!r}? " if near and kind not in KINDS else ""
        raise SourceError(f"{source}: {problem}; {hint}a source is KIND:WHERE, KIND one of {', '.join(KINDS)}")
    if kind in DESCRIBED_BY_FIELDS:
        return DESCRIBED_BY_FIELDS[kind](where, split, fields)
    if fields is not None:
        raise SourceError(f"{source}: {kind} recordings say what their fields mean; leave the fields out")
    return SELF_DESCRIBED[kind](where, split)
