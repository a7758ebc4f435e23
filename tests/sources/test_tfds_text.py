"""Tests of the reader of TFDS's texts, captions and questions, on datasets written by TFDS."""

import json
import sys

import numpy as np
import pytest

from gato_jax.episodes import Text
from gato_jax.sources.reader import EpisodeRejected, SourceError
from gato_jax.sources.rlds.tfds_text import TFDS_TEXT, open_tfds_text
from tests.warm_python import TENSORFLOW, run_warm

# Configuration of each dataset that is written, and its file format.
WRITTEN = {
    "c4/en": "array_record",
    "coco_captions/2014": "tfrecord",
    "clevr": "array_record",
    "databricks_dolly": "tfrecord",
    "ai2dcaption": "array_record",
    "dolma": "tfrecord",
    "gpt3/five_digit_addition": "tfrecord",
    "gsm8k": "array_record",
    "laion400m/images": "tfrecord",
    "librispeech_lm": "array_record",
    "lm1b": "tfrecord",
    "pg19": "array_record",
    "squad/v1.1": "tfrecord",
    "tiny_shakespeare": "array_record",
    "trivia_qa/rc.nocontext": "tfrecord",
    "wiki40b/en": "array_record",
    "wiki_dialog/OQ": "tfrecord",
    "wikipedia/20230601.en": "array_record",
}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("tfds")
    request = root / "request.json"
    request.write_text(json.dumps({"written": WRITTEN, "features": list(WRITTEN)}))
    result = run_warm(["-m", "tests.sources.write_with_tfds", request, root], TENSORFLOW)
    assert result.returncode == 0, result.stderr[-3000:]
    return root


def test_each_known_dataset_is_written_here():
    assert {name.split("/")[0] for name in WRITTEN} == set(TFDS_TEXT)


@pytest.mark.parametrize("name", WRITTEN)
def test_a_dataset_with_the_features_of_its_builder_is_read(name, root):
    (directory,) = (root / name).glob("*.*.*")
    said = json.loads((directory / "expected.json").read_text())
    dataset, entry = open_tfds_text(directory), TFDS_TEXT[name.split("/")[0]]
    assert dataset.spec.name == f"{entry.suite}/{name}" and not dataset.rejected
    assert len(dataset) == (6 if entry.repeated_field else 2)  # three items of each of two examples
    for position in range(len(dataset)):
        example, item = divmod(position, 3 if entry.repeated_field else 1)
        episode = dataset[position]
        assert len(episode) == 1 and episode.is_last.all()
        for side in ("observation", "action"):
            for key, path in getattr(entry, side).items():
                if not isinstance(getattr(dataset.spec, side)[key], Text):
                    assert episode.observation[key].shape == (1, 224, 224, 3)
                    continue
                value = said[example]
                for part in path.split("/"):
                    value = value[part] if isinstance(value, dict) else [one[part] for one in value]
                if entry.is_dialogue:
                    value = "\n".join(f"{('Human', 'Agent')[turn % 2]}: {line}" for turn, line in enumerate(value))
                expected = value[item] if isinstance(value, list) else value
                assert getattr(episode, side)[key].tolist() == [expected]
    assert "tensorflow" not in sys.modules


def test_what_is_damaged_is_named(root, tmp_path):
    (directory,) = (root / "coco_captions/2014").glob("*.*.*")
    (file,) = directory.glob("*.tfrecord-*")
    whole = file.read_bytes()
    try:
        opened = open_tfds_text(directory)
        content = bytearray(whole)
        content[40] ^= 1
        file.write_bytes(content)
        with pytest.raises(EpisodeRejected, match="record 0: .*its CRC differs"):
            opened[0]
        np.testing.assert_array_equal(opened[3].observation["image"].shape, (1, 224, 224, 3))
        file.write_bytes(whole[:-10])
        cut = open_tfds_text(directory)
        assert len(cut) == 3 and "cut short" in cut.rejected[0].reason
    finally:
        file.write_bytes(whole)


def test_errors_name_the_remedy(root, tmp_path, monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", str(root))
    assert len(open_tfds_text("gsm8k")) == 2
    with pytest.raises(SourceError, match="no split 'test'. Its splits: train"):
        open_tfds_text("gsm8k", "test")
    with pytest.raises(SourceError, match=f"c4/de: it is neither a folder nor a dataset in {root}"):
        open_tfds_text("c4/de")
    info = root / "gsm8k"
    (directory,) = info.glob("*.*.*")
    copy = tmp_path / "1.0.0"
    copy.mkdir()
    for file in directory.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    described = json.loads((copy / "dataset_info.json").read_text())
    (copy / "dataset_info.json").write_text(json.dumps(described | {"name": "gsm9k"}))
    with pytest.raises(SourceError, match="the fields of 'gsm9k' are unknown; nearest known: gsm8k"):
        open_tfds_text(copy)
