"""What is saved is restored, onto any mesh; what is missing, damaged or full is one clear error."""

import contextlib
import errno
import os

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from gato_jax.checkpoints import CheckpointError, CheckpointStore, model_from_json
from gato_jax.checkpoints.checksums import write_checksums
from gato_jax.checkpoints.store import model_to_json
from gato_jax.model import ModelConfig
from gato_jax.training import TrainState
from tests.checkpoints.made_checkpoint import ABOUT, CONTRACT, RUN, shapes_on
from tests.model.made_model import TINY
from tests.runtime.made_bucket import upload_folder


def assert_same(found, expected):
    assert jax.tree.structure(found) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_an_agent_is_restored_from_the_newest_checkpoint(saved, params):
    agent = CheckpointStore(saved, read_only=True).restore_agent()
    assert agent.step == 20 and agent.model == TINY and agent.run == RUN
    assert agent.contract == CONTRACT and agent.contract.fingerprint == CONTRACT.fingerprint
    assert_same(agent.params, params)


@pytest.mark.parametrize("shape", [(1, 1), (8, 1), (1, 8), (2, 4)])
def test_training_is_restored_with_optimizer_and_loader_onto_any_mesh(saved, params, moments, shape):
    devices = np.reshape(jax.devices()[: shape[0] * shape[1]], shape)
    mesh = jax.sharding.Mesh(devices, ("data", "fsdp"), axis_types=(jax.sharding.AxisType.Auto,) * 2)
    wanted = shapes_on(mesh, TrainState(params, moments, jnp.int32(0)))
    found, loader = CheckpointStore(saved, read_only=True).restore_training(20, wanted)
    assert_same((found.params, found.optimizer), (params, moments))
    assert int(found.step) == 20 and loader == {"next_step": 20} and found.average is None
    for leaf, like in zip(jax.tree.leaves(found), jax.tree.leaves(wanted), strict=True):
        assert leaf.sharding == like.sharding


def test_where_there_is_an_average_the_agent_acts_with_it(params, moments, tmp_path):
    average = jax.tree.map(lambda leaf: leaf + 1, params)
    run = {**RUN, "optimizer": {"ema_decay": 0.9}}
    with contextlib.closing(CheckpointStore(tmp_path)) as store:
        store.save(1, TrainState(params, moments, 1, average), loader={}, **{**ABOUT, "run": run})
    store = CheckpointStore(tmp_path, read_only=True)
    assert_same(store.restore_agent().params, average)
    mesh = jax.sharding.Mesh(np.reshape(jax.devices()[:1], (1, 1)), ("data", "fsdp"))
    state, _ = store.restore_training(1, shapes_on(mesh, TrainState(params, moments, jnp.int32(0), average)))
    assert_same((state.params, state.average), (params, average))


def test_what_a_checkpoint_is_about_is_read_without_its_arrays(saved):
    about = CheckpointStore(saved, read_only=True).about(10)
    assert about["run"] == RUN and model_from_json(about["model"]) == TINY


def test_model_configs_come_back_from_json():
    assert model_from_json(model_to_json(TINY)) == TINY
    other = ModelConfig(layers=1, width=32, heads=1, head_size=4, hidden=8, bin_init="fourier")
    assert model_from_json(model_to_json(other)) == other != TINY


def test_only_the_newest_are_kept(saved, params, moments, tmp_path):
    store = CheckpointStore(tmp_path, keep=2)
    for step in (1, 2, 3):
        store.save(step, TrainState(params, moments, step), loader={}, **ABOUT)
    store.wait()
    assert steps_in(tmp_path) == [2, 3]


def test_checkpoints_of_every_so_many_steps_are_kept_for_good(params, moments, tmp_path):
    with contextlib.closing(CheckpointStore(tmp_path, keep=1, keep_every=2)) as store:
        for step in (1, 2, 3, 4, 5):
            store.save(step, TrainState(params, moments, step), loader={}, **ABOUT)
    assert steps_in(tmp_path) == [2, 4, 5]


def steps_in(workdir):
    return sorted(int(path.name) for path in (workdir / "checkpoints").iterdir() if path.name.isdigit())


def test_a_folder_without_checkpoints_is_named(tmp_path):
    with pytest.raises(CheckpointError, match=f"no checkpoints in {tmp_path}; train there first"):
        CheckpointStore(tmp_path, read_only=True)
    (tmp_path / "checkpoints").mkdir()
    with pytest.raises(CheckpointError, match=f"no finished checkpoint in {tmp_path}/checkpoints; train there first"):
        CheckpointStore(tmp_path, read_only=True).restore_agent()


def test_a_file_where_the_folder_should_be_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/file/checkpoints: Not a directory; .* another --workdir"):
        CheckpointStore(tmp_path / "file")


def test_a_checkpoint_that_was_being_written_does_not_count(saved, tmp_path):
    (tmp_path / "checkpoints" / "30.orbax-checkpoint-tmp-1").mkdir(parents=True)
    assert CheckpointStore(tmp_path, read_only=True).latest_step() is None


@pytest.mark.parametrize("item", ["params", "about"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_checkpoint_is_named(params, moments, tmp_path, item, damage):
    store = CheckpointStore(tmp_path)
    store.save(1, TrainState(params, moments, 1), loader={}, **ABOUT)
    store.wait()
    store.close()
    folder = tmp_path / "checkpoints" / "1" / item
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if damage == "gone":
            path.unlink()
        else:
            path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match=f"checkpoint {tmp_path}/checkpoints/1 cannot be restored"):
        CheckpointStore(tmp_path, read_only=True).restore_agent()


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ValueError("RESOURCE_EXHAUSTED: Error writing local file: No space left on device\nmore"),
    ],
    ids=["here", "in the background"],
)
def test_a_disk_that_fills_up_is_one_clear_error(tmp_path, monkeypatch, error):
    def no_space(self):
        raise error

    store = CheckpointStore(tmp_path)
    monkeypatch.setattr(type(store._manager), "wait_until_finished", no_space)
    with pytest.raises(CheckpointError, match="No space left on device; free space and run again"):
        store.wait()


def test_a_run_that_was_copied_to_a_bucket_has_its_whole_checkpoints(tmp_path, bucket):
    for step in (1, 2):
        folder = tmp_path / "checkpoints" / str(step)
        (folder / "params").mkdir(parents=True)
        (folder / "params" / "array").write_bytes(b"12")
        write_checksums(epath.Path(folder))
    run = upload_folder(tmp_path, f"{bucket}/run")
    (run / "checkpoints" / "2" / "params" / "array").write_bytes(b"1")  # cut short
    assert CheckpointStore(run, read_only=True).latest_step() == 1
