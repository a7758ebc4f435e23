"""Paths in buckets behave as pathlib says, and local paths stay what they were."""

import os
import pathlib
import pickle

import pytest

from gato_jax.runtime.paths import BucketError, BucketPath, as_path, is_bucket, remove_tree, require_local


def test_a_local_path_stays_a_path_of_pathlib(tmp_path):
    assert type(as_path(str(tmp_path))) is type(as_path(tmp_path)) is type(tmp_path)
    assert as_path("a/b") == pathlib.Path("a/b") and not is_bucket("a/b")


def test_names_and_parents_of_an_address():
    path = as_path("gs://bucket/runs/mine/")
    assert str(path) == os.fspath(path) == f"{path}" == "gs://bucket/runs/mine"
    assert str(path / "metrics.jsonl") == "gs://bucket/runs/mine/metrics.jsonl"
    assert path.name == "mine" and str(path.parent) == "gs://bucket/runs" and path.is_absolute()
    assert str((path / "a").with_name("b.json").with_suffix(".txt")) == "gs://bucket/runs/mine/b.txt"
    assert str((path / "checkpoints" / "3").relative_to(path)) == "checkpoints/3"
    assert path.resolve() == path.expanduser() == pickle.loads(pickle.dumps(path)) == as_path(path)
    assert isinstance(path, pathlib.Path) and isinstance(path.parent, BucketPath)


def test_files_in_a_bucket(bucket):
    folder = as_path(f"{bucket}/folder")
    folder.mkdir(parents=True, exist_ok=True)
    assert not folder.exists() and not folder.is_dir()
    (folder / "a.txt").write_text("ä\n")
    (folder / "deep" / "b.bin").write_bytes(b"12")
    assert folder.is_dir() and not folder.is_file() and (folder / "a.txt").is_file()
    assert (folder / "a.txt").read_text() == "ä\n" and (folder / "deep" / "b.bin").stat().st_size == 2
    assert sorted(child.name for child in folder.iterdir()) == ["a.txt", "deep"]
    assert [str(found) for found in folder.glob("*/*.bin")] == [f"{bucket}/folder/deep/b.bin"]
    assert [found.name for found in folder.rglob("*.bin")] == ["b.bin"]
    with (folder / "a.txt").open() as file:
        assert list(file) == ["ä\n"]
    with pytest.raises(FileExistsError):
        (folder / "a.txt").open("x")
    (folder / "a.txt").unlink()
    (folder / "a.txt").unlink(missing_ok=True)
    remove_tree(folder)
    assert not folder.exists()


def test_copies_between_disk_and_bucket(bucket, tmp_path):
    (tmp_path / "up").write_bytes(b"content")
    as_path(f"{bucket}/x").upload(tmp_path / "up")
    as_path(f"{bucket}/x").download(tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == b"content"


@pytest.mark.parametrize(
    "call, said",
    [
        (lambda path: path.open("a"), "gs://made/x: cannot be opened as 'a'"),
        (lambda path: path.rename("y"), "gs://made/x: a bucket has no links, renames"),
        (lambda path: as_path("ftp://made/x"), "ftp://made/x: scheme is ftp://, expected one of gs://, s3://, az://"),
        (lambda path: as_path("gs://"), "gs://: names no bucket. Write gs://BUCKET/FOLDER."),
        (lambda path: require_local(path, "--output", "Name a folder."), "--output is gs://made/x, expected a path on"),
        (lambda path: as_path("az://made/x").exists(), "pip install adlfs to open az://"),
    ],
)
def test_what_a_bucket_cannot_do_is_said(call, said, bucket):
    with pytest.raises(BucketError) as error:
        call(as_path(f"{bucket}/x"))
    assert said in str(error.value)


def test_lines_end_at_newlines_only():
    """`str.splitlines` also splits at U+2028, U+0085 and other characters that are part of a text."""
    root = pathlib.Path(__file__).parents[2]
    folders = ("gato_jax", "experiments", "benchmarks", "configs")
    code = [file for folder in folders for file in (root / folder).rglob("*.py")]
    assert len(code) > 200
    assert [str(file) for file in code if ".splitlines(" in file.read_text()] == []
