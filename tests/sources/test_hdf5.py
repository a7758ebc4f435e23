"""Tests of the HDF5 reader on each published layout, intact and damaged."""

import dataclasses
import pickle
import shutil

import h5py
import numpy as np
import pytest

from gato_jax.episodes import Continuous, Image, Text
from gato_jax.sources import EpisodeReader, SourceError, open_source
from gato_jax.sources.hdf5.reader import open_hdf5
from gato_jax.sources.reader import EpisodeRejected
from tests.sources.made_hdf5 import (
    DROID_FIELDS,
    ROBONET_FIELDS,
    SERIALS,
    aloha,
    aloha_fields,
    droid,
    jpeg,
    mp4,
    pictures,
    robomimic,
    robonet,
)


def assert_near(images, expected, within=4.0):
    assert images.shape == expected.shape and np.abs(images.astype(int) - expected).mean() < within


def test_robomimic_says_itself_what_its_fields_mean(tmp_path):
    reader = open_hdf5(robomimic(tmp_path / "low_dim_v141.hdf5"))
    assert isinstance(reader, EpisodeReader) and reader.lengths.tolist() == [5, 6, 7] and reader.rejected == ()
    spec = reader.spec
    assert spec.name == "robomimic/Lift" and spec.control_rate_hz == 20.0 and spec.embodiment.robot == "Panda"
    assert spec.observation == {
        "agentview_image": Image(height=64, width=64),
        "robot0_eef_pos": Continuous(shape=(3,)),
    }
    assert spec.action == {"action": Continuous(shape=(7,), low=-1.0, high=1.0)}
    with h5py.File(tmp_path / "low_dim_v141.hdf5") as root:
        for number, episode in enumerate(reader):
            demo = root[f"data/demo_{number}"]
            np.testing.assert_array_equal(episode.action["action"], demo["actions"][:].astype(np.float32))
            position = demo["obs/robot0_eef_pos"][:].astype(np.float32)
            np.testing.assert_array_equal(episode.observation["robot0_eef_pos"], position)
            assert_near(episode.observation["agentview_image"], pictures(number + 5, 64, 64, number))
            assert episode.episode_return == 1.0 and episode.reward[-1] == 1.0
            assert episode.provenance.kind == "simulated" and episode.task == spec.name
    assert pickle.loads(pickle.dumps(reader))[-1].action["action"].shape == (7, 7)


def test_splits_of_robomimic_are_its_masks(tmp_path):
    file = robomimic(tmp_path / "a.hdf5", masks={"train": [0, 2], "valid": [1], "lost": [1, 9]})
    assert open_hdf5(file).lengths.tolist() == [5, 7]
    assert open_hdf5(file, "valid").lengths.tolist() == [6]
    with pytest.raises(SourceError, match="no split 'test'; it has lost, train, valid"):
        open_hdf5(file, "test")
    lost = open_hdf5(file, "lost")
    assert lost.lengths.tolist() == [6] and lost.rejected[0].location.endswith("data/demo_9")
    with pytest.raises(SourceError, match="no split 'valid'; it has train"):
        open_hdf5(robomimic(tmp_path / "b.hdf5"), "valid")
    assert len({open_hdf5(file, split).fingerprint for split in ("train", "valid")}) == 2


def test_a_layout_that_a_file_does_not_have(tmp_path):
    """A file without the groups `mask` and `data` is named as such, whichever layout the caller names."""
    aloha(tmp_path / "a.hdf5")
    with pytest.raises(SourceError, match=r"a.hdf5: it has another layout than the one named \(no 'data' in '/'\)"):
        open_hdf5(f"{tmp_path}#robomimic", fields=aloha_fields())
    with pytest.raises(SourceError, match="a.hdf5: cannot infer its fields"):
        open_hdf5(f"{tmp_path}#robomimic")
    robomimic(tmp_path / "b.hdf5")
    reader = open_hdf5(f"{tmp_path}#robomimic")
    assert len(reader) == 3 and reader.rejected[0].location.endswith("a.hdf5")
    with h5py.File(tmp_path / "b.hdf5", "a") as root:
        root["mask/train"] = np.array([b"demo_0", b"\xff"])
    with pytest.raises(SourceError, match="b.hdf5: a mask does not hold names of demonstrations"):
        open_hdf5(f"{tmp_path}/b.hdf5")


