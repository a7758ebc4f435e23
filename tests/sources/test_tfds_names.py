"""Tests of the folders that names of prepared datasets stand for, in a folder of TFDS that was made by hand."""

import json
from typing import Any

import pytest
from etils import epath

from gato_jax.batching import DatasetConfig, missing_reason
from gato_jax.sources.reader import SourceError
from gato_jax.sources.rlds.tfds_names import find_tfds_folder

MADE = (
    "coco_captions/2014/1.1.0", "coco_captions/2014/1.10.0", "c4/en/3.1.0", "c4/de/3.1.0", "bridge_dataset/1.0.0",
    "rlu_dmlab_rooms_watermaze/training_0/1.2.0",
)  # fmt: skip
FOUND = {
    "coco_captions/2014/1.1.0": MADE[0],
    "coco_captions/2014": MADE[1],  # the newest version, by its numbers
    "coco_captions/2014:1.1.0": MADE[0],
    "coco_captions/2014:1.1.*": MADE[0],
    "coco_captions": MADE[1],  # its only config that has a version
    "c4/en/3.1.0": MADE[2],
    "c4/en": MADE[2],
    "bridge_dataset": MADE[4],
    "bridge_dataset/1.0.0": MADE[4],
    "rlu_dmlab_rooms_watermaze/training_0/1.2.0": MADE[5],
    "rlu_dmlab_rooms_watermaze/training_0": MADE[5],
}


@pytest.fixture
def root(tmp_path, monkeypatch):
    for path in MADE:
        (tmp_path / path).mkdir(parents=True)
        (tmp_path / path / "dataset_info.json").write_text(json.dumps({"name": path.split("/")[0]}))
    (tmp_path / "coco_captions" / "2017" / "1.1.0").mkdir(parents=True)  # a download that was cut short
    (tmp_path / "coco_captions" / "2014" / "2.0.0").mkdir()
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    return tmp_path


def reason(location, kind="tfds_text"):
    return missing_reason(DatasetConfig(source=f"{kind}:{location}", weight=1.0))


@pytest.mark.parametrize("name", FOUND)
def test_a_dataset_is_found_by_every_spelling(root, name, monkeypatch):
    for path in (name, f"gone/{name}", f"/gone/{name}", str(root / name)):
        assert find_tfds_folder(path) == epath.Path(root / FOUND[name])
        assert reason(path) is None and reason(f"{path}#other", "rlds") is None
    monkeypatch.setenv("TFDS_DATA_DIR", str(root / "none"))  # the folder that a config names is enough
    assert find_tfds_folder(root / name) == epath.Path(root / FOUND[name]) and reason(root / name) is None
    assert str(root / "none" / name) in (reason(name) or "")


@pytest.mark.parametrize("name", ["c4/en/3.2.0", "c4/fr", "gone/other/en", "coco_captions/2017", "gsm8k"])
def test_what_is_not_there_is_missing(root, name):
    with pytest.raises(SourceError, match="neither a folder nor a dataset in"):
        find_tfds_folder(name)
    assert reason(name) == f"{name} and {root / name} not found"
    assert reason(root / name) == f"{root / name} not found" and reason(root)  # a folder of datasets is no dataset


def test_a_missing_relative_path_is_named_with_the_working_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert reason("runs/a/data", "recorded") == f"runs/a/data not found in the working directory {tmp_path}"
    assert reason(tmp_path / "data", "recorded") == f"{tmp_path / 'data'} not found"


def test_a_config_must_be_named_where_several_are(root):
    with pytest.raises(SourceError, match="it has the configs de, en. Name one, as NAME/CONFIG"):
        find_tfds_folder("c4")
    assert reason("c4") is None  # so that opening says it


def test_table_1_finds_what_tfds_prepared_in_the_folder_of_the_data(root, monkeypatch):
    from configs.data import table_1

    monkeypatch.delenv("TFDS_DATA_DIR")
    entries: Any = table_1.datasets(str(root))
    found = {name for name, entry in entries.items() if reason(*entry.source.split(":", 1)[::-1]) is None}
    public = {name for name in found if entries[name].source.startswith(("rlds:", "tfds_text:"))}
    assert {name.split("__")[0] for name in public} == {
        "dm_lab",
        "rgb_stacking_real",
        "massive_text",
        "ms_coco_captions",
    }
