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


@pytest.fixture
def v2(tmp_path):
    return unpack("v2_1_video", tmp_path)


@pytest.fixture
def v3(tmp_path):
    return unpack("v3_0_video", tmp_path)


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


@pytest.mark.parametrize(
    "template",
    ["data_path", "video_path"],
)
def test_paths_that_lead_out_of_the_folder_are_refused(v2, template):
    change_info(v2, lambda info: info.update({template: "../elsewhere/{episode_index:06d}"}))
    with pytest.raises(SourceError, match="'../elsewhere/000000', which lies outside of its folder"):
        open_lerobot(v2)


def test_a_camera_whose_name_leads_out_of_the_folder_is_refused(v2):
    change_info(v2, lambda info: info["features"].update({"../../../../etc": info["features"].pop(FRONT)}))
    with pytest.raises(SourceError, match="lies outside of its folder"):
        open_lerobot(v2)


def test_templates_are_no_programs(v2):
    change_info(v2, lambda info: info.update(data_path="{episode_index.__class__}/{episode_index:0999999999d}"))
    with pytest.raises(SourceError, match="cannot be read"):
        open_lerobot(v2)


def replace_line(file, number, line):
    lines = file.read_bytes().split(b"\n")
    lines[number] = line
    file.write_bytes(b"\n".join(lines))


def test_instructions_matter_only_where_they_are_wanted(v2):
    with_text = open_lerobot(v2)
    (v2 / "meta/tasks.jsonl").unlink()
    assert open_lerobot(v2, fields=ARM)[0].action["action"].shape == (5, 3)
    without = open_lerobot(v2)
    assert set(with_text.spec.observation) - set(without.spec.observation) == {"instruction"}
    np.testing.assert_array_equal(without[1].action["action"], with_text[1].action["action"])
    wanted = dataclasses.replace(ARM, observation={**ARM.observation, "instruction": ("task", Text())})
    message = "instructions of .*: No such file or directory: .*meta/tasks.jsonl. Download it again, or give fields"
    with pytest.raises(SourceError, match=message):
        open_lerobot(v2, fields=wanted)


@pytest.mark.parametrize("line", [b"{", b'{"task_index": 1}', b'{"task_index": 1, "task": "\xff"}'])
def test_a_damaged_task_rejects_the_episodes_that_need_it(v2, line):
    whole = open_lerobot(v2)
    said = [episode.observation["instruction"][0] for episode in whole]
    numbers = [json.loads(line)["task"] for line in (v2 / "meta/tasks.jsonl").read_bytes().split(b"\n") if line]
    replace_line(v2 / "meta/tasks.jsonl", 1, line)
    reader = open_lerobot(v2)
    for position, text in enumerate(said):
        if text == numbers[1]:
            with pytest.raises(EpisodeRejected, match="its task_index is 1, .*meta/tasks.jsonl, line 2: it holds no"):
                reader[position]
        else:
            assert reader[position].observation["instruction"][0] == text
    assert len(set(said)) > 1


def test_a_task_with_two_instructions_has_none(v2):
    with (v2 / "meta/tasks.jsonl").open("a") as file:
        file.write('{"task_index": 0, "task": "another one"}\n')
    with pytest.raises(EpisodeRejected, match="its task_index is 0, .*task_index 0 has two instructions"):
        list(open_lerobot(v2))


@pytest.mark.parametrize("separator", ["\u2028", "\x85", "\x0b", "\x1c"])
def test_only_newlines_end_a_line(v2, separator):
    task = f"push{separator}the T"
    replace_line(v2 / "meta/tasks.jsonl", 0, json.dumps({"task_index": 0, "task": task}, ensure_ascii=False).encode())
    if separator < " ":
        replace_line(v2 / "meta/tasks.jsonl", 0, json.dumps({"task_index": 0, "task": task}).encode())
    said = {text for episode in open_lerobot(v2) for text in episode.observation["instruction"]}
    assert task in said


@pytest.mark.parametrize("line", [b"", b"{", b'{"episode_index": 1}', b'{"episode_index": 0, "length": 5}'])
def test_a_damaged_line_rejects_one_episode(v2, line):
    whole = open_lerobot(v2)
    replace_line(v2 / "meta/episodes.jsonl", 1, line)
    if not line:  # nothing is there to be rejected
        with pytest.raises(SourceError, match="lists 2 of 3 episodes"):
            open_lerobot(v2)
        return
    reader = open_lerobot(v2)
    twice = b"length" in line
    assert len(reader) == 3 - 1 - twice and len(reader.rejected) == 1 + twice
    assert str(v2 / ("data" if twice else "meta/episodes.jsonl, line 2")) in reader.rejected[0].location
    np.testing.assert_array_equal(reader[-1].action["action"], whole[2].action["action"])