def test_a_camera_that_holds_a_single_number(tmp_path):
    with h5py.File(robonet(tmp_path / "a.hdf5", encoding="raw"), "a") as root:
        del root["env/cam0_video/frames"]
        root["env/cam0_video/frames"] = 3.0
    with pytest.raises(EpisodeRejected, match="'image' .* is the single value .*3.0.*, expected one for each step"):
        open_hdf5(tmp_path, fields=ROBONET_FIELDS)[0]


def test_robomimic_that_may_be_real_needs_fields(tmp_path):
    with pytest.raises(SourceError, match="environment type is 9, expected 1, 2 or 3.*Pass fields"):
        open_hdf5(robomimic(tmp_path / "real.hdf5", type=9))
    with h5py.File(robomimic(tmp_path / "raw.hdf5"), "a") as root:
        del root["data"].attrs["env_args"]
    with pytest.raises(SourceError, match="raw.hdf5: cannot infer its fields: .*env_args.*Pass fields"):
        open_hdf5(tmp_path / "raw.hdf5")


@pytest.mark.parametrize("compress", [True, False])
def test_aloha_with_raw_and_with_padded_pictures(tmp_path, compress):
    for steps in (5, 40):
        aloha(tmp_path / f"episode_{steps:03}.hdf5", steps, compress=compress, image=pictures(steps, 48, 64) % 251)
    reader = open_hdf5(tmp_path, fields=aloha_fields())
    assert reader.lengths.tolist() == [5, 40]
    assert_near(reader[1].observation["cam_high"], pictures(40, 48, 64) % 251)
    assert reader[0].action["action"].shape == (5, 14) and reader[0].is_last.tolist() == [False] * 4 + [True]
    with pytest.raises(
        SourceError, match=r"limits of its actions. Pass fields.*action \(float32 \(14,\)\).*observations/qpos"
    ):
        open_hdf5(tmp_path)


def test_droid_reads_videos_metadata_and_serial_numbers(tmp_path):
    for number, task in enumerate(("Put the cup on the shelf", "Öffne die Tür")):
        droid(tmp_path / "lab" / "success" / f"episode_{number}", 5 + number, current_task=task, success=number == 0)
    reader = open_hdf5(tmp_path, fields=DROID_FIELDS)
    assert reader.lengths.tolist() == [5, 6]
    first, second = reader
    assert second.observation["instruction"].tolist() == ["Öffne die Tür"] * 6
    assert (first.success, second.success) == (True, False)
    assert_near(first.observation["wrist"], pictures(5, 90, 160))
    assert_near(second.observation["left"], pictures(6, 45, 80, 1))
    assert first.action["gripper"].shape == (5, 1) and first.action["velocity"].shape == (5, 6)
    assert first.provenance.collector == "A. Collector, AUTOLab" and first.provenance.recorded_at == "2023-07-07"
    assert all(serial in first.provenance.serial_numbers for serial in (*SERIALS.values(), "panda-295341-1326595"))
    before = reader.fingerprint
    (video,) = tmp_path.rglob(f"episode_0/recordings/MP4/{SERIALS['wrist_cam_serial']}.mp4")
    video.write_bytes(mp4(pictures(4, 90, 160)))
    reader = open_hdf5(tmp_path, fields=DROID_FIELDS)
    assert reader.fingerprint != before
    with pytest.raises(EpisodeRejected, match="different lengths: 4 of observation 'wrist'"):
        reader[0]
    video.write_bytes(video.read_bytes()[:-200])
    with pytest.raises(EpisodeRejected, match="episode_0/trajectory.h5: recordings/MP4/18026681.mp4 cannot be decoded"):
        reader[0]
    video.unlink()
    with pytest.raises(EpisodeRejected, match="no file recordings/MP4/18026681.mp4"):
        reader[0]
    assert len(reader[1]) == 6


