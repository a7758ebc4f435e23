"""Digests of files: any changed byte is seen, whatever the times say, and an unchanged file is not read again."""

import os

import pytest

from gato_jax.runtime import content_digests
from gato_jax.runtime.paths import as_path
from tests.runtime.made_bucket import put

CONTENT = bytes(range(256)) * 1024


@pytest.fixture
def file(tmp_path, own_cache):
    file = tmp_path / "a, b#1.bin"
    file.write_bytes(CONTENT)
    return file


@pytest.fixture
def reads(monkeypatch):
    """The names of the files whose content is read."""
    read, hash_file = [], content_digests.hash_file

    def note(path):
        read.append(path.name)
        return hash_file(path)

    monkeypatch.setattr(content_digests, "hash_file", note)
    return read


def flip(file, position=1 << 17):
    """Change one byte in place, and set the time of the content back to that before."""
    times = file.stat()
    with file.open("r+b") as content:
        content.seek(position)
        byte = content.read(1)[0]
        content.seek(position)
        content.write(bytes([byte ^ 1]))
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def digest(file):
    return content_digests.content_digests([file])[0]


def test_a_byte_in_the_middle_counts(file):
    before = digest(file)
    flip(file)
    assert digest(file) != before  # within one tick of the clock of files, with size, inode and mtime unchanged
    flip(file)
    assert digest(file) == before == content_digests.hash_file(file)


def test_a_file_that_was_just_changed_is_read_again(file, reads):
    assert digest(file) == digest(file) and reads == [file.name] * 2


def test_an_unchanged_file_is_read_once(file, reads, monkeypatch):
    monkeypatch.setattr(content_digests, "_SETTLED_NS", 0)
    assert digest(file) == digest(file) and reads == [file.name]
    copy = file.with_name("copy")
    copy.write_bytes(CONTENT)
    os.utime(copy, ns=(file.stat().st_atime_ns, file.stat().st_mtime_ns))
    os.replace(copy, file)  # the same bytes, size and time in another inode
    assert digest(file) == content_digests.hash_file(file) and reads == [file.name] * 3


def test_damaged_entries_are_made_again(file, own_cache, monkeypatch):
    monkeypatch.setattr(content_digests, "_SETTLED_NS", 0)
    before = digest(file)
    (kept,) = (own_cache / "digests").iterdir()
    for damage in ("", "[]", '{"folder": 1}', "\0"):
        kept.write_text(damage)
        assert digest(file) == before


def test_a_cache_that_cannot_be_written_is_said(file, monkeypatch, tmp_path, caplog):
    (tmp_path / "taken").write_text("")
    monkeypatch.setenv("GATO_CACHE", str(tmp_path / "taken"))
    monkeypatch.setattr(content_digests, "_SETTLED_NS", 0)
    assert digest(file) == content_digests.hash_file(file)
    assert "set GATO_CACHE to a writable folder" in caplog.text


def test_a_file_that_cannot_be_read_has_a_stable_text(tmp_path, own_cache):
    assert digest(tmp_path / "none") == "unreadable: No such file or directory"


def test_objects_in_buckets_are_known_by_their_generation(bucket, own_cache, reads):
    put("made/a", CONTENT)
    there = as_path(f"{bucket}/a")
    before = digest(there)
    assert digest(there) == before and reads == ["a"]
    put("made/a", CONTENT[:-1] + b"\0")
    assert digest(there) != before and reads == ["a", "a"]


def test_the_key_of_a_file_changes_with_it(file, monkeypatch):
    assert content_digests.file_key(file) != content_digests.file_key(file)  # too fresh to be known by its times
    monkeypatch.setattr(content_digests, "_SETTLED_NS", 0)
    before = content_digests.file_key(file)
    assert content_digests.file_key(file) == before
    flip(file)
    assert content_digests.file_key(file) != before


def test_parts_are_delimited():
    assert len({content_digests.combine(parts) for parts in (["ab", "c"], ["a", "bc"], ["abc"], ["abc", ""])}) == 4
