"""Tests of the readers of documents and dialogues: all formats and damaged files."""

import codecs
import gzip
import json
import pickle

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.sources.language.reader import open_dialogues, open_documents
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError

TEXTS = [f"Document {number}: a Grüße, 世界.\nIts second line." for number in range(200)]


def lines(said) -> bytes:
    return b"".join(json.dumps(one, ensure_ascii=False).encode() + b"\n" for one in said)


def write_parquet(file, texts, **settings):
    table = pyarrow.table({"url": [""] * len(texts), "text": texts})
    pyarrow.parquet.write_table(table, file, row_group_size=7, **settings)


def write_all(folder):
    """Write fifty texts each as *.txt files, as lines, as compressed lines, and as rows."""
    for number, text in enumerate(TEXTS[:50]):
        (folder / f"{number:03}.{'md' if number % 2 else 'txt'}").write_text(text, encoding="utf-8")
    (folder / "some.jsonl").write_bytes(lines({"text": text, "url": "x"} for text in TEXTS[50:100]))
    with gzip.open(folder / "more.jsonl.gz", "wb") as file:
        file.write(lines({"text": text} for text in TEXTS[100:150]))
    write_parquet(folder / "rows.parquet", TEXTS[150:])
    return folder


def texts(reader) -> list[str]:
    return [episode.action["text"][0] for episode in reader]


def test_documents_of_every_format_at_random(tmp_path):
    write_all(tmp_path)
    train, test = (pickle.loads(pickle.dumps(open_documents(tmp_path, split))) for split in ("train", "test"))
    assert isinstance(train, EpisodeReader) and train.rejected == test.rejected == ()
    assert sorted(texts(train) + texts(test)) == sorted(TEXTS) and 3 <= len(test) <= 20
    in_order, shuffled = texts(train), np.random.default_rng(0).permutation(len(train))
    assert [train[position].action["text"][0] for position in shuffled] == [in_order[place] for place in shuffled]
    assert train[0].provenance.licence == "unknown" and train.lengths.tolist() == [1] * len(train)
    stored = open_dataset(write_dataset(tmp_path / "store", test.spec, {"test": test}), "test")
    assert texts(stored) == texts(test)


def test_a_file_beside_them_says_where_they_come_from(tmp_path):
    write_all(tmp_path)
    (tmp_path / "provenance.json").write_text(json.dumps({"licence": "CC-BY-SA-4.0", "source": "an encyclopaedia"}))
    provenance = open_documents(tmp_path)[0].provenance
    assert (provenance.licence, provenance.source, provenance.kind) == ("CC-BY-SA-4.0", "an encyclopaedia", "synthetic")
    for said, message in [
        ('{"license": "MIT"}', "unknown key 'license'. Did you mean 'licence'"),
        ('{"recorded_at": "then"}', "recorded_at is 'then', expected ISO 8601"),
        ("[1]", "expected an object"),
        ("{", "cannot be read as provenance"),
    ]:
        (tmp_path / "provenance.json").write_text(said)
        with pytest.raises(SourceError, match=f"provenance.json.*{message}"):
            open_documents(tmp_path)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"text": "caf\xe9"}\n', "it is not valid UTF-8"),
        (b'{"text": "cut sho', "it is not valid JSON"),
        (b'{"txt": "x"}\n', "its text is None, expected a string"),
        (b'{"text": 5}\n', "its text is 5, expected a string"),
        (b'{"text": " \\n"}\n', "its text is empty"),
        (b"[]\n", "expected a JSON object"),
        (b'{"text": "\\ud800"}\n', "not valid UTF-8"),
    ],
)
def test_damaged_lines_are_rejected_alone(tmp_path, line, reason):
    good = lines({"text": text} for text in TEXTS[:30])
    (tmp_path / "a.jsonl").write_bytes(good + b"\n" + line)
    reader = open_documents(tmp_path)
    assert len(reader) + len(open_documents(tmp_path, "test")) == 30
    [rejection] = reader.rejected
    assert rejection.location.endswith(f"a.jsonl, byte {len(good) + 1}") and reason in rejection.reason


