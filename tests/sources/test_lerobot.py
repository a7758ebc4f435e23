"""Tests of the LeRobot reader on datasets that LeRobot wrote: equality with LeRobot's own reading, and damage."""

import dataclasses
import io
import json
import pickle
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import numpy as np
import PIL.Image
import pyarrow as pa
import pytest

from gato_jax.episodes import Continuous, Image, Provenance, Text
from gato_jax.sources.fields import Fields
from gato_jax.sources.lerobot.inferred import infer_fields
from gato_jax.sources.lerobot.metadata import read_metadata
from gato_jax.sources.lerobot.reader import open_lerobot
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError
from tests.sources.made_lerobot import GOLDENS, NAMES, change_info, data_file, rewrite, unpack, video_file, with_column

FRONT, WRIST = "observation.images.front", "observation.images.wrist"
LENGTHS = [5, 7, 4]
ARM = Fields(
    suite="real",
    task="push",
    observation={"state": ("observation.state[0:3]", Continuous(shape=(3,)))},
    action={"action": ("action", Continuous(shape=(3,), low=-1.0, high=1.0))},
    provenance=Provenance(source="a laboratory", licence="MIT", kind="real"),
)


@pytest.fixture(params=NAMES)
def root(request, tmp_path):
    return unpack(request.param, tmp_path)


def check_reading(root: Path, goldens: Path):
    """Compare our reading of a dataset with LeRobot's: bit-equal, except for the rounding of video decoders."""
    with np.load(goldens / f"{root.name}.npz") as file:
        read = dict(file)
    fields, _ = infer_fields(read_metadata(root))
    episodes = list(open_lerobot(root, fields=fields.with_image_size(32, 48)))
    joined = {
        "task": [text for episode in episodes for text in episode.observation["instruction"]],
        "observation.state": np.concatenate([episode.observation["state"] for episode in episodes]),
        "action": np.concatenate([episode.action["action"] for episode in episodes]),
        "next.reward": np.concatenate([episode.reward for episode in episodes]).reshape(read["next.reward"].shape),
    }
    for key, values in joined.items():
        np.testing.assert_array_equal(values, read[key])
        assert key == "task" or values.dtype == read[key].dtype
    ends = np.cumsum(LENGTHS) - 1
    assert [episode.success for episode in episodes] == read["next.success"].reshape(-1)[ends].tolist()
    for key, name in (("images/front", FRONT), ("images/wrist", WRIST)):
        pixels = np.concatenate([episode.observation[key] for episode in episodes])[read["shown"]]
        difference = np.abs(pixels.astype(int) - read[name])
        assert difference.max() <= (2 if "video" in root.name else 0)


def test_our_reading_is_lerobots_own(root):
    check_reading(root, GOLDENS)


