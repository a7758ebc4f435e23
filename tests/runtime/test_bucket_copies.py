"""Files of buckets on the local disk: copied once, again when they change, and never in part."""

import pytest

from gato_jax.runtime import bucket_copies
from gato_jax.runtime.bucket_copies import local_copy, local_source
from gato_jax.runtime.paths import BucketError, BucketPath, as_path


@pytest.fixture
def folder(bucket, own_cache):
    folder = as_path(f"{bucket}/data/set")
    (folder / "a").write_bytes(b"1")
    (folder / "deep" / "b").write_bytes(b"22")
    return folder


@pytest.fixture
def downloads(monkeypatch):
    """The addresses that were downloaded."""
    names, download = [], BucketPath.download
    monkeypatch.setattr(BucketPath, "download", lambda path, file: (names.append(str(path)), download(path, file)))
    return names


def contents(copy):
    return {
        file.relative_to(copy).as_posix(): file.read_bytes()
        for file in copy.rglob("*")
        if file.is_file() and not file.name.startswith(".")
    }


def test_a_folder_is_copied_once(folder, downloads, own_cache):
    copy = local_copy(folder)
    assert copy == own_cache / "buckets" / "gs" / "made" / "data" / "set"
    assert contents(copy) == {"a": b"1", "deep/b": b"22"} and len(downloads) == 2
    assert local_copy(folder) == copy and local_copy(folder / "a") == copy / "a" and len(downloads) == 2


def test_a_bucket_of_another_kind_is_copied_too(folder, own_cache):
    copy = local_copy(as_path(str(folder).replace("gs://", "s3://")))
    assert copy == own_cache / "buckets" / "s3" / "made" / "data" / "set" and contents(copy) == contents(
        local_copy(folder)
    )


def test_a_changed_object_is_copied_again_and_a_removed_one_goes(folder, downloads):
    copy = local_copy(folder)
    (folder / "a").write_bytes(b"3")  # of the same size
    (folder / "deep" / "b").unlink()
    assert contents(local_copy(folder)) == {"a": b"3"}
    assert downloads[2:] == [f"{folder}/a"] and copy.is_dir()


def test_a_copy_that_was_interrupted_goes_on(folder, downloads, monkeypatch):
    broken, download = [f"{folder}/deep/b"], BucketPath.download

    def break_down(path, file):
        if str(path) in broken:
            file.write_bytes(b"2")
            raise OSError("connection reset")
        download(path, file)

    with monkeypatch.context() as patch:
        patch.setattr(BucketPath, "download", break_down)
        with pytest.raises(OSError, match="connection reset"):
            local_copy(folder)
    assert contents(local_copy(folder)) == {"a": b"1", "deep/b": b"22"}


def test_a_recording_keeps_its_name_and_a_local_path_is_itself(folder, tmp_path):
    assert local_source(f"{folder}#aloha") == f"{local_copy(folder)}#aloha"
    assert local_source("data/set#aloha") == "data/set#aloha" and local_copy(tmp_path) == tmp_path


def test_nothing_at_an_address_and_a_full_disk_are_said(folder, monkeypatch):
    with pytest.raises(FileNotFoundError, match="gs://made/data/sets: there is nothing at this address"):
        local_copy(folder.with_name("sets"))
    with pytest.raises(BucketError, match="has the part '..'"):
        local_copy(folder / ".." / "x")
    monkeypatch.setattr(bucket_copies, "_RESERVE_BYTES", 1 << 60)
    with pytest.raises(BucketError, match="gs://made/data/set: its copy needs 0.0 GB, .* set GATO_CACHE to a folder"):
        local_copy(folder)
