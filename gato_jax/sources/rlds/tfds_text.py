"""TFDS's datasets of text, captions, questions and dialogue, as episodes of one step whose action is text."""

from __future__ import annotations

import dataclasses
import difflib
import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gato_jax.episodes import Episode, Image, Modality, Provenance, Text
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.language.chatterbot import format_dialogue
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, SourceError
from gato_jax.sources.rlds.tfds_dataset import open_tfds, parser_of, records_of
from gato_jax.sources.rlds.tfds_lengths import RecordLengths

_IMAGE = Image(height=224, width=224, fit="pad")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextEntry:
    """What the fields of one dataset of TFDS mean.

    Attributes:
      suite: what kind of task it is.
      observation, action: {our key: field of an example}. A key `image` is an image, all others are text.
      licence: of its contents; TFDS's own word where it has one.
      each: a field of which an example holds several, each an episode: its captions, or its questions.
      turns: whether the action's field is a list of utterances by two speakers in turn.
    """

    suite: Literal["text", "captions", "questions", "dialogue"]
    action: Mapping[str, str]
    observation: Mapping[str, str] = dataclasses.field(default_factory=dict)
    licence: str = "unknown"
    each: str | None = None
    turns: bool = False

    def fields(self, name: str) -> Fields:
        """The fields of the dataset NAME or NAME/CONFIG."""

        def modality(key: str) -> Modality:
            return _IMAGE if key == "image" else Text()

        return Fields(
            suite=self.suite,
            task=name,
            observation={key: (path, modality(key)) for key, path in self.observation.items()},
            action={key: (path, modality(key)) for key, path in self.action.items()},
            provenance=Provenance(source=f"TFDS, {name}", licence=self.licence, kind="synthetic", collector="TFDS"),
        )


_TEXT = {"text": "text"}
TFDS_TEXT: dict[str, TextEntry] = {
    "c4": TextEntry(suite="text", action=_TEXT, licence="ODC-By-1.0"),
    "dolma": TextEntry(suite="text", action=_TEXT, licence="ODC-By-1.0"),
    "librispeech_lm": TextEntry(suite="text", action=_TEXT),
    "lm1b": TextEntry(suite="text", action=_TEXT),
    "pg19": TextEntry(suite="text", action={"text": "book_text"}, licence="Apache-2.0"),
    "tiny_shakespeare": TextEntry(suite="text", action=_TEXT),
    "wiki40b": TextEntry(suite="text", action=_TEXT, licence="CC-BY-SA-3.0"),
    "wikipedia": TextEntry(suite="text", action=_TEXT, licence="CC-BY-SA-3.0"),
    # Images are Flickr's, under the terms of whoever took each.
    "coco_captions": TextEntry(
        suite="captions",
        observation={"image": "image"},
        action={"caption": "captions/text"},
        each="captions/text",
        licence="CC-BY-4.0 AND LicenseRef-Flickr",
    ),
    "ai2dcaption": TextEntry(suite="captions", observation={"image": "image"}, action={"caption": "caption"}),
    "laion400m": TextEntry(suite="captions", observation={"image": "image"}, action={"caption": "caption"}),
    "clevr": TextEntry(
        suite="questions",
        observation={"image": "image", "question": "question_answer/question"},
        action={"answer": "question_answer/answer"},
        each="question_answer/question",
        licence="CC-BY-4.0",
    ),
    "databricks_dolly": TextEntry(
        suite="questions",
        observation={"question": "instruction", "context": "context"},
        action={"answer": "response"},
        licence="CC-BY-SA-3.0",
    ),
    "gpt3": TextEntry(suite="questions", observation={"question": "context"}, action={"answer": "completion"}),
    "gsm8k": TextEntry(
        suite="questions", observation={"question": "question"}, action={"answer": "answer"}, licence="MIT"
    ),
    "squad": TextEntry(
        suite="questions",
        observation={"context": "context", "question": "question"},
        action={"answer": "answers/text"},
        each="answers/text",
        licence="CC-BY-SA-4.0",
    ),
    "trivia_qa": TextEntry(suite="questions", observation={"question": "question"}, action={"answer": "answer/value"}),
    "wiki_dialog": TextEntry(suite="dialogue", action={"text": "utterances"}, turns=True),
}


def open_tfds_text(where: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Opens one split of a dataset that TFDS prepared.

    Args:
      where: its folder, NAME/VERSION or NAME/CONFIG/VERSION, here or in a bucket; or its name in TFDS's own folder.
      split: as the dataset has it.
      fields: other sizes of images, or another name of the task, than `TextEntry.fields` gives.

    Raises:
      SourceError: no dataset there, one that is not in TFDS_TEXT, an unknown split, or no readable example.
    """
    dataset = open_tfds(where, split)
    entry = TFDS_TEXT.get(dataset.name.split("/")[0])
    if entry is None:
        near = difflib.get_close_matches(dataset.name, TFDS_TEXT, n=1, cutoff=0.0)
        raise SourceError(f"{where}: what {dataset.name!r} says is not known; nearest known: {near[0]}")
    fields = fields or entry.fields(dataset.name)
    if entry.each is None:
        lengths = RecordLengths.of_one(dataset)
    else:
        lengths = RecordLengths.read(dataset, split, counted=entry.each)
    rejected = (*dataset.missing, *lengths.rejected)
    if not len(lengths.length):
        reasons = "; ".join(f"{part.location}: {part.reason}" for part in rejected[:1])
        raise SourceError(f"{where}: no readable example in split {split!r}; {reasons or 'it is empty'}")
    files = list(dataset.files)
    counted = zip(lengths.place.tolist(), lengths.length.tolist(), strict=True)
    places = [(files[file], record, item) for (file, record), count in counted for item in range(count)]
    said = repr((fields.spec.to_json(), split, dataclasses.asdict(fields.provenance), dataset.sizes))
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=places,
        lengths=np.ones(len(places), np.int64),
        fingerprint=hashlib.sha256(said.encode() + lengths.length.tobytes()).hexdigest()[:16],
        read=functools.partial(_read, dataset.directory, fields, entry.each, entry.turns),
        rejected=rejected,
    )


def _read(directory: str, fields: Fields, each: str | None, turns: bool, place: tuple[str, int, int]) -> Episode:
    """The episode of one item of an example."""
    file, record, item = place
    where = f"{directory}/{file}, record {record}"
    try:
        columns = parser_of(directory).parse(records_of(directory, file)[record])
    except (ImportError, SourceError):
        raise
    except Exception as error:  # the record's own and those of protobuf and TFDS, where it holds other fields
        raise EpisodeRejected(where, f"it cannot be read ({error})") from error
    branch = each.split("/")[0] if each else None

    def column(path: str) -> list[Any]:
        values = columns[path]
        if branch is not None and path.split("/")[0] == branch:
            return [values[item]]
        if turns and path == fields.action["text"][0]:
            try:
                return [format_dialogue([utterance.decode() for utterance in values])]
            except UnicodeDecodeError as error:
                raise EpisodeRejected(where, f"field {path!r} is no UTF-8 ({error})") from None
        return [values]

    return assemble(fields, column, where)