def test_damaged_files_are_rejected_and_the_rest_is_read(tmp_path):
    write_all(tmp_path)
    whole = len(open_documents(tmp_path)) + len(open_documents(tmp_path, "test"))
    (tmp_path / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "cut.jsonl.gz").write_bytes((tmp_path / "more.jsonl.gz").read_bytes()[:-30])
    flipped = bytearray((tmp_path / "more.jsonl.gz").read_bytes())
    flipped[len(flipped) // 2] ^= 4
    (tmp_path / "flipped.jsonl.gz").write_bytes(flipped)
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "rows.parquet").read_bytes()[:-9])
    write_parquet(tmp_path / "flipped.parquet", TEXTS[:50], compression="none", write_page_checksum=True)
    flipped = bytearray((tmp_path / "flipped.parquet").read_bytes())
    flipped[flipped.index(b"Document 20")] ^= 1
    (tmp_path / "flipped.parquet").write_bytes(flipped)
    pyarrow.parquet.write_table(pyarrow.table({"body": ["x"]}), tmp_path / "other.parquet")
    reader = open_documents(tmp_path)
    reasons = {
        rejection.location.rpartition("/")[2].partition(",")[0]: rejection.reason for rejection in reader.rejected
    }
    assert reasons.keys() == {
        "latin.txt", "empty.txt", "cut.jsonl.gz", "flipped.jsonl.gz", "cut.parquet", "flipped.parquet", "other.parquet"
    }  # fmt: skip
    assert "not valid UTF-8" in reasons["latin.txt"] and "text is empty" in reasons["empty.txt"]
    assert "the columns body, expected a column 'text'" in reasons["other.parquet"]
    assert len(list(reader)) + len(open_documents(tmp_path, "test")) == whole


def test_a_file_that_changes_after_opening(tmp_path):
    (tmp_path / "a.jsonl").write_bytes(lines({"text": text} for text in TEXTS[:30]))
    reader = open_documents(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"")
    with pytest.raises(EpisodeRejected, match="a.jsonl, byte .*it ends before byte .* has changed since"):
        reader[5]


def test_no_documents(tmp_path):
    with pytest.raises(SourceError, match="no files of .txt, .md, .jsonl"):
        open_documents(tmp_path)
    (tmp_path / "a.jsonl").write_bytes(b"{")
    with pytest.raises(SourceError, match="split 'train' is empty in 1 files. The first of 1 .*not valid JSON"):
        open_documents(tmp_path)
    with pytest.raises(SourceError, match="no split 'val'; it has train, test"):
        open_documents(tmp_path, "val")


def part(text: str, kind: str = "text") -> dict:
    return {"type": kind, "text": text}


USER_PARTS = [
    {"role": "user", "content": [part("Hi"), part("there", "input_text")]},
    {"role": "assistant", "content": None, "refusal": "No."},
]


def called(identity: str, city: str) -> dict:
    arguments = json.dumps({"city": city}, ensure_ascii=False)
    return {"id": identity, "type": "function", "function": {"name": "weather", "arguments": arguments}}


