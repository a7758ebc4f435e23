"""TFDS datasets of texts, captions, questions and dialogues, as one-step episodes whose action is text."""

from __future__ import annotations

import dataclasses
import difflib
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np

from gato_jax.episodes import Episode, Image, Modality, Provenance, Text
from gato_jax.episodes.errors import describe_error
from gato_jax.runtime.content_digests import combine
from gato_jax.sources.assembly import assemble
from gato_jax.sources.field_paths import parse_path
from gato_jax.sources.fields import Fields
from gato_jax.sources.language.chatterbot import format_dialogue
from gato_jax.sources.reader import READERS_VERSION, EpisodeRejected, RecordedEpisodes, SourceError
from gato_jax.sources.rlds.contents import find_left_out
from gato_jax.sources.rlds.tfds_dataset import dataset_parser, open_record_file, open_tfds
from gato_jax.sources.rlds.tfds_images import decode_tfds_image, is_image
from gato_jax.sources.rlds.tfds_lengths import RecordLengths

_IMAGE = Image(height=224, width=224, fit="pad")


@dataclasses.dataclass(frozen=True, kw_only=True)
class TextEntry:
    """Meaning of the fields of one TFDS dataset.

    Attributes:
      suite: Suite of the task.
      action: {action key: field of an example}.
      observation: {observation key: field of an example}. The key `image` is an image, all others are texts.
      licence: Licence of the contents, or "unknown".
      repeated_field: Field of which one example holds several values, for example captions; each becomes an episode.
        None if each example is one episode.
      is_dialogue: Whether the field of the action is a list of utterances by two alternating speakers.
    """

    suite: Literal["text", "captions", "questions", "dialogue"]
    action: Mapping[str, str]
    observation: Mapping[str, str] = dataclasses.field(default_factory=dict)
    licence: str = "unknown"
    repeated_field: str | None = None
    is_dialogue: bool = False

    def fields(self, name: str) -> Fields:
        """Return the fields of the dataset `name`, which is NAME or NAME/CONFIG and names the task.

        Images are 224 by 224 pixels; images that are not square keep their aspect ratio and get black borders.
        """

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
    # The images are from Flickr; the terms of each are those of its photographer.
    "coco_captions": TextEntry(
        suite="captions",
        observation={"image": "image"},
        action={"caption": "captions/text"},
        repeated_field="captions/text",
        licence="CC-BY-4.0 AND LicenseRef-Flickr",
    ),
    "ai2dcaption": TextEntry(suite="captions", observation={"image": "image"}, action={"caption": "caption"}),
    "laion400m": TextEntry(suite="captions", observation={"image": "image"}, action={"caption": "caption"}),
    "clevr": TextEntry(
        suite="questions",
        observation={"image": "image", "question": "question_answer/question"},
        action={"answer": "question_answer/answer"},
        repeated_field="question_answer/question",
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
        repeated_field="answers/text",
        licence="CC-BY-SA-4.0",
    ),
    "trivia_qa": TextEntry(suite="questions", observation={"question": "question"}, action={"answer": "answer/value"}),
    "wiki_dialog": TextEntry(suite="dialogue", action={"text": "utterances"}, is_dialogue=True),
}