@pytest.mark.parametrize("encoding", ["mp4", "jpg", "raw"])
@pytest.mark.parametrize("image_format", ["RGB", "BGR"])
def test_robonet_leaves_out_what_follows_the_last_action(tmp_path, encoding, image_format):
    file = robonet(tmp_path / "berkeley_sawyer_traj1.hdf5", encoding=encoding, image_format=image_format)
    (episode,) = open_hdf5(file, fields=ROBONET_FIELDS)
    assert len(episode) == 5
    assert_near(episode.observation["image"], pictures(6, 48, 64)[:-1], within=2.0)
    with h5py.File(file) as root:
        np.testing.assert_array_equal(episode.observation["state"], root["env/state"][:5].astype(np.float32))


def test_flat_files_hold_whatever_is_named(tmp_path):
    text, files = h5py.string_dtype(), h5py.vlen_dtype(np.uint8)
    with h5py.File(tmp_path / "one.h5", "w") as root:
        root["deep/er/action"] = np.linspace(0, 1, 12).reshape(4, 3)
        root.create_dataset("instruction", data="push", dtype=text)
        root.create_dataset("alone", data=["push"], dtype=text)
        root.create_dataset("each", data=list("abcd"), dtype=text)
        encoded = root.create_dataset("encoded", (4,), dtype=files)
        for step, picture in enumerate(pictures(4, 16, 16)):
            encoded[step] = np.frombuffer(jpeg(picture), np.uint8)
        root["fixed"] = np.array([jpeg(picture) for picture in pictures(4, 16, 16)], dtype="S")
        root["soft"] = h5py.SoftLink("/deep/er")
    fields = aloha_fields(
        observation={key: (key, Text()) for key in ("instruction", "alone", "each")}
        | {key: (key, Image(height=16, width=16)) for key in ("encoded", "fixed")},
        action={"action": ("soft/action[1:3]", Continuous(shape=(2,), low=0.0, high=1.0))},
    )
    with pytest.raises(SourceError, match=r"one.h5: its layout is unknown; it holds alone, deep/er/action.*#flat"):
        open_hdf5(tmp_path, fields=fields)
    (episode,) = open_hdf5(f"{tmp_path}#flat", fields=fields)
    assert episode.action["action"][1].tolist() == pytest.approx([4 / 11, 5 / 11])
    assert episode.observation["instruction"].tolist() == episode.observation["alone"].tolist() == ["push"] * 4
    assert "".join(episode.observation["each"]) == "abcd"
    assert_near(episode.observation["encoded"], pictures(4, 16, 16))
    np.testing.assert_array_equal(episode.observation["encoded"], episode.observation["fixed"])


def test_a_layout_is_asked_for_where_there_are_two(tmp_path):
    file = aloha(tmp_path / "both.hdf5")
    with h5py.File(robonet(tmp_path / "robonet.hdf5")) as other, h5py.File(file, "a") as root:
        for name in ("env", "policy"):
            other.copy(name, root)
    with pytest.raises(
        SourceError, match="both.hdf5: its layout may be aloha or robonet.*Append the layout to the path"
    ):
        open_hdf5(file, fields=aloha_fields())
    assert len(open_hdf5(f"{file}#aloha", fields=aloha_fields())) == 1
    with pytest.raises(SourceError, match="no layout 'alooha'; nearest known: 'aloha'"):
        open_hdf5(f"{file}#alooha")
    with pytest.raises(SourceError, match="no \\*.hdf5 or \\*.h5"):
        open_hdf5(tmp_path / "absent")


def nan_actions(root):
    root["action"][2, 3] = np.nan


def other_dtype(root):
    del root["action"]
    root["action"] = np.full((5, 14), b"0.5")


def opaque(root):
    del root["observations/qpos"]
    root["observations/qpos"] = np.void(pickle.dumps(print))


def references(root):
    del root["observations/qpos"]
    root.create_dataset("observations/qpos", (5,), dtype=h5py.ref_dtype)


def missing_field(root):
    del root["observations/qpos"]


def time_backwards(root):
    root["time"][3] = root["time"][1]


def torn_picture(root):
    size = int(root["compress_len"][0, 3])
    root["observations/images/cam_high"][3, size - 60 :] = 0


def external_link(root):
    del root["observations/qpos"]
    root["observations/qpos"] = h5py.ExternalLink("/etc/passwd", "/")


def external_values(root):
    del root["observations/qpos"]
    root.create_dataset("observations/qpos", (5, 14), np.float32, external=[("/etc/passwd", 0, 280)])