@pytest.mark.slow
@pytest.mark.timeout(3000)  # packages of several GB are downloaded
@pytest.mark.parametrize("packages", [("lerobot==0.4.4",), ("lerobot==0.3.3", "numpy<2.4")])
def test_our_reading_is_lerobots_own_of_what_it_writes_now(packages, tmp_path):
    venv.create(tmp_path / "env", with_pip=True)
    python = str(tmp_path / "env/bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True, timeout=2500)
    goldens = tmp_path / "goldens"
    script = Path(__file__).parent / "record_lerobot_goldens.py"
    subprocess.run([python, str(script), str(goldens)], check=True, timeout=300)
    written = sorted(file.stem for file in goldens.glob("*.zip"))
    assert set(written) < set(NAMES) and len(written) == 2
    for name in written:
        check_reading(unpack(name, tmp_path, goldens), goldens)


def test_the_spec_is_what_the_dataset_declares(root):
    reader = open_lerobot(root)
    spec = reader.spec
    assert isinstance(reader, EpisodeReader) and reader.lengths.tolist() == LENGTHS and reader.rejected == ()
    assert spec.name == f"lerobot/{root.name}" and spec.metric == "success" and spec.control_rate_hz == 10
    image = Image(height=64, width=64)
    assert spec.observation == {
        "instruction": Text(), "images/front": image, "images/wrist": image, "state": Continuous(shape=(6,)),
    }  # fmt: skip
    assert spec.embodiment.robot == "so100_follower"
    assert [camera.key for camera in spec.embodiment.cameras] == ["images/front", "images/wrist"]
    actions = np.concatenate([episode.action["action"] for episode in reader])
    low, high = spec.action["action"].limits
    np.testing.assert_allclose(low, [*actions.min(0)[:2], 0.0], rtol=1e-6)  # the gripper stays at 0.5
    np.testing.assert_allclose(high, [*actions.max(0)[:2], 1.0], rtol=1e-6)
    episode = reader[-1]
    assert episode.observation["images/front"].shape == (4, 64, 64, 3) and len(episode) == 4 and episode.success
    assert episode.provenance.equipment == "so100_follower"


def test_what_was_inferred_is_said(v3):
    (v3 / "README.md").write_text("---\ntask_categories:\n- robotics\nlicense: apache-2.0\n---\nlicense: none")
    change_info(v3, lambda info: info["features"].update({"observation.note": {"dtype": "language", "shape": [1]}}))
    fields, notes = infer_fields(read_metadata(v3))
    assert fields.provenance.licence == "apache-2.0" and fields.recorded_sizes["images/front"] == (32, 48)
    said = "\n".join(notes)
    for part in (
        "the limits of action are the smallest and",
        "elements [2]",
        "real equipment is assumed",
        "observation.note",
    ):
        assert part in said
    assert Fields.from_json(json.loads(json.dumps(fields.to_json())), "here") == fields


def test_fields_choose_and_readers_travel(root):
    reader = open_lerobot(root, fields=ARM)
    whole = open_lerobot(root)[1].observation["state"]
    sent = pickle.loads(pickle.dumps(reader))
    np.testing.assert_array_equal(sent[1].observation["state"], whole[:, :3])
    assert sent[1].provenance.source == "a laboratory" and not sent[1].reward.any() and sent[1].success is None
    with pytest.raises(SourceError, match=r"no feature 'observation.stat'; nearest known: 'observation.state'"):
        open_lerobot(root, fields=dataclasses.replace(ARM, reward="observation.stat"))


def test_splits_are_those_of_the_info(root):
    change_info(root, lambda info: info.update(splits={"train": "0:2", "val": "2:3"}))
    assert open_lerobot(root).lengths.tolist() == [5, 7] and open_lerobot(root, "val").lengths.tolist() == [4]
    assert open_lerobot(root, "val")[0].observation["instruction"].tolist() == ["push the block"] * 4
    with pytest.raises(SourceError, match="no split 'test'. Its splits: train, val"):
        open_lerobot(root, "test")


def test_the_fingerprint_changes_with_the_data(root):
    before = open_lerobot(root).fingerprint
    assert open_lerobot(root).fingerprint == before and open_lerobot(root, fields=ARM).fingerprint != before
    rewrite(data_file(root, 1), with_column("action", lambda rows: rows[::-1]))
    assert open_lerobot(root).fingerprint != before


def test_row_groups_do_not_matter(v3):
    before = list(open_lerobot(v3))
    rewrite(data_file(v3, 0), lambda table: table)
    for one, other in zip(before, open_lerobot(v3), strict=True):
        np.testing.assert_array_equal(one.action["action"], other.action["action"])


def test_an_episode_that_is_not_done_was_cut_off(v2):
    change_info(v2, lambda info: info["features"].update({"next.done": {"dtype": "bool", "shape": [1], "names": None}}))
    for number, done in enumerate((True, False, True)):
        rewrite(data_file(v2, number), lambda table, done=done: table.append_column("next.done", [[done] * len(table)]))
    terminal = [episode.is_terminal[-1] for episode in open_lerobot(v2)]
    assert terminal == [True, False, True] and open_lerobot(v2)[1].discount.tolist() == [1.0] * 7


def set_value(step: int, value):
    return lambda values: [*values[:step], value, *values[step + 1 :]]


NAN = float("nan")
DAMAGED_COLUMNS = {  # name -> (change of the rows of episode 1, expected message)
    "no finite number": (with_column("action", set_value(3, [0.0, NAN, 0.0])), "action 'action'.*is nan at step 3"),
    "another dtype": (with_column("action", lambda rows: ["left"] * 7, pa.string()), "'action'.*has type"),
    "another length": (
        with_column("action", lambda rows: [row[:2] for row in rows], pa.list_(pa.float32())),
        r"shape \(2,\) at each step, expected \(3,\)",
    ),
    "lists of several lengths": (
        with_column("action", set_value(2, [0.5]), pa.list_(pa.float32())),
        "'action' has 1 to 3 elements at a step, expected one",
    ),
    "null": (with_column("action", set_value(1, None), pa.list_(pa.float32())), "'action' holds 1 null values"),
    "a missing field": (lambda table: table.drop_columns("action"), "it has no field 'action'; its columns are "),
    "a missing index": (lambda table: table.drop_columns("frame_index"), "it has no field 'frame_index'"),
    "time backwards": (with_column("timestamp", set_value(4, 0.05)), "time goes from .* at step 4"),
    "a frame too few": (
        with_column("frame_index", lambda rows: [0, 1, 3, 4, 5, 6, 7]),
        r"its frame_index is \[0, 1, 3, 4, .* expected \[0, 1, 2, 3",
    ),
    "another episode": (
        with_column("episode_index", set_value(6, 2)),
        r"its episode_index is \[1, 1, 1, 1, 1, 1, 2\], expected \[1, 1",
    ),
    "an unknown task": (with_column("task_index", set_value(0, 9)), "its task_index is 9, expected one of the 2 tasks"),
    "another time": (with_column("timestamp", set_value(6, 9.0)), "has no frame at 9.0000 s"),
}


@pytest.mark.parametrize("name", DAMAGED_COLUMNS)
def test_damaged_rows_are_rejected_and_the_rest_is_read(v2, name):
    change, said = DAMAGED_COLUMNS[name]
    rewrite(data_file(v2, 1), change)
    reader = open_lerobot(v2)
    with pytest.raises(EpisodeRejected, match=f"episode_000001.parquet: episode 1: .*{said}"):
        reader[1]
    assert len(reader[0]) == 5 and len(reader[2]) == 4


def test_damaged_rows_among_those_of_others_are_rejected(v3):
    rewrite(data_file(v3, 1), with_column("action", set_value(5 + 3, [0.0, NAN, 0.0])))
    reader = open_lerobot(v3)
    with pytest.raises(EpisodeRejected, match="file-000.parquet: episode 1: action 'action'.* is nan at step 3"):
        reader[1]
    assert len(reader[0]) == 5 and len(reader[2]) == 4


def test_damage_that_is_seen_at_once_is_listed(v2):
    file = data_file(v2, 0)
    file.write_bytes(file.read_bytes()[:-100])
    video_file(v2, WRIST, 1).unlink()
    reader = open_lerobot(v2)
    assert reader.lengths.tolist() == [4] and len(reader[0]) == 4
    (one, cut, _), (two, lost, _) = reader.rejected
    assert one.endswith("episode_000000.parquet: episode 0") and "the Parquet file cannot be read" in cut
    assert two.endswith("episode_000001.parquet: episode 1") and "does not exist" in lost
    data_file(v2, 2).unlink()
    with pytest.raises(SourceError, match="split 'train' has no episode that can be read. The first of 3 .*episode 0"):
        open_lerobot(v2)


def test_empty_episodes_and_too_few_rows_are_listed(v2):
    lines = (v2 / "meta/episodes.jsonl").read_text().replace('"length": 5', '"length": 0')
    (v2 / "meta/episodes.jsonl").write_text(lines.replace('"length": 7', '"length": 8'))
    reader = open_lerobot(v2)
    assert [reason for _, reason, _ in reader.rejected] == [
        "it has no steps, expected 1 or more",
        "its file has 7 rows, expected 8 or more. Download it again.",
    ]
    assert len(reader[0]) == 4


def test_damaged_videos_are_rejected_and_the_rest_is_read(v2, tmp_path):
    video = video_file(v2, FRONT, 1)
    whole = video.read_bytes()
    video.write_bytes(whole[: len(whole) // 2])
    reader = open_lerobot(v2)
    with pytest.raises(EpisodeRejected, match="episode 1: episode_000001.mp4"):
        reader[1]
    shutil.copy(video_file(v2, FRONT, 2), video)
    with pytest.raises(EpisodeRejected, match="has no frame at 0.4000 s for step 4"):
        reader[1]
    assert len(reader[0]) == 5 and len(reader[2]) == 4


def test_another_size_of_a_camera_is_refused(root):
    change_info(
        root, lambda info: info["features"][WRIST].update(shape=[3, 24, 48], names=["channels", "height", "width"])
    )
    with pytest.raises(EpisodeRejected, match="'images/wrist'.* is 32 high and 48 wide, expected 24 and 48"):
        open_lerobot(root)[0]
    assert len(open_lerobot(root, fields=ARM)[0]) == 5


def test_a_video_that_is_not_as_long_as_its_episode_is_listed(v3):
    rewrite(
        v3 / "meta/episodes/chunk-000/file-000.parquet", with_column(f"videos/{FRONT}/to_timestamp", set_value(1, 1.0))
    )
    reader = open_lerobot(v3)
    assert (
        reader.lengths.tolist() == [5, 4]
        and "has 5.0 frames, expected one for each of 7 steps" in reader.rejected[0].reason
    )


def test_images_of_16_bits_are_refused_or_converted(tmp_path):
    root, file = unpack("v3_0_image", tmp_path), io.BytesIO()
    depth = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48) * 3
    PIL.Image.fromarray(depth).save(file, "PNG")
    rewrite(data_file(root, 0), with_column(FRONT, lambda rows: [{"bytes": file.getvalue(), "path": ""} for _ in rows]))
    with pytest.raises(EpisodeRejected, match=r"'images/front'.*is uint16 of shape \(32, 48, 1\), expected uint8"):
        open_lerobot(root)[0]
    observation = {"depth": (f"depth({FRONT}, 500, 4000)", Image(height=32, width=48, channels=1))}
    episode = open_lerobot(root, fields=dataclasses.replace(ARM, observation=observation))[0]
    expected = np.rint(255 * np.clip((depth - 500.0) / 3500, 0, 1))
    np.testing.assert_array_equal(episode.observation["depth"][0, ..., 0], np.where(depth > 0, expected, 0))


def test_only_images_within_the_file_are_read(tmp_path):
    root = unpack("v3_0_image", tmp_path)
    outside = [{"bytes": None, "path": "/etc/hostname"}]
    rewrite(data_file(root, 0), with_column(FRONT, lambda rows: rows[:6] + outside + rows[7:]))
    reader = open_lerobot(root)
    with pytest.raises(EpisodeRejected, match="only the path '/etc/hostname' at step 1.* Embed its bytes"):
        reader[1]
    rewrite(data_file(root, 0), with_column(FRONT, lambda rows: rows[:6] + [{"bytes": b"GIF?", "path": ""}] + rows[7:]))
    with pytest.raises(EpisodeRejected, match="'images/front'.* at step 1 cannot be decoded"):
        open_lerobot(root)[1]
    assert len(reader[0]) == 5


def test_a_flipped_byte_is_refused_or_stays_within_the_numbers(v2):
    file, random, refused = data_file(v2, 1), np.random.default_rng(0), 0
    whole = file.read_bytes()
    for position in random.integers(0, len(whole), 60):
        file.write_bytes(whole[:position] + bytes([whole[position] ^ 0xFF]) + whole[position + 1 :])
        reader = open_lerobot(v2, fields=ARM)
        try:
            refused += len(reader) == 2  # found on opening
            assert len(reader) == 2 or reader[1].action["action"].shape == (7, 3)
        except EpisodeRejected as error:
            assert "episode 1: " in str(error)
            refused += 1
        assert len(reader[0]) == 5
    assert refused > 10


def test_pyarrow_and_av_are_imported_when_they_are_needed():
    modules = "gato_jax.sources.lerobot.reader, gato_jax.sources.parquet.reader"
    code = f"import sys, {modules}; assert not {{'pyarrow', 'av'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
