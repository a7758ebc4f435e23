"""Tests of HDF5 files with several episodes or their own instructions: D4RL, groups, ManiSkill, LIBERO, RoboCasa."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from gato_jax.episodes import Text
from gato_jax.sources.hdf5 import open_hdf5
from gato_jax.sources.reader import EpisodeRejected, SourceError
from tests.sources.made_hdf5 import D4RL_FIELDS, GROUP_FIELDS, d4rl, groups, libero, robomimic


def first_values(reader) -> list[list[float]]:
    """Return the first number of each observation, episode by episode."""
    return [next(iter(episode.observation.values()))[:, 0].tolist() for episode in reader]


def test_flat_arrays_of_d4rl_are_cut_at_terminals_and_timeouts(tmp_path):
    reader = open_hdf5(d4rl(tmp_path / "hopper.hdf5"), fields=D4RL_FIELDS)
    assert reader.lengths.tolist() == [3, 3, 4, 2]
    assert first_values(reader) == [[0, 1, 2], [3, 4, 5], [6, 7, 8, 9], [10, 11]]
    episodes = list(reader)
    assert [episode.reward.tolist() for episode in episodes] == first_values(reader)
    assert [episode.action["action"][0, 0] for episode in episodes] == pytest.approx([0, 3 / 12, 6 / 12, 10 / 12])
    assert [bool(episode.is_terminal[-1]) for episode in episodes] == [True, False, True, False]
    assert [episode.discount[-1] for episode in episodes] == [0, 1, 0, 1]
    assert all(episode.is_last[-1] for episode in episodes)


def test_d4rl_without_ends_is_one_episode_and_without_timeouts_none(tmp_path):
    assert first_values(open_hdf5(d4rl(tmp_path / "a.hdf5", (), ()), fields=D4RL_FIELDS)) == [list(range(12))]
    file = d4rl(tmp_path / "b.hdf5", timeouts=None)
    with pytest.raises(SourceError, match="its layout is unknown; .*#d4rl has actions and terminals and timeouts"):
        open_hdf5(file, fields=D4RL_FIELDS)
    with pytest.raises(SourceError, match="has no timeouts, without which episodes .* Add them"):
        open_hdf5(f"{file}#d4rl", fields=D4RL_FIELDS)


@pytest.mark.parametrize(
    "path, values, message",
    [
        ("timeouts", np.zeros(11, bool), "12 terminals and 11 timeouts"),
        ("terminals", np.full(12, np.nan), "'terminals' has shape .*, expected a 0 or 1 for each row"),
        ("timeouts", np.zeros((12, 2), bool), "'timeouts' has shape .*, expected a 0 or 1 for each row"),
        ("terminals", np.zeros(12, [("x", "f4")]), "'terminals' has shape .*, expected a 0 or 1 for each row"),
        ("timeouts", np.dtype("f8"), "'timeouts' has shape None, expected a 0 or 1 for each row"),  # a named type
    ],
)
def test_d4rl_with_damaged_ends_is_refused(tmp_path, path, values, message):
    with h5py.File(d4rl(tmp_path / "a.hdf5"), "a") as root:
        del root[path]
        root[path] = values
    with pytest.raises(SourceError, match=message):
        open_hdf5(tmp_path, fields=D4RL_FIELDS)


def test_d4rl_with_an_array_of_another_length_is_rejected(tmp_path):
    with h5py.File(d4rl(tmp_path / "a.hdf5"), "a") as root:
        del root["rewards"]
        root["rewards"] = np.zeros(13)
    with pytest.raises(EpisodeRejected, match="rows 3 to 5.*'rewards' has 13 rows, terminals have 12"):
        open_hdf5(tmp_path, fields=D4RL_FIELDS)[1]


@pytest.mark.parametrize(
    "path, values, message",
    [
        ("terminals", np.arange(12) == 5, "'terminals' tells of 2 episodes, .* Name the layout #d4rl"),
        ("timeouts", np.arange(12) % 4 == 3, "'timeouts' tells of 3 episodes, .* Name the layout #d4rl"),
        ("is_first", np.arange(12) % 6 == 0, "'is_first' tells of 2 episodes, .* Write one file for each"),
        ("episode_index", np.arange(12) // 3, "'episode_index' tells of 4 episodes"),
        ("meta/episode_ends", np.array([4, 8, 12]), "'meta/episode_ends' tells of 3 episodes"),
        ("ep_len", np.array([6, 6]), "'ep_len' tells of 2 episodes"),
    ],
)
def test_flat_refuses_files_of_several_episodes(tmp_path, path, values, message):
    with h5py.File(d4rl(tmp_path / "a.hdf5", (11,), ()), "a") as root:
        assert len(open_hdf5(f"{tmp_path}#flat", fields=D4RL_FIELDS)[0]) == 12  # terminals at the end only
        if path in root:
            del root[path]
        root[path] = values
    with pytest.raises(SourceError, match=message):
        open_hdf5(f"{tmp_path}#flat", fields=D4RL_FIELDS)


@pytest.mark.parametrize(
    "names",
    [
        ("episode_0", "episode_1", "episode_10"),
        ("data/ep1", "data/ep2", "data/ep03"),
        ("Trajectory-7", "Trajectory-8", "Trajectory-9"),
    ],
)
def test_one_group_for_each_episode(tmp_path, names):
    reader = open_hdf5(groups(tmp_path / "a.h5", names), fields=GROUP_FIELDS)
    assert first_values(reader) == [[0, 1, 2, 3], [10, 11, 12, 13, 14], [20, 21, 22, 23, 24, 25]]
    with pytest.raises(SourceError, match=r"Its datasets are: actions \(4, 1\), obs \(4, 3\)|fields"):
        open_hdf5(tmp_path)


def test_a_name_that_is_not_utf8_is_listed_and_the_episodes_are_read(tmp_path):
    with h5py.File(groups(tmp_path / "a.h5"), "a") as root:
        root[b"\xaf"] = [1.0]
    reader = open_hdf5(f"{tmp_path}#maniskill", fields=GROUP_FIELDS)
    assert first_values(reader) == [[0, 1, 2, 3], [10, 11, 12, 13, 14]]
    assert any("a.h5: its content cannot be listed" in str(one) or "utf-8" in str(one) for one in reader.left_out)


def test_groups_of_groups_are_splits(tmp_path):
    file = groups(tmp_path / "a.h5", ("train/demo_0", "train/demo_1", "val/demo_0"))
    assert first_values(open_hdf5(file, fields=GROUP_FIELDS)) == [[0, 1, 2, 3], [10, 11, 12, 13, 14]]
    assert first_values(open_hdf5(file, "val", fields=GROUP_FIELDS)) == [[20, 21, 22, 23, 24, 25]]
    with pytest.raises(SourceError, match="no split 'test'; it has train, val"):
        open_hdf5(file, "test", fields=GROUP_FIELDS)


def test_observations_after_the_last_action_are_dropped_for_maniskill_alone(tmp_path):
    reader = open_hdf5(groups(tmp_path / "a.h5", ("traj_0", "traj_3"), final=1), fields=GROUP_FIELDS)
    assert first_values(reader) == [[0, 1, 2, 3], [10, 11, 12, 13, 14]]
    other = open_hdf5(groups(tmp_path / "b.h5", final=1), fields=GROUP_FIELDS)
    with pytest.raises(EpisodeRejected, match="b.h5: episode_0"):
        other[0]


def test_a_libero_file_is_a_task_with_its_instruction(tmp_path):
    spoon, stove = (
        libero(tmp_path / "spoon.hdf5", "put the spoon on the plate"),
        libero(tmp_path / "stove.hdf5", ["turn", "on", "the", "stove"]),
    )
    first, second = open_hdf5(spoon).spec, open_hdf5(stove).spec
    assert first.instructions == ("put the spoon on the plate",) and second.instructions == ("turn on the stove",)
    assert first.name == "robomimic/Libero_Kitchen_Tabletop_Manipulation/put_the_spoon_on_the_plate"
    assert second.name == "robomimic/Libero_Kitchen_Tabletop_Manipulation/turn_on_the_stove"
    with pytest.raises(SourceError, match=r"hold 2 tasks, .*spoon.hdf5.*stove.hdf5.*Open one file at a time"):
        open_hdf5(tmp_path)
    fields = dataclasses.replace(
        GROUP_FIELDS,
        observation={"instruction": ("problem_info/language_instruction", Text())},
        action={"action": ("actions[0:1]", GROUP_FIELDS.action["action"][1])},
    )
    said = [episode.observation["instruction"][0] for episode in open_hdf5(tmp_path, fields=fields)]
    assert said == ["put the spoon on the plate"] * 2 + ["turn on the stove"] * 2


def test_robomimic_files_of_different_environments_are_not_one_task(tmp_path):
    robomimic(tmp_path / "lift.hdf5")
    robomimic(tmp_path / "can.hdf5", env_name="PickPlaceCan")
    with pytest.raises(SourceError, match="hold 2 tasks, .*PickPlaceCan.*Lift"):
        open_hdf5(tmp_path)


@pytest.mark.parametrize("instruction", [7, "", {"a": 1}])
def test_a_damaged_instruction_of_libero_is_refused(tmp_path, instruction):
    with pytest.raises(SourceError, match="language_instruction is .*, expected text"):
        open_hdf5(libero(tmp_path / "a.hdf5", instruction))


def test_the_instruction_of_each_robocasa_episode_is_an_observation(tmp_path):
    with h5py.File(robomimic(tmp_path / "a.hdf5"), "a") as root:
        for number in range(3):
            about = {"lang": f"open drawer {number}", "layout_id": number}
            root[f"data/demo_{number}"].attrs["ep_meta"] = json.dumps(about)
    said = [set(episode.observation["instruction"]) for episode in open_hdf5(tmp_path)]
    assert said == [{"open drawer 0"}, {"open drawer 1"}, {"open drawer 2"}]


def test_demonstrations_need_not_begin_at_0(tmp_path):
    with h5py.File(robomimic(tmp_path / "a.hdf5"), "a") as root:
        del root["data/demo_0"]
    assert open_hdf5(tmp_path).lengths.tolist() == [6, 7]