@pytest.mark.parametrize("column", ["length", "episode_index"])
@pytest.mark.parametrize("row", [0, 1])
def test_a_damaged_row_rejects_one_episode(tmp_path, column, row):
    root = unpack("v3_0_video", tmp_path)
    whole = open_lerobot(root)
    (file,) = (root / "meta/episodes").glob("*/*.parquet")
    rewrite(file, with_column(column, lambda values: [None if at == row else one for at, one in enumerate(values)]))
    reader = open_lerobot(root)
    assert [part[:2] for part in reader.rejected] == [(f"{file}, row {row}", f"its {column} is null")]
    for episode, other in zip(reader, [one for at, one in enumerate(whole) if at != row], strict=True):
        np.testing.assert_array_equal(episode.action["action"], other.action["action"])


BAD_METADATA = {  # name -> (change of the folder, expected message)
    "no info": (
        lambda root: (root / "meta/info.json").unlink(),
        "not the info of a LeRobot dataset .* Give the folder",
    ),
    "no JSON": (
        lambda root: (root / "meta/info.json").write_text("{"),
        "info.json is not the info of a LeRobot dataset",
    ),
    "an old format": (
        lambda root: change_info(root, lambda info: info.update(codebase_version="v1.6")),
        "codebase_version is 'v1.6', expected one of v2.0, v2.1, v3.0. Convert it",
    ),
    "bad splits": (
        lambda root: change_info(root, lambda info: info.update(splits={"train": "half"})),
        "not the info of a LeRobot dataset",
    ),
    "no rate": (
        lambda root: change_info(root, lambda info: info.update(fps=0)),
        "fps is 0.0, expected a positive number. Correct it",
    ),
    "an episode lost": (
        lambda root: change_info(root, lambda info: info.update(total_episodes=4)),
        "lists 3 of 4 episodes",
    ),
    "a damaged line": (lambda root: (root / "meta/episodes.jsonl").write_text('{"episode_index": '), "damaged"),
    "no list of episodes": (
        lambda root: (root / "meta/episodes.jsonl").unlink(),
        "it is damaged .No such file or directory: .*meta/episodes.jsonl.. Download it again",
    ),
    "no statistics": (
        lambda root: (root / "meta/episodes_stats.jsonl").unlink(),
        "the limits of 'action': .* has no statistics of it .* Give fields with limits",
    ),
    "no action": (
        lambda root: change_info(root, lambda info: info["features"].pop("action")),
        "none of its features is an action",
    ),
    "an image of no channels": (
        lambda root: change_info(root, lambda info: info["features"][FRONT].update(shape=[32, 48, 7])),
        "expected height, width and 1 or 3 channels. Give fields",
    ),
}


@pytest.mark.parametrize("name", BAD_METADATA)
def test_damaged_metadata_say_what_and_the_remedy(v2, name):
    change, said = BAD_METADATA[name]
    change(v2)
    with pytest.raises(SourceError, match=said):
        open_lerobot(v2)


def test_damaged_tables_of_episodes_say_so(v3):
    file = v3 / "meta/episodes/chunk-000/file-000.parquet"
    rewrite(file, lambda table: table.drop_columns("length"))
    with pytest.raises(SourceError, match="file-000.parquet: it has no column 'length'"):
        open_lerobot(v3)
    file.write_bytes(file.read_bytes()[:-9])
    with pytest.raises(SourceError, match="the Parquet file cannot be read .* Download it again"):
        open_lerobot(v3)


def test_version_2_0_has_its_statistics_in_one_file(v2):
    lines = [json.loads(line)["stats"] for line in (v2 / "meta/episodes_stats.jsonl").read_text().splitlines()]
    (v2 / "meta/episodes_stats.jsonl").unlink()
    (v2 / "meta/stats.json").write_text(json.dumps(lines[0]))
    change_info(v2, lambda info: info.update(codebase_version="v2.0"))
    low, _ = open_lerobot(v2).spec.action["action"].limits
    assert low[0] == lines[0]["action"]["min"][0]


def test_pyarrow_and_av_are_imported_when_they_are_needed():
    modules = "gato_jax.sources.lerobot.reader, gato_jax.sources.parquet.reader"
    code = f"import sys, {modules}; assert not {{'pyarrow', 'av'}} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
