"""Documents and dialogues: written by the standard library and PyArrow, and read by them."""

from __future__ import annotations

import gzip
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from tests.sources.mutations.damage import NotPossible, pick_file
from tests.sources.mutations.harness import Format, Row
from tests.sources.mutations.parquet_formats import OF_TABLES, read_table

_TEXTS = [f"Document {number}: the {word} is on the table.\nIt is there." for number, word in enumerate(
    "cup block bowl plate fork knife spoon lamp book pen box jar tin can bag mat key toy hat cap".split()
)]  # fmt: skip
_TURNS = [[f"Where is number {number}?", "On the table.", f"And {number + 1}?", "In the bowl. \u2028 Yes\x85no."]
          for number in range(12)]  # fmt: skip


def _write_documents(folder: Path):
    (folder / "more").mkdir()
    (folder / "a.txt").write_text(_TEXTS[0])
    (folder / "more" / "b.md").write_text(_TEXTS[1])
    lines = [json.dumps({"text": text, "id": number}, ensure_ascii=False) for number, text in enumerate(_TEXTS[2:14])]
    (folder / "c.jsonl").write_text("\n".join(lines[:6]) + "\n")
    (folder / "d.jsonl.gz").write_bytes(gzip.compress("\n".join(lines[6:]).encode(), mtime=0))
    table = pa.table({"id": [*range(len(_TEXTS[14:]))], "text": _TEXTS[14:]})
    pq.write_table(table, folder / "e.parquet", row_group_size=3, write_page_checksum=True)


def _write_dialogue(folder: Path):
    roles = ("user", "assistant")
    system = [{"role": "system", "content": "Be brief."}]
    lines: list[Any] = [{"turns": turns} for turns in _TURNS[:4]]
    for turns in _TURNS[4:8]:
        lines.append({"messages": system + [{"role": roles[n % 2], "content": text} for n, text in enumerate(turns)]})
    for turns in _TURNS[8:]:
        lines.append(
            {"conversations": [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(turns)]}
        )
    for name, part in (("a.jsonl", lines[:6]), ("b.jsonl", lines[6:])):
        content = "".join(json.dumps(line, ensure_ascii=len(part) % 2 == 0) + "\n" for line in part)
        (folder / name).write_text(content)


def _files(folder: Path, *suffixes: str) -> list[Path]:
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(file for file in found if "".join(file.suffixes[-2:]).endswith(suffixes) and file.name[0] != ".")


def _lines(file: Path) -> list[bytes]:
    content = file.read_bytes()
    content = gzip.decompress(content) if file.suffix == ".gz" else content
    return [line for line in content.split(b"\n") if line.strip()]


def _rows(read: Callable[[], list[Any]]) -> Iterator[Row | None]:
    """Yield a row for each text; None for a value that is none, or for a file that cannot be read."""
    try:
        texts = read()
    except Exception:  # noqa: BLE001
        texts = [None]
    for text in texts:
        yield {"action/text": [text]} if isinstance(text, str) and text.strip() else None


def _parse(line: bytes, text_of: Callable[[Any], Any]) -> Any:
    try:
        text = text_of(json.loads(line.decode()))
        text.encode()
        return text
    except Exception:  # noqa: BLE001
        return None


def _read_documents(folder: Path) -> Iterator[Row | None]:
    for file in _files(folder, ".txt", ".md", ".jsonl", ".jsonl.gz", ".parquet"):
        if file.suffix in (".txt", ".md"):
            yield from _rows(lambda file=file: [file.read_bytes().decode()])
        elif file.suffix == ".parquet":
            yield from _rows(lambda file=file: read_table(file)["text"].to_pylist())
        else:
            yield from _rows(lambda file=file: [_parse(line, lambda row: row["text"]) for line in _lines(file)])


def _dialogue_text(row: Any) -> str:
    """Return the text of a dialogue, written out from the description of the three forms."""
    if "turns" in row:
        system, turns = [], row["turns"]
    else:
        form = ("messages", "role", "content") if "messages" in row else ("conversations", "from", "value")
        said = [(one[form[1]], one[form[2]]) for one in row[form[0]]]
        system = [text for role, text in said[:1] if role == "system"]
        turns = [text for _, text in said[len(system) :]]
        names = {"user": 0, "human": 0, "assistant": 1, "gpt": 1}
        if [names[role] for role, _ in said[len(system) :]] != [number % 2 for number in range(len(turns))]:
            raise ValueError("the speakers do not alternate")
    return "\n".join(
        system + [f"{('Human', 'Agent')[number % 2]}: {text.strip()}" for number, text in enumerate(turns)]
    )


def _read_dialogue(folder: Path) -> Iterator[Row | None]:
    for file in _files(folder, ".jsonl", ".jsonl.gz"):
        yield from _rows(lambda file=file: [_parse(line, _dialogue_text) for line in _lines(file)])


def change_json_value(value: Any, chance: random.Random) -> Any:
    """Return a JSON value with one change at any depth: a key renamed or dropped, another type, a value doubled."""
    if isinstance(value, dict) and value:
        key = chance.choice(sorted(value))
        rest = {name: one for name, one in value.items() if name != key}
        way = chance.random()
        if way < 0.2:
            return {**rest, f"{key}_2": value[key]}
        return rest if way < 0.3 else {**value, key: change_json_value(value[key], chance)}
    if isinstance(value, list) and value:
        place = chance.randrange(len(value))
        before, one, after = value[:place], value[place], value[place + 1 :]
        way = chance.random()
        if way < 0.4:
            return [*before, change_json_value(one, chance), *after]
        return [*before, *chance.choice(([], [one, one], [[one]], [None])), *after]
    values = [
        None,
        True,
        -1,
        0,
        2.5,
        10**30,
        "",
        " ",
        "other",
        "a\0b",
        "\ud800",
        "\u2028",
        [],
        {},
        [value],
        {"x": value},
    ]
    return chance.choice([*values, str(value), float("nan")])


def _change_line(folder: Path, chance: random.Random) -> str:
    """Change one line of a file of JSON Lines."""
    file = pick_file(folder, chance, ".jsonl", ".gz")
    lines = _lines(file)
    number = chance.randrange(len(lines))
    way = chance.choice(("value", "value", "value", "twice", "not JSON", "mark", "returns", "blank"))
    match way:
        case "value":
            try:
                row = json.loads(lines[number])
            except ValueError:
                raise NotPossible from None
            lines[number] = json.dumps(change_json_value(row, chance), ensure_ascii=True).encode()
        case "twice":
            lines.insert(number, lines[number])
        case "not JSON":
            lines[number] = chance.choice(
                (b"{", b"null", b"[]", b"\xff\xfe", b'"text"', b"{'text': 1}", lines[number] * 2)
            )
        case "mark":
            lines[0] = b"\xef\xbb\xbf" + lines[0]
        case "returns":
            lines = [line + b"\r" for line in lines]
        case "blank":
            lines.insert(number, b"  ")
    content = b"\n".join(lines)
    file.write_bytes(gzip.compress(content, mtime=0) if file.suffix == ".gz" else content)
    return f"{file.relative_to(folder)}: line {number}: {way}: {lines[number][:60]!r}"


FORMATS = {
    "documents": Format(
        write=_write_documents,
        source="documents:{}",
        read=_read_documents,
        damages=(_change_line, _change_line, *OF_TABLES),
        splits=("train", "test"),
    ),
    "dialogue": Format(
        write=_write_dialogue,
        source="dialogue:{}",
        read=_read_dialogue,
        damages=(_change_line,),
        splits=("train", "test"),
    ),
}