WEATHER = {
    "messages": [
        {"role": "user", "content": "Where is it warmer?"},
        {"role": "assistant", "content": None, "tool_calls": [called("a", "Zürich"), called("b", "Rom")]},
        {"role": "tool", "tool_call_id": "b", "content": "25"},
        {"role": "tool", "tool_call_id": "a", "content": [part("17")]},
        {"role": "assistant", "content": "In Rome."},
    ],
    "tools": [{"type": "function", "function": {"name": "weather"}}],
}
WEATHER_TEXT = (
    'Human: Where is it warmer?\nAgent: call weather {"city": "Zürich"}\ncall weather {"city": "Rom"}\n'
    "Tool weather: 25\nTool weather: 17\nAgent: In Rome."
)


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ({"turns": ["Hi", "Hello ", "Bye"]}, "Human: Hi\nAgent: Hello\nHuman: Bye"),
        (
            {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]},
            "Be brief.\nHuman: Hi",
        ),
        (
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]},
            "Human: Hi\nAgent: Hello",
        ),
        (WEATHER, WEATHER_TEXT),
        (
            {"messages": [{"role": "developer", "content": [part("Be"), part("brief.")]}, *USER_PARTS]},
            "Be\nbrief.\nHuman: Hi\nthere\nAgent: No.",
        ),
        (
            {
                "system": "Use tools.",
                "conversations": [
                    {"from": "human", "value": "2 + 3?"},
                    {"from": "function_call", "value": '{"name": "add", "arguments": {"a": 2, "b": 3}}'},
                    {"from": "observation", "value": "5"},
                    {"from": "gpt", "value": "Five."},
                    {"from": "human", "value": "And now?"},
                ],
            },
            'Use tools.\nHuman: 2 + 3?\nAgent: call add {"a": 2, "b": 3}\nTool: 5\nAgent: Five.\nHuman: And now?',
        ),
        (
            {
                "messages": [
                    {"role": "user", "content": "2 + 3?"},
                    {"role": "assistant", "content": "", "function_call": {"name": "add", "arguments": "{}"}},
                    {"role": "function", "name": "add", "content": ""},
                ]
            },
            "Human: 2 + 3?\nAgent: call add {}\nTool add: ",
        ),
    ],
)
def test_dialogues_of_every_form(tmp_path, said, text):
    (tmp_path / "a.jsonl").write_bytes(lines([said]))
    assert texts(open_dialogues(tmp_path)) == [text]
    assert open_dialogues(tmp_path).spec.name == f"dialogue/{tmp_path.name}"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"turns": []}, r"its turns are \[\]"),
        ({"turns": ["Hi", 3]}, "its turns are .*3"),
        ({"text": "Hi"}, "it has text, expected turns, messages or conversations"),
        (
            {"messages": [{"role": "assistant", "content": "Hi"}]},
            "the role of turn 0 is 'assistant', expected user or human",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "tool", "content": "b"}]},
            "the role of turn 1 is 'tool', expected assistant or gpt",
        ),
        ({"messages": [{"role": "user", "content": [{"type": "image"}]}]}, "expected texts"),
        ({"messages": [{"role": "user"}]}, "expected 'role' and 'content'"),
        ({"conversations": [{"from": "human", "value": None}]}, "expected texts"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "a part of turn 0 is of type 'image_url', expected texts",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b", "weight": 0}]},
            "the weight of turn 1 is 0, expected 1",
        ),
        (
            {"messages": [*WEATHER["messages"][:2], {"role": "tool", "tool_call_id": "c", "content": "1"}]},
            "the tool_call_id of turn 2 is 'c', expected that of a call",
        ),
        (
            {"messages": [*WEATHER["messages"][:2], {"role": "tool", "tool_call_id": {"id": "a"}, "content": "1"}]},
            "the tool_call_id of turn 2 is {'id': 'a'}, expected that of a call",
        ),
        (
            {"messages": [{"role": "user", "content": "a"}, {"role": "assistant", "tool_calls": [{"id": "a"}]}]},
            "a call is .*, expected a name and arguments",
        ),
        ({"conversations": [{"from": "gpt", "value": "a"}]}, "the from of turn 0 is 'gpt', expected user or human"),
        (
            {"system": "a", "messages": [{"role": "system", "content": "b"}, {"role": "user", "content": "c"}]},
            "its system message is 'a', expected one text",
        ),
        ({"messages": [{"role": "system", "content": "b"}]}, "expected texts"),
    ],
)
def test_dialogues_that_are_refused(tmp_path, said, reason):
    (tmp_path / "a.jsonl").write_bytes(lines([{"turns": ["Hi", "Hello"]}, said]))
    reader = open_dialogues(tmp_path)
    assert len(reader) == len(reader.rejected) == 1
    with pytest.raises(EpisodeRejected, match=reason):
        raise EpisodeRejected(*reader.rejected[0][:2])


SHARED = [
    {
        "id": str(number),
        "conversations": [{"from": "human", "value": text}, {"from": "gpt", "value": "Gut, \u2028 ü 机"}],
    }
    for number, text in enumerate(["Hi", 'quoted "]" and \\', "机器人\n", ""])
]
SHARED_TEXTS = [f"Human: {text.strip()}\nAgent: Gut, \u2028 ü 机" for text in ("Hi", 'quoted "]" and \\', "机器人\n")]


@pytest.mark.parametrize("form", ["indented", "compact", "escaped", "lines", "marked"])
def test_arrays_of_dialogues(tmp_path, form):
    content = {
        "indented": json.dumps(SHARED, indent=2, ensure_ascii=False).encode(),
        "compact": json.dumps(SHARED, separators=(",", ":"), ensure_ascii=False).encode(),
        "escaped": json.dumps(SHARED).encode(),
        "lines": lines(SHARED),
        "marked": codecs.BOM_UTF8 + json.dumps(SHARED, ensure_ascii=False).encode(),
    }[form]
    (tmp_path / "shared.json").write_bytes(content)
    (tmp_path / "provenance.json").write_text('{"licence": "MIT"}')
    reader = open_dialogues(tmp_path)
    assert texts(reader) == SHARED_TEXTS and reader[0].provenance.licence == "MIT"
    (rejection,) = reader.rejected
    assert "shared.json, byte " in rejection.location and "the value of turn 0 is blank" in rejection.reason


@pytest.mark.parametrize(
    "damage", [lambda text: text[:-1], lambda text: text + "x", lambda text: text.replace("},", "}", 1)]
)
def test_damaged_arrays_are_rejected_as_a_whole(tmp_path, damage):
    text = json.dumps([{"turns": ["Hi", "Hello"]}, {"turns": ["a", "b"]}])
    (tmp_path / "a.json").write_text(text)
    (tmp_path / "b.json").write_text(damage(text))
    reader = open_dialogues(tmp_path)
    assert len(reader) == 2 and [one.location for one in reader.rejected] == [str(tmp_path / "b.json")]
