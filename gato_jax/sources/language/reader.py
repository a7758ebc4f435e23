"""Documents and dialogues as one-step episodes without observation; the action is the text.

Such files define no splits: about one text in twenty belongs to `test`, by its hash.
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
from gato_jax.sources.files import FoundFiles, unread_files
from gato_jax.sources.language.chatterbot import is_held_out
from gato_jax.sources.language.dialogues import dialogue_text
from gato_jax.sources.language.text_files import Record, column_names, file_suffix, find_texts, select_records
from gato_jax.sources.provenance_file import read_provenance
from gato_jax.sources.reader import (
    EmptySplitError,
    EpisodeRejected,
    NoSplitError,
    Omission,
    RecordedEpisodes,
    fingerprint_files,
    held_out_omission,
    is_in_split,
    weigh_damaged_files,
)

_ParseText: TypeAlias = Callable[[Record, bytes], str]  # a record and its bytes to the text of the episode

_DOCUMENTS = (".txt", ".md", ".jsonl", ".jsonl.gz", ".parquet")
_JSON_LINES = (".jsonl", ".jsonl.gz")
_DIALOGUES = (*_JSON_LINES, ".json")


def open_documents(path: str | Path, split: str = "train") -> RecordedEpisodes:
    """Open one split of a collection of documents, one episode for each.

    A document is a *.txt or *.md file, a line of a *.jsonl or *.jsonl.gz file with a field `text`, or a row of a
    *.parquet file with a column `text`. All documents are read once, and are not kept in memory; damaged and blank ones
    are in `rejected`. The provenance is read from `provenance.json` in the folder.

    Args:
      path: A file, or a folder with such files at any depth.
      split: `train` or `test`.

    Raises:
      SourceError: There are no such files, `split` is neither `train` nor `test`, the split has no readable document,
        or `provenance.json` is damaged.
    """
    return _open(Path(path), split, "documents", _DOCUMENTS, _parse_document)


def open_dialogues(path: str | Path, split: str = "train") -> RecordedEpisodes:
    """Open one split of a collection of dialogues, one episode for each.

    A dialogue is a line of *.jsonl or *.jsonl.gz, or a value in a *.json file: an element of its array, as in ShareGPT,
    or one of the values that follow each other. It is {"turns": [text, ...]}, OpenAI's {"messages": [{"role",
    "content"}, ...]} or ShareGPT's {"conversations": [{"from", "value"}, ...]}. The user begins, and user and agent
    alternate, but for results of tools after the agent. `dialogue_text` says what becomes of it. Dialogues in another
    form are in `rejected`.

    Args:
      path: A file, or a folder with such files at any depth.
      split: `train` or `test`.

    Raises:
      SourceError: There are no such files, `split` is neither `train` nor `test`, the split has no readable dialogue,
        or `provenance.json` is damaged.
    """
    return _open(Path(path), split, "dialogue", _DIALOGUES, _parse_dialogue)


def _open(path: Path, split: str, suite: str, suffixes: tuple[str, ...], parse_text: _ParseText) -> RecordedEpisodes:
    """Open the files at or below a path that have one of some suffixes, as one-step episodes of text.

    Args:
      path: A file or a folder, after which the task is named.
      split: `train` or `test`.
      suite: Suite of the task.
      suffixes: Suffixes of the files, such as `.jsonl.gz`.
      parse_text: Turns a record and its bytes into the text of its episode, or raises EpisodeRejected.

    Raises:
      SourceError: There are no such files, `split` is neither `train` nor `test`, the split has no readable record, or
        `provenance.json` is damaged.
    """
    found = find_texts(path, suffixes)
    files, other = found.files, "train" if split == "test" else "test"
    in_other = 0
    folder = path if path.is_dir() else path.parent
    unknown = Provenance(source=path.resolve().name, licence="unknown", kind="synthetic", collector="")
    fields = Fields(
        suite=suite,
        task=path.resolve().name.partition(".")[0],
        observation={},
        action={"text": ("text", Text())},
        provenance=read_provenance(folder, unknown),
    )
    is_in_split(split, False)  # refuses an unknown split before anything is read

    def is_selected(record: Record, content: bytes) -> bool:
        nonlocal in_other
        is_in = is_in_split(split, is_held_out(_parse_utf8(parse_text, record, content)))
        in_other += not is_in
        return is_in

    records, rejected = select_records(files, is_selected, f"{path}: {suite}")
    if not records:
        first = f" The first of {len(rejected)} damaged records: {rejected[0]}" if rejected else ""
        raise (EmptySplitError if in_other else NoSplitError)(
            f"cannot open {path}: split {split!r} is empty in {len(files)} files: all {in_other} texts belong to "
            f"{other!r}, by their hashes.{first}"
            if in_other
            else f"cannot open {path}: split {split!r} is empty in {len(files)} files.{first}"
        )
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=records,
        lengths=np.ones(len(records), np.int64),
        fingerprint=fingerprint_files(files, fields.to_json(), split, label=str(path)),
        read=functools.partial(_read, fields, parse_text),
        rejected=(*found.rejected, *weigh_damaged_files(rejected, files, len(records))),
        fields=fields,
        find_left_out=functools.partial(_find_left_out, path, found, suffixes, other, in_other, len(records)),
    )


def _find_left_out(
    path: Path, found: FoundFiles, suffixes: tuple[str, ...], other: str, in_other: int, selected: int
) -> list[Omission]:
    """List the files and fields that are not read, and the texts that belong to the other split."""
    omissions = [*found.left_out, *unread_files(path, found.others, f"a text is *{', *'.join(suffixes)}", found.files)]
    omissions += held_out_omission(path, "texts", other, in_other, selected)
    names: dict[str, int] = {}
    for file in found.files:
        for name, count in column_names(file).items():
            names[name] = names.get(name, 0) + count
    read = ("text",) if ".txt" in suffixes else ("turns", "messages", "conversations", "system")
    reason = f"a text is read from {' or '.join(read)} alone"
    omissions += [
        Omission(f"{path}: {name}", f"{reason}; {names[name]} records have it") for name in names if name not in read
    ]
    return omissions


def _read(fields: Fields, parse_text: _ParseText, record: Record) -> Episode:
    """Read a record and return its episode, or raise EpisodeRejected if it is damaged."""
    text = _parse_utf8(parse_text, record, record.read())
    return assemble(fields, {"text": [text]}.__getitem__, record.location)


def _parse_utf8(parse_text: _ParseText, record: Record, content: bytes) -> str:
    """Return the text that `parse_text` finds in a record.

    Raises:
      EpisodeRejected: `parse_text` raises it, or the text cannot be encoded as UTF-8.
    """
    text = parse_text(record, content)
    try:
        text.encode()  # fails for half of a surrogate pair, which JSON can express
    except UnicodeEncodeError as error:
        raise EpisodeRejected(record.location, f"it is not valid UTF-8 ({error})") from None
    return text


def _parse_document(record: Record, content: bytes) -> str:
    """Return the text of a document: the content of the record, or its field `text` in JSON Lines.

    Raises:
      EpisodeRejected: The content is not UTF-8, a line of JSON Lines is not a JSON object, or the text is missing or
        blank.
    """
    if file_suffix(record.file) in _JSON_LINES:
        text = _parse_json_object(record, content).get("text")
        if not isinstance(text, str):
            raise EpisodeRejected(record.location, f"its text is {text!r:.40}, expected a string")
    else:
        text = _decode(record, content)
    if not text.strip():
        raise EpisodeRejected(record.location, "its text is empty, expected a document")
    return text


def _parse_dialogue(record: Record, content: bytes) -> str:
    """Return a dialogue in any of the forms of `open_dialogues` as one text, or raise EpisodeRejected."""
    return dialogue_text(_parse_json_object(record, content), record.location)


def _parse_json_object(record: Record, content: bytes) -> dict[str, Any]:
    """Parse a line of JSON Lines; raise EpisodeRejected if it is not a JSON object in UTF-8."""
    try:
        parsed = json.loads(_decode(record, content))
    except json.JSONDecodeError as error:
        raise EpisodeRejected(record.location, f"it is not valid JSON ({error})") from None
    if not isinstance(parsed, dict):
        raise EpisodeRejected(record.location, f"it is {parsed!r:.40}, expected a JSON object")
    return parsed


def _decode(record: Record, content: bytes) -> str:
    """Decode the bytes of a record as UTF-8; raise EpisodeRejected if they are not valid."""
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise EpisodeRejected(record.location, f"it is not valid UTF-8 ({error})") from None