def values_of_another(root):
    del root["observations/qpos"]
    layout = h5py.VirtualLayout((5, 14), np.float32)
    layout[:] = h5py.VirtualSource("other.hdf5", "action", (5, 14))
    root.create_virtual_dataset("observations/qpos", layout)


def endless_link(root):
    del root["observations/qpos"]
    root["observations/qpos"] = h5py.SoftLink("/observations/qpos")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (nan_actions, r"action 'action' \(field 'action'\) is nan at step 2"),
        (other_dtype, r"action 'action' \(field 'action'\) has type \|S3, expected numbers"),
        (opaque, r"observation 'qpos' .* has type \|V\d+, expected numbers"),
        (references, "'observations/qpos' holds .*expected numbers, text or images"),
        (missing_field, r"no field 'observations/qpos' \(no 'qpos' in '/observations'\)"),
        (time_backwards, "time goes from 2.0 to 1.0 at step 3"),
        (torn_picture, "cam_high'.* at step 3 cannot be decoded"),
        (external_link, "'observations/qpos' is a link to another file, '/etc/passwd'"),
        (external_values, "'observations/qpos' stores its values in other files"),
        (values_of_another, "'observations/qpos' stores its values in other files"),
        (endless_link, "/observations/qpos' is behind more than 16 links"),
    ],
)
def test_a_damaged_episode_is_refused_and_the_others_stay(tmp_path, damage, message):
    for number in range(2):
        with h5py.File(aloha(tmp_path / f"episode_{number}.hdf5"), "a") as root:
            root["time"] = np.arange(5.0)
            if number == 0:
                damage(root)
    reader = open_hdf5(tmp_path, fields=aloha_fields(timestamps="time"))
    with pytest.raises(EpisodeRejected, match=f"episode_0.hdf5: .*{message}") as caught:
        reader[0]
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert len(reader[1]) == 5


def test_damage_that_is_seen_at_opening_is_listed(tmp_path):
    for name in ("a_short", "b_empty", "c_without", "d_text", "e_whole"):
        aloha(tmp_path / f"{name}.hdf5", 0 if name == "b_empty" else 5, compress=False)
    short = tmp_path / "a_short.hdf5"
    short.write_bytes(short.read_bytes()[:-1000])
    with h5py.File(tmp_path / "c_without.hdf5", "a") as root:
        del root["action"]
    (tmp_path / "d_text.hdf5").write_text("404: not found")
    outside = tmp_path / "elsewhere"
    outside.mkdir()
    folder = tmp_path / "folder"
    folder.mkdir()
    for file in tmp_path.glob("*.hdf5"):
        shutil.move(file, folder)
    (folder / "f_link.hdf5").symlink_to(aloha(outside / "secret.hdf5"))
    reader = open_hdf5(folder, fields=aloha_fields())
    assert reader.lengths.tolist() == [5] and "e_whole" in str(reader.addresses[0][0])
    reasons = {rejection.location.rpartition("/")[2]: rejection.reason for rejection in reader.rejected}
    assert "truncated" in reasons["a_short.hdf5"] and "no steps" in reasons["b_empty.hdf5"]
    assert "no field 'action'" in reasons["c_without.hdf5"] and "cannot be read" in reasons["d_text.hdf5"]
    assert "outside of its folder" in reasons["f_link.hdf5"] and len(reasons) == 5
    (folder / "e_whole.hdf5").unlink()
    with pytest.raises(SourceError, match="no episode that can be read.*a_short.hdf5"):
        open_hdf5(folder, fields=aloha_fields())
    for name in ("b_empty", "c_without"):
        (folder / f"{name}.hdf5").unlink()
    with pytest.raises(SourceError, match="a_short.hdf5: it cannot be read"):
        open_hdf5(folder)


def test_a_chunk_of_another_size_than_its_values_is_damage(tmp_path):
    """HDF5 stores a chunk without compression where a filter is skipped, and reads past the end of a short one."""
    for name, kept in (("a_short", 200), ("b_whole", 280)):
        with h5py.File(aloha(tmp_path / f"{name}.hdf5"), "a") as root:
            values = root["action"][:]
            del root["action"]
            root.create_dataset("action", values.shape, values.dtype, chunks=values.shape, compression="gzip")
            root["action"].id.write_direct_chunk((0, 0), values.tobytes()[:kept], filter_mask=1)
    with h5py.File(aloha(tmp_path / "c_with_a_checksum.hdf5"), "a") as root:
        del root["action"]
        root.create_dataset("action", data=values, chunks=values.shape, shuffle=True, fletcher32=True)
    reader = open_hdf5(tmp_path, fields=aloha_fields())
    [short] = reader.rejected
    assert short.location.endswith("a_short.hdf5")
    assert short.reason == "'action' has a damaged chunk at (0, 0). Copy the file again."
    for episode in reader:
        np.testing.assert_array_equal(episode.action["action"], values)
    assert len(reader) == 2