def open_tfds_text(path: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Open one split of a TFDS dataset of texts, captions, questions or dialogues.

    Args:
      path: Folder NAME/VERSION or NAME/CONFIG/VERSION of the dataset, local or in a bucket; or its name, which is
        looked up in TFDS's own folder, where the newest version is taken.
      split: Name of the split.
      fields: Fields to read instead of `TextEntry.fields`, for other image sizes or another name of the task.

    Returns:
      The episodes, one for each example or for each value of its repeated field.

    Raises:
      SourceError: The dataset or split does not exist, the first part NAME of its name is not in TFDS_TEXT (even if
        `fields` is given), or no example is readable.
    """
    dataset = open_tfds(path, split)
    entry = TFDS_TEXT.get(dataset.name.split("/")[0])
    if entry is None:
        near = difflib.get_close_matches(dataset.name, TFDS_TEXT, n=1, cutoff=0.0)
        raise SourceError(f"cannot open {path}: the fields of {dataset.name!r} are unknown; nearest known: {near[0]}")
    fields = fields or entry.fields(dataset.name)
    if entry.repeated_field is None:
        lengths = RecordLengths.ones(dataset)
    else:
        lengths = RecordLengths.read(dataset, split, feature=entry.repeated_field)
    # Records are lost, each of which holds as many items as the others do on average.
    items = lengths.length.mean() if len(lengths.length) else 1.0
    rejected = [*dataset.missing, *lengths.rejected]
    rejected = tuple(one._replace(episodes=round(one.episodes * items)) for one in rejected)
    if not len(lengths.length):
        reasons = "; ".join(f"{part.location}: {part.reason}" for part in rejected[:1])
        raise SourceError(f"cannot open {path}: no readable example in split {split!r}. {reasons or 'It is empty.'}")
    files = list(dataset.files)
    counts = zip(lengths.address.tolist(), lengths.length.tolist(), strict=True)
    addresses = [(files[file], record, item) for (file, record), count in counts for item in range(count)]
    content = repr((fields.to_json(), split, files, READERS_VERSION))
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=addresses,
        lengths=np.ones(len(addresses), np.int64),
        fingerprint=combine([content, *(digest for _, digest in dataset.digests)]),
        read=functools.partial(_read, dataset.directory, fields, entry.repeated_field, entry.is_dialogue),
        rejected=rejected,
        fields=fields,
        find_left_out=functools.partial(find_left_out, dataset, split, fields, (), ""),
    )


def _read(
    directory: str, fields: Fields, repeated_field: str | None, is_dialogue: bool, address: tuple[str, int, int]
) -> Episode:
    """Read the episode of one item of an example.

    Args:
      directory: Folder of the dataset.
      fields: Fields of the episode.
      repeated_field: As in `TextEntry`. All fields of the same branch of the example are repeated with it.
      is_dialogue: As in `TextEntry`.
      address: Name of the file, number of the record in it, number of the item in the record, both from 0. The number
        of the item is ignored without a repeated field.

    Raises:
      EpisodeRejected: The record is damaged, or does not fit the fields, or the text of the action is blank.
      SourceError: The description of the dataset cannot be read.
    """
    file, record, item = address
    location = f"{directory}/{file}, record {record}"
    try:
        columns = dataset_parser(directory).parse(open_record_file(directory, file)[record])
    except (ImportError, SourceError):
        raise
    except Exception as error:  # RecordError, or any error of protobuf and TFDS for a record with other fields
        raise EpisodeRejected(location, f"it cannot be read ({describe_error(error)})") from error
    dialogue = parse_path(fields.action["text"][0]).name if is_dialogue else None
    repeated_branch = repeated_field.split("/")[0] if repeated_field else None

    def column(path: str) -> list[Any]:
        values, feature = columns[path], columns.feature(path)
        if is_image(feature) and isinstance(values, bytes):
            return [decode_tfds_image(values, feature, f"field {path!r}", location)]
        if repeated_branch is not None and path.split("/")[0] == repeated_branch:
            return [values[item]]
        if is_dialogue and path == dialogue:
            try:
                return [format_dialogue([utterance.decode() for utterance in values])]
            except UnicodeDecodeError as error:
                raise EpisodeRejected(location, f"field {path!r} is not valid UTF-8 ({error})") from None
        return [values]

    episode = assemble(fields, column, location)
    for key, modality in fields.spec.action.items():
        if isinstance(modality, Text) and not episode.action[key][0].strip():
            raise EpisodeRejected(location, f"action {key!r} is {episode.action[key][0]!r:.40}, expected text")
    return episode
