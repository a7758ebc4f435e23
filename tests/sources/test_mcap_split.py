"""A recording that rosbag2 has split into several files is one episode, in the order that its metadata.yaml gives."""

import contextlib
import itertools
import json

import numpy as np
import pytest

from gato_jax.sources.mcap import open_mcap
from gato_jax.sources.reader import SourceError
from tests.runtime.test_content_digests import flip
from tests.sources import made_mcap
from tests.sources.made_mcap import FIELDS, arm_messages, write_mcap


def split(folder, name="run1", *, parts=2, metadata=True, listed=None):
    """Write the messages of `arm_messages` to the files of one recording."""
    said = arm_messages()
    bounds = [len(said) * part // parts for part in range(parts + 1)]
    pieces = [said[start:stop] for start, stop in itertools.pairwise(bounds)]
    files = [write_mcap(folder / f"{name}_{number}.mcap", piece) for number, piece in enumerate(pieces)]
    if metadata:
        names = [file.name for file in files] if listed is None else listed
        content = {"rosbag2_bagfile_information": {"version": 9, "relative_file_paths": names}}
        (folder / "metadata.yaml").write_text(json.dumps(content))
    return files


@pytest.mark.parametrize("listed", [None, ["run1/run1_0.mcap", "run1/run1_1.mcap", "run1/run1_2.mcap"]])
def test_the_files_are_one_episode(listed, tmp_path):
    split(tmp_path / "run1", parts=3, listed=listed)
    write_mcap(tmp_path / "whole.mcap", arm_messages())
    whole, run = sorted(open_mcap(tmp_path, fields=FIELDS), key=lambda episode: episode.provenance.recorded_at)
    for side in ("observation", "action"):
        for key, values in getattr(whole, side).items():
            np.testing.assert_array_equal(getattr(run, side)[key], values)
    assert run.success == whole.success and run.provenance == whole.provenance


def test_schemas_are_numbered_in_each_file(tmp_path, monkeypatch):
    _, second = split(tmp_path)
    said = arm_messages()
    monkeypatch.setattr(made_mcap, "_DEFINITIONS", dict(reversed(made_mcap._DEFINITIONS.items())))
    write_mcap(second, said[len(said) // 2 :])  # with other numbers for the same schemas
    np.testing.assert_array_equal(open_mcap(tmp_path, fields=FIELDS)[0].observation["tool"][:, 0], np.arange(11))


def test_a_missing_part_is_a_gap(tmp_path):
    split(tmp_path / "run1")[1].unlink()
    split(tmp_path / "run2", "run2")
    reader = open_mcap(tmp_path, fields=FIELDS)
    assert len(reader) == 1 and reader.rejected[0].location == str(tmp_path / "run1/metadata.yaml")
    assert "it lists 'run1_1.mcap', which is not there" in reader.rejected[0].reason


@pytest.mark.parametrize("content", ["", "a: [", "rosbag2_bagfile_information: {}", "rosbag2_bagfile_information: 1"])
def test_damaged_metadata_are_named(content, tmp_path):
    split(tmp_path)
    (tmp_path / "metadata.yaml").write_text(content)
    with pytest.raises(SourceError, match="metadata.yaml: it lists no files.*ros2 bag reindex"):
        open_mcap(tmp_path, fields=FIELDS)


def test_a_listed_path_does_not_lead_out_of_the_folder(tmp_path):
    split(tmp_path / "run1", listed=["../other/run1_0.mcap"])
    with pytest.raises(SourceError, match="lies outside of its folder"):
        open_mcap(tmp_path / "run1", fields=FIELDS)


def test_the_files_of_one_recording_are_all_part_of_its_identity(tmp_path):
    files = split(tmp_path)
    before = open_mcap(tmp_path, fields=FIELDS).fingerprint
    content = json.loads((tmp_path / "metadata.yaml").read_text())
    (tmp_path / "metadata.yaml").write_text(json.dumps({**content, "more": 1}))
    after = open_mcap(tmp_path, fields=FIELDS).fingerprint
    flip(files[1], files[1].stat().st_size // 2)
    with contextlib.suppress(SourceError):  # the damage may be found on opening
        assert open_mcap(tmp_path, fields=FIELDS).fingerprint not in (before, after)
    assert before != after
