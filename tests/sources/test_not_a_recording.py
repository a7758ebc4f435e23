"""A file of another format, or a damaged one, is named with the reason; it is not a recording that holds nothing."""

import json

import h5py
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from gymnasium import spaces

from gato_jax.sources import SourceError, open_source, write_bridge_dataset
from gato_jax.sources.contents import MissingFieldsError
from gato_jax.sources.hdf5.datasets import describe_datasets
from tests.sources.made_lerobot import unpack
from tests.sources.made_mcap import arm_messages, write_mcap
from tests.sources.made_rosbag2 import write_bag
from tests.sources.test_minari import buffer, create

CONTENTS = {
    "empty": lambda whole: b"",
    "text": lambda whole: b"no recording\n" * 20,
    "image": lambda whole: b"\x89PNG\r\n\x1a\n" + bytes(200),
    "cut": lambda whole: whole[: len(whole) // 2],
}
LEROBOT = "meta/info.json", "meta/episodes.jsonl", "meta/episodes_stats.jsonl"
FILES = ("hdf5", "parquet", "rosbag2", "mcap", "minari: data/metadata.json", "minari: data/main_data.hdf5")
FILES += ("rlds: dataset_info.json", "rlds: features.json", *(f"lerobot: {name}" for name in LEROBOT))


@pytest.fixture(scope="module")
def whole(tmp_path_factory, arm_episode):
    """Return {kind: (path of the recording, path of the file)} of small recordings without known fields."""
    root = tmp_path_factory.mktemp("whole")
    with h5py.File(root / "a.hdf5", "w") as file:
        file["action"], file["state"] = np.zeros((5, 3)), np.zeros((5, 2))
    pq.write_table(pa.table({"action": np.zeros(100), "state": np.ones(100)}), root / "a.parquet")
    write_mcap(root / "a.mcap", arm_messages(2))
    bag = write_bag(root / "bag", arm_messages(2))
    made = {"hdf5": root / "a.hdf5", "parquet": root / "a.parquet", "mcap": root / "a.mcap", "rosbag2": bag}
    rlds = write_bridge_dataset(root / "rlds", {"train": [arm_episode(0)]}, control_rate_hz=5.0)
    info = json.loads((rlds / "dataset_info.json").read_text())
    (rlds / "dataset_info.json").write_text(json.dumps(info | {"name": "unknown_dataset"}))
    with pytest.MonkeyPatch.context() as patch:
        box = spaces.Box(-np.inf, np.inf, (1,))
        minari = create(root, patch, [buffer(np.zeros((3, 1)), np.zeros((2, 1)))], box, box)
    folders = {"rlds": rlds, "minari": minari, "lerobot": unpack("v2_1_image", root)}
    return {
        name: (folders[kind], folders[kind] / file) if file else (made[kind], made[kind])
        for name in FILES
        for kind, _, file in [name.partition(": ")]
    }


@pytest.mark.parametrize("content", CONTENTS)
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_cannot_be_read_is_named_with_the_reason(whole, name, content):
    (path, file), kind = whole[name], name.partition(":")[0]
    intact = file.read_bytes()
    file.write_bytes(CONTENTS[content](intact))
    try:
        with pytest.raises(SourceError) as raised:
            open_source(f"{kind}:{path}")
    finally:
        file.write_bytes(intact)
    said = str(raised.value)
    assert not isinstance(raised.value, MissingFieldsError) and "It holds" not in said
    assert str(file) in said or file.name in said or str(file.parent) in said
    assert "Error(" not in said and len(said) < 400 + 4 * len(str(file))  # neither a repr nor the content


@pytest.mark.parametrize("name", ["hdf5", "parquet", "rosbag2", "mcap", "minari: data/metadata.json"])
def test_a_whole_recording_without_fields_lists_what_it_holds(whole, name):
    with pytest.raises(SourceError, match="[Ii]t holds:? (action|observations|/joint_states)"):
        open_source(f"{name.partition(':')[0]}:{whole[name][0]}")


def test_recordings_of_ros_without_messages_say_so(tmp_path):
    write_mcap(tmp_path / "a.mcap", [])
    with pytest.raises(SourceError, match="none of 1 files has messages that can be read .*a.mcap: it has no messages"):
        open_source(f"mcap:{tmp_path}")


def test_of_a_minari_dataset_whose_episode_is_damaged_the_episode_is_named(tmp_path, monkeypatch):
    box = spaces.Box(-np.inf, np.inf, (1,))
    folder = create(tmp_path, monkeypatch, [buffer(np.zeros((3, 1)), np.zeros((2, 1)))], box, box)
    with h5py.File(folder / "data" / "main_data.hdf5", "a") as root:
        del root["episode_0/actions"]
    with pytest.raises(
        SourceError, match="expected finite limits, and the fields cannot be listed, because .*episode 0"
    ):
        open_source(f"minari:{folder}")


def test_a_damaged_header_in_hdf5_is_listed_beside_the_others(tmp_path, monkeypatch):
    with h5py.File(tmp_path / "a.hdf5", "w") as root:
        root["action"], root["state"] = np.zeros(3), np.zeros(3)
    getitem = h5py.Group.__getitem__

    def damaged(group, name):
        if name == "action":
            raise KeyError("Unable to synchronously open object (bad object header)")
        return getitem(group, name)

    with h5py.File(tmp_path / "a.hdf5") as root:
        monkeypatch.setattr(h5py.Group, "__getitem__", damaged)
        found = describe_datasets(root)
    assert [(one.path, one.kind) for one in found] == [("action", "damaged"), ("state", "float64")]