def test_a_name_that_leads_to_nothing_is_damage(tmp_path):
    """Names are found by a binary search, so that one that is damaged is listed and not found."""
    file = robomimic(tmp_path / "a.hdf5")
    content = file.read_bytes()
    assert content.count(b"demo_1\0") == 1
    file.write_bytes(content.replace(b"demo_1\0", b"zemo_1\0"))
    with pytest.raises(SourceError, match="a.hdf5: '/data' lists 'zemo_1', which does not exist. Copy the file again"):
        open_hdf5(file)


def test_a_flipped_byte_in_a_compressed_picture_is_seen(tmp_path):
    file = robomimic(tmp_path / "a.hdf5", lengths=(5, 5))
    with h5py.File(file) as root:
        chunk = root["data/demo_0/obs/agentview_image"].id.get_chunk_info(2)
    content = bytearray(file.read_bytes())
    content[chunk.byte_offset + chunk.size // 2] ^= 0xFF
    file.write_bytes(content)
    reader = open_hdf5(file)
    with pytest.raises(EpisodeRejected, match="a.hdf5: data/demo_0: it cannot be read and may be truncated or damaged"):
        reader[0]
    assert len(reader[1]) == 5


def test_a_camera_of_another_size_is_refused(tmp_path):
    aloha(tmp_path / "episode_0.hdf5", image=pictures(5, 24, 32))
    fields = aloha_fields(recorded_sizes={"cam_high": (48, 64)})
    with pytest.raises(EpisodeRejected, match="at step 0 is 24 high and 32 wide, expected 48 and 64"):
        open_hdf5(tmp_path, fields=fields)[0]


@pytest.mark.parametrize(
    ("metadata", "change", "message"),
    [
        ({"wrist_cam_serial": "../../../other/18026681"}, {}, "lies outside of its folder"),
        ({"date": "yesterday"}, {}, "recorded_at is 'yesterday'"),
        (
            {"wrist_cam_serial": "1"},
            {},
            "no field 'recordings/MP4/{wrist_cam_serial}.mp4' .no file recordings/MP4/1.mp4",
        ),
        ({}, {"success": "metadata/grade"}, "no field 'metadata/grade'"),
    ],
)
def test_metadata_of_droid_cannot_lead_astray(tmp_path, metadata, change, message):
    droid(tmp_path / "episode", **metadata)
    reader = open_hdf5(tmp_path, fields=dataclasses.replace(DROID_FIELDS, **change))
    with pytest.raises(EpisodeRejected, match=message):
        reader[0]


def test_a_list_of_files_that_is_named_a_video_is_not_followed(tmp_path):
    droid(tmp_path / "episode")
    (video,) = tmp_path.rglob("22008760.mp4")
    video.write_text("ffconcat version 1.0\nfile '18026681.mp4'\n")
    with pytest.raises(EpisodeRejected, match="22008760.mp4 cannot be decoded"):
        open_hdf5(tmp_path, fields=DROID_FIELDS)[0]


def test_the_fields_lie_beside_the_recordings(tmp_path):
    aloha(tmp_path / "one.hdf5")
    aloha_fields(task="found").write(tmp_path / "fields.json")
    assert open_source(f"hdf5:{tmp_path}").spec.name == "aloha/found"
    assert open_source(f"hdf5:{tmp_path / 'one.hdf5'}#aloha").spec.name == "aloha/found"
    assert open_source(f"hdf5:{tmp_path}", fields=aloha_fields()).spec.name == "aloha/cups"
    (tmp_path / "fields.json").write_text("{")
    with pytest.raises(SourceError, match="fields.json: cannot be read as fields"):
        open_source(f"hdf5:{tmp_path}")
