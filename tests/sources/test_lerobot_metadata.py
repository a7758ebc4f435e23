"""LeRobot's folder meta: paths, tasks, lists of episodes and statistics that are damaged or foreign."""

import dataclasses
import json

import numpy as np
import pytest

from gato_jax.episodes import Text
from gato_jax.sources.lerobot.reader import open_lerobot
from gato_jax.sources.reader import EpisodeRejected, SourceError
from tests.sources.made_lerobot import change_info, rewrite, unpack, with_column
from tests.sources.test_lerobot import ARM, FRONT


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


@pytest.mark.parametrize(
    "line",
    [
        b"{",
        b'{"task_index": 1}',
        b'{"task_index": 1, "task": "\xff"}',
        b'{"task_index": 1, "task": 7}',
        b'{"task_index": 1.5, "task": "lift"}',
    ],
)
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
