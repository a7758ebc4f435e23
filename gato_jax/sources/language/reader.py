"""Documents and dialogues of others as text alone: each is an episode of one step, whose action is its text.

Such files have no splits of their own: by the hash of their text about one in twenty is of `test`.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from gato_jax.episodes import Episode, Provenance, Text
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.language.chatterbot import format_dialogue, is_held_out
from gato_jax.sources.language.text_files import Record, find_files, kind_of, scan
from gato_jax.sources.provenance_file import read_provenance
from gato_jax.sources.reader import EpisodeRejected, RecordedEpisodes, SourceError, fingerprint_files, is_in_split

_ReadText: TypeAlias = Callable[[Record, bytes], str]

_DOCUMENTS = (".txt", ".md", ".jsonl", ".jsonl.gz", ".parquet")
_DIALOGUES = (".jsonl", ".jsonl.gz")
_ROLES = (("user", "human"), ("assistant", "gpt"))  # as OpenAI and as ShareGPT call them, in the order of SPEAKERS


def open_documents(where: str | Path, split: str = "train") -> RecordedEpisodes:
    """Opens documents: *.txt and *.md files, lines of *.jsonl and *.jsonl.gz with a `text`, rows of *.parquet with one.

    All of them are read once, to find the damaged ones; the texts are not kept. `provenance.json` in the folder says
    where they come from.

    Args:
      where: a file, or a folder with such files in it or below it.
      split: `train` or `test`.

    Raises:
      SourceError: there are no such files, or no document of this split.
    """
    return _open(Path(where), split, "documents", _DOCUMENTS, _document)


def open_dialogues(where: str | Path, split: str = "train") -> RecordedEpisodes:
    """Opens dialogues, a line of *.jsonl or *.jsonl.gz each, and writes them as `format_dialogue` does.

    A line is {"turns": [text, ...]}, OpenAI's {"messages": [{"role", "content"}, ...]} or ShareGPT's
    {"conversations": [{"from", "value"}, ...]}. The user begins and the two take turns; a system message, which may
    come first, is put before the first speaker's mark.

    Args and Raises are those of `open_documents`.
    """
    return _open(Path(where), split, "dialogue", _DIALOGUES, _dialogue)


def _open(where: Path, split: str, suite: str, kinds: tuple[str, ...], read_text: _ReadText) -> RecordedEpisodes:
    files = find_files(where, kinds)
    folder = where if where.is_dir() else where.parent
    unknown = Provenance(source=where.resolve().name, licence="unknown", kind="synthetic", collector="")
    fields = Fields(
        suite=suite,
        task=where.resolve().name.partition(".")[0],
        observation={},
        action={"text": ("text", Text())},
        provenance=read_provenance(folder, unknown),
    )
    is_in_split(split, False)  # a split that there is none of is an error before anything is read

    def keep(record: Record, content: bytes) -> bool:
        return is_in_split(split, is_held_out(_text_of(read_text, record, content)))

    records, rejected = scan(files, keep, f"{where}: {suite}")
    if not records:
        said = f"; the first of {len(rejected)} that are damaged: {': '.join(rejected[0])}" if rejected else ""
        raise SourceError(f"{where}: nothing of split {split!r} in {len(files)} files{said}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=records,
        lengths=np.ones(len(records), np.int64),
        fingerprint=fingerprint_files(files, fields.to_json(), split),
        read=functools.partial(_read, fields, read_text),
        rejected=rejected,
    )


def _read(fields: Fields, read_text: _ReadText, record: Record) -> Episode:
    text = _text_of(read_text, record, record.read())
    return assemble(fields, {"text": [text]}.__getitem__, record.where)


def _text_of(read_text: _ReadText, record: Record, content: bytes) -> str:
    text = read_text(record, content)
    try:
        text.encode()  # JSON can say half of a surrogate pair, which is no text
    except UnicodeEncodeError as error:
        raise EpisodeRejected(record.where, f"it is no UTF-8 ({error})") from None
    return text


def _document(record: Record, content: bytes) -> str:
    if kind_of(record.file) in _DIALOGUES:
        text = _json_object(record, content).get("text")
        if not isinstance(text, str):
            raise EpisodeRejected(record.where, f"its text is {text!r:.40}, needs a string")
    else:
        text = _decode(record, content)
    if not text.strip():
        raise EpisodeRejected(record.where, "it has no text")
    return text


def _dialogue(record: Record, content: bytes) -> str:
    said, preface = _json_object(record, content), []
    match said:
        case {"turns": list(turns)}:
            utterances = turns
        case {"messages": list(messages)}:
            preface, utterances = _turns(record, messages, "role", "content")
        case {"conversations": list(messages)}:
            preface, utterances = _turns(record, messages, "from", "value")
        case _:
            raise EpisodeRejected(record.where, f"it has {', '.join(said) or 'nothing'}, no turns or messages")
    if not utterances or not all(isinstance(text, str) and text.strip() for text in preface + utterances):
        raise EpisodeRejected(record.where, f"its turns are {preface + utterances!r:.60}, needs texts")
    return "\n".join([*preface, format_dialogue(utterances)])


def _turns(record: Record, messages: list[Any], role: str, content: str) -> tuple[list[Any], list[Any]]:
    """The system's message, if there is one, and what the two say in turn."""
    for message in messages:
        if not isinstance(message, dict) or not {role, content} <= set(message):
            raise EpisodeRejected(record.where, f"a message is {message!r:.60}, needs {role!r} and {content!r}")
    first = 1 if messages and messages[0][role] == "system" else 0
    for number, message in enumerate(messages[first:]):
        if message[role] not in _ROLES[number % 2]:
            raise EpisodeRejected(
                record.where, f"turn {number} is of {message[role]!r}, needs {' or '.join(_ROLES[number % 2])}"
            )
    said = [message[content] for message in messages]
    return said[:first], said[first:]


def _json_object(record: Record, content: bytes) -> dict[str, Any]:
    try:
        said = json.loads(_decode(record, content))
    except json.JSONDecodeError as error:
        raise EpisodeRejected(record.where, f"it is no JSON ({error})") from None
    if not isinstance(said, dict):
        raise EpisodeRejected(record.where, f"it is {said!r:.40}, needs a JSON object")
    return said


def _decode(record: Record, content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise EpisodeRejected(record.where, f"it is no UTF-8 ({error})") from None
