"""Tests of proposed fields: their kinds, limits and remarks, and that a recording converts with them."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, Text, open_dataset
from gato_jax.sources import Fields, SourceError, open_hdf5, open_mcap, propose_fields, write_bridge_dataset
from tests.integration.conftest import gato
from tests.sources.made_hdf5 import aloha
from tests.sources.made_lerobot import unpack
from tests.sources.made_mcap import arm_messages, write_mcap
from tests.sources.test_left_out import write_table

IN_THIS_PROCESS = ("--beam.direct_running_mode=in_memory", "--beam.direct_num_workers=1")


def test_of_hdf5_without_a_known_meaning(tmp_path):
    for steps in (5, 7):
        aloha(tmp_path / f"{steps}.hdf5", steps, compress=False)
    with h5py.File(tmp_path / "5.hdf5") as five, h5py.File(tmp_path / "7.hdf5") as seven:
        actions = np.concatenate([five["action"][:], seven["action"][:]])
    written = tmp_path / "proposed" / "fields.json"
    written.parent.mkdir()
    said = gato("convert", f"--source=hdf5:{tmp_path}", f"--propose_fields={written}")
    assert said.status == 0 and f"fields: {written}, measured on 2 of 2 episodes, 12 steps" in said.out
    assert "uncertain: action.action: the limits are the smallest and largest measured values" in said.out
    fields = Fields.read(written)
    path, action = fields.action["action"]
    np.testing.assert_allclose(action.limits, [actions.min(0), actions.max(0)])
    assert path == "action" and fields.observation["cam_high"] == (
        "observations/images/cam_high", Image(height=64, width=64),
    )  # fmt: skip
    marked = json.loads(written.read_text())
    assert marked["action"]["action"]["#"].startswith("uncertain: ") and "provenance" in marked["#"]
    output = tmp_path / "out"
    done = gato("convert", f"--source=hdf5:{tmp_path}", f"--fields={written}", f"--output={output}", *IN_THIS_PROCESS)
    assert done.status == 0, done.err
    (dataset,) = output.glob("*/1.0.0")
    assert len(open_dataset(dataset)) == 2


def test_of_parquet_with_choices_and_constants(tmp_path):
    write_table(tmp_path / "data" / "a.parquet", action=np.array([0, 1, 2, 3, 1]), reward=np.ones(5), done=[False] * 5)
    proposal = propose_fields(f"parquet:{tmp_path / 'data'}")
    assert (
        proposal.fields.action["action"][1] == Discrete(n=4)
        and "there may be more" in proposal.remarks["action.action"]
    )
    assert proposal.fields.reward == "reward" and "done" in proposal.left_out and "episode_index" in proposal.left_out
    assert proposal.fields.observation["state"] == ("state", Continuous(shape=(2,)))
    write_table(tmp_path / "data" / "a.parquet", action=np.full(5, 0.25))
    proposal = propose_fields(f"parquet:{tmp_path / 'data'}")
    assert proposal.fields.action["action"][1] == Continuous(shape=(), low=(-0.25,), high=(0.75,))
    assert "never change" in proposal.remarks["action.action"]


def test_of_mcap_and_rlds(tmp_path, arm_episode):
    write_mcap(tmp_path / "bags" / "one.mcap", arm_messages())
    proposal = propose_fields(f"mcap:{tmp_path / 'bags'}")
    assert proposal.fields.action == {"command": ("/command", proposal.fields.action["command"][1])}
    assert (
        proposal.fields.observation["instruction"] == ("/instruction", Text()) and proposal.fields.success == "/success"
    )
    assert "control_rate_hz" in proposal.remarks and "/joint_states:name" in proposal.left_out
    assert len(open_mcap(tmp_path / "bags", fields=proposal.fields)) == 1
    directory = write_bridge_dataset(
        tmp_path / "rlds", {"train": [arm_episode(0), arm_episode(1)]}, control_rate_hz=5.0
    )
    info = json.loads((directory / "dataset_info.json").read_text())
    (directory / "dataset_info.json").write_text(json.dumps(info | {"name": "unknown_dataset"}))
    with pytest.raises(
        SourceError, match=r"fields of 'unknown_dataset' are unknown.*observation/state \(float32 \(7,\)\)"
    ):
        propose = gato("convert", f"--source=rlds:{directory}", f"--output={tmp_path / 'out'}")
        raise SourceError(propose.complaint())
    fields = propose_fields(f"rlds:{directory}").fields
    assert fields.action["action"][0] == "action" and fields.observation["state"][0] == "observation/state"
    assert fields.control_rate_hz == 5.0 and fields.reward is not None


def test_what_a_recording_defines_is_kept_and_what_cannot_be_proposed_is_said(tmp_path):
    root = unpack("v2_1_image", tmp_path)
    proposal = propose_fields(f"lerobot:{root}")
    assert proposal.fields.suite == "lerobot" and not proposal.left_out
    write_table(tmp_path / "data" / "a.parquet", action=[None] * 5)
    with h5py.File(tmp_path / "x.hdf5", "w") as file:
        file["position"] = np.zeros((5, 3))
    with pytest.raises(SourceError, match=r"no field has a name like an action.*It holds: position \(float64 \(3,\)\)"):
        propose_fields(f"hdf5:{tmp_path / 'x.hdf5'}#flat")
    with pytest.raises(SourceError, match="such recordings define them"):
        propose_fields("dialogue:chatterbot")
    assert (
        "--output does not apply with --propose_fields"
        in gato("convert", "--source=hdf5:x", "--propose_fields=f", "--output=o").complaint()
    )


def test_remarks_in_fields_are_ignored_and_other_unknown_keys_refused(tmp_path):
    aloha(tmp_path / "5.hdf5", compress=False)
    written = propose_fields(f"hdf5:{tmp_path}").to_json()
    fields = Fields.from_json(written, "f")
    assert fields.to_json() == Fields.from_json(json.loads(json.dumps(written)), "f").to_json()
    with pytest.raises(SourceError, match="f has the unknown key 'remark'"):
        Fields.from_json(written | {"remark": ""}, "f")
    wrong = dataclasses.replace(fields, observation={"qpos": ("observations/qposs", Continuous(shape=(14,)))})
    assert len(open_hdf5(tmp_path, fields=wrong)) == 1  # values are not read on opening
