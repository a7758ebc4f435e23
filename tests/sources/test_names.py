"""Names of files and folders that hold marks with a meaning elsewhere, or that are long, are names like any other."""

import os

import numpy as np
import pytest

from gato_jax.batching import cached_records
from gato_jax.episodes import dataset_name, open_dataset, write_dataset
from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.runtime.paths import split_name
from gato_jax.sources import SourceError, open_source
from gato_jax.tokenization import Tokenization
from gato_jax.verbs.data import join_paths
from tests.sources.made_hdf5 import robomimic
from tests.sources.test_identity import coco, documents, records, rows, shard, topics, video

NAME = "10:00 #3, [a] {x} %20d é\u2028?"
LONG = "x" * 230


@pytest.mark.parametrize("name", [NAME, LONG])
@pytest.mark.parametrize("make", [rows, video, topics, records, coco, shard, documents])
def test_recordings_in_folders_of_any_name(make, name, tmp_path, monkeypatch, own_cache):
    (tmp_path / name).mkdir()
    source, _, fields = make(tmp_path / name)
    here = open_source(source, fields=fields)[0]
    monkeypatch.chdir(tmp_path)
    relative = open_source(source.replace(f"{tmp_path}/", ""), fields=fields)[0]
    for key, values in here.action.items():
        np.testing.assert_array_equal(relative.action[key], values)


@pytest.mark.parametrize("layout", ["", "#robomimic"])
def test_a_layout_after_a_path_with_a_mark(layout, tmp_path):
    (tmp_path / NAME).mkdir()
    file = robomimic(tmp_path / NAME / "a#robomimic.hdf5")
    assert len(open_source(f"hdf5:{file}{layout}")) == len(open_source(f"hdf5:{file.parent}{layout}")) == 3
    with pytest.raises(SourceError, match="no layout 'robomimik'; nearest known: 'robomimic'"):
        open_source(f"hdf5:{file}#robomimik")
    with pytest.raises(SourceError, match="none#3/a.hdf5 does not exist, but "):
        open_source(f"hdf5:{tmp_path}/none#3/a.hdf5")


def test_the_name_after_a_mark(tmp_path):
    (tmp_path / "run#3").mkdir()
    where = str(tmp_path / "run#3")
    assert split_name(where) == (where, "")
    assert split_name(f"{where}#aloha") == (where, "aloha")
    assert split_name(f"{where}#a/b") == (where, "a/b")
    assert split_name("bridge_dataset#bridge") == ("bridge_dataset", "bridge")
    assert split_name("/none#3/a.hdf5") == ("/none#3/a.hdf5", "")
    assert split_name("gs://") == ("gs://", "")


def test_a_comma_in_a_path(tmp_path):
    file = tmp_path / "a,b,c"
    file.mkdir()
    for kind in ("", "hdf5:", "recorded:"):
        assert list(join_paths(f"x,{kind}{file},y,z".split(","))) == ["x", f"{kind}{file}", "y", "z"]
    assert list(join_paths(["a", "b"])) == ["a", "b"] and list(join_paths([])) == []


def test_a_task_with_a_long_name_is_converted_and_tokenized(tmp_path, own_cache):
    (tmp_path / LONG).mkdir()
    source, _, _ = documents(tmp_path / LONG)
    reader = open_source(source)
    directory = write_dataset(tmp_path / "out", reader.spec, {"train": list(reader)})
    assert open_dataset(directory).spec.name == f"documents/{LONG}" == reader.spec.name
    assert len(os.fsencode(directory.parent.name)) <= 120
    assert cached_records(reader, Tokenization(), workers=1).episodes == len(reader)
    assert dataset_name(f"a/{LONG}1") != dataset_name(f"a/{LONG}2")
    assert dataset_name("a/" + "é" * 200).encode().decode() and dataset_name("a/b") == "a__b"


def test_a_long_name_of_a_shared_file(tmp_path):
    for name in (LONG, "é" * 120):
        with atomic_file(tmp_path / name, shared=True) as partial:
            partial.write_text("whole")
        assert (tmp_path / name).read_text() == "whole"
    assert len(os.listdir(tmp_path)) == 2
