"""Damage to the files of a checkpoint is named before anything is restored, and a run goes on from the one before."""

import asyncio
import contextlib
import gc
import random
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest

from gato_jax.checkpoints import (
    CheckpointError,
    CheckpointStore,
    DamagedCheckpointError,
    restore_agent,
    set_aside_damaged,
    store,
)
from gato_jax.training import TrainState
from tests.checkpoints.made_checkpoint import ABOUT, flip, largest_file, shapes_on


@pytest.fixture
def run(saved, tmp_path):
    """A copy of the run's folder with the checkpoints of steps 10 and 20."""
    return shutil.copytree(saved, tmp_path / "run")


@pytest.fixture
def checkpoint(run):
    return run / "checkpoints" / "20"


@pytest.fixture
def restore(run, params, moments):
    """Restores all that the newest checkpoint holds."""
    mesh = jax.sharding.Mesh(np.reshape(jax.devices()[:1], (1, 1)), ("data", "fsdp"))
    like = shapes_on(mesh, TrainState(params, moments, jnp.int32(0)))

    def everything():
        with contextlib.closing(CheckpointStore(run, read_only=True)) as opened:
            step = opened.latest_step()
            state, loader = opened.restore_training(step, like)
            agent = opened.restore_agent()
        return (agent.params, state), (step, loader, agent.model, agent.contract, agent.run)

    return everything


def flips(folder, count, seed):
    """(file, bit) of single bits to flip: in turn of each file below a folder, at a place that is drawn."""
    files, rng = sorted(path for path in folder.rglob("*") if path.is_file()), random.Random(seed)
    rng.shuffle(files)
    return [(path, rng.randrange(8 * path.stat().st_size)) for path in (files * count)[:count]]


def assert_refused_or_harmless(checkpoint, restore, count, seed):
    arrays, rest = restore()
    refused = 0
    for path, bit in flips(checkpoint, count, seed):
        content = path.read_bytes()
        flip(path, bit)
        try:
            found, found_rest = restore()
        except DamagedCheckpointError as error:
            refused += 1
            assert str(error).startswith(f"checkpoint {checkpoint} cannot be restored: {path.relative_to(checkpoint)}")
            assert f"The checkpoint before it, {checkpoint.with_name('10')}, is undamaged" in str(error)
        else:
            jax.tree.map(np.testing.assert_array_equal, found, arrays)
            assert found_rest == rest
        path.write_bytes(content)
    assert refused > count / 2


def test_a_flipped_bit_is_refused_by_name_or_harmless(checkpoint, restore):
    assert_refused_or_harmless(checkpoint, restore, count=8, seed=1)


@pytest.mark.slow
def test_each_of_200_flipped_bits_is_refused_by_name_or_harmless(checkpoint, restore):
    assert_refused_or_harmless(checkpoint, restore, count=200, seed=2)


@pytest.mark.parametrize("item", ["params", "optimizer", "loader", "about"])
@pytest.mark.parametrize("damage", ["cut", "gone"])
def test_a_damaged_file_of_each_item_is_one_line(checkpoint, restore, item, damage, caplog, capfd):
    path = largest_file(checkpoint / item)
    name = path.relative_to(checkpoint)
    if damage == "cut":
        expected = f"{name} has {path.stat().st_size // 2} bytes, expected {path.stat().st_size}"
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    else:
        expected = f"{name} is missing"
        path.unlink()
    with pytest.raises(DamagedCheckpointError) as error:
        restore()
    assert str(error.value) == (
        f"checkpoint {checkpoint} cannot be restored: {expected}. The checkpoint before it, "
        f"{checkpoint.with_name('10')}, is undamaged: train with --on_damage=previous to go on from there."
    )
    assert not caplog.records and capfd.readouterr() == ("", "")


def test_an_item_or_the_checksums_that_are_gone_are_named(checkpoint, run):
    (checkpoint / "checksums.json").rename(checkpoint / "elsewhere")
    with pytest.raises(DamagedCheckpointError, match="cannot be restored: checksums.json is missing"):
        restore_agent(run)
    (checkpoint / "elsewhere").rename(checkpoint / "checksums.json")
    shutil.rmtree(checkpoint / "params")
    with pytest.raises(DamagedCheckpointError, match=r"cannot be restored: params/\S+ is missing"):
        restore_agent(run)
    shutil.rmtree(checkpoint)
    assert restore_agent(run).step == 10


def test_a_run_from_before_checksums_opens_with_one_warning_and_goes_on_with_them(
    run, restore, params, moments, caplog
):
    verified = restore()
    for folder in (run / "checkpoints").iterdir():
        (folder / "checksums.json").unlink()
    unverified = restore()
    jax.tree.map(np.testing.assert_array_equal, unverified[0], verified[0])
    assert unverified[1] == verified[1] and set_aside_damaged(run) == 20
    [record] = caplog.records
    assert f"the checkpoints in {run / 'checkpoints'} are from a version" in record.message
    largest_file(run / "checkpoints" / "20" / "params").unlink()
    with pytest.raises(CheckpointError, match="checkpoints/20 cannot be restored: "):
        restore()
    with contextlib.closing(CheckpointStore(run, keep=None)) as opened:
        opened.save(30, TrainState(params, moments, 30), loader={}, **ABOUT)
    assert restore_agent(run).step == 30
    (run / "checkpoints" / "30" / "checksums.json").unlink()  # which is then as old as the others to all appearance
    assert restore_agent(run).step == 30


def test_the_errors_of_arrays_beside_the_first_are_not_logged_later(run, monkeypatch, caplog):
    def fail(self, step, args):
        loop = asyncio.new_event_loop()
        unread = loop.create_future()
        unread.set_exception(ValueError("of a second array"))
        loop.close()
        cycle = [unread]
        cycle.append(cycle)  # so that only the garbage collector frees the future, which logs its error then
        raise ValueError("of the first array")

    monkeypatch.setattr(ocp.CheckpointManager, "restore", fail)
    with pytest.raises(CheckpointError, match="checkpoints/20 cannot be restored: of the first array; remove"):
        restore_agent(run)
    gc.collect()
    assert not caplog.records


def test_a_damaged_checkpoint_before_is_not_named_as_a_remedy(checkpoint, restore):
    for folder in (checkpoint, checkpoint.with_name("10")):
        flip(largest_file(folder / "optimizer"), 99)
    with pytest.raises(DamagedCheckpointError, match="No checkpoint before it is undamaged; train in another folder"):
        restore()


def test_a_run_goes_back_from_damage_and_writes_the_step_again(checkpoint, run, restore, params, moments, caplog):
    flip(largest_file(checkpoint / "optimizer"), 12345)
    assert set_aside_damaged(run) == 10
    aside = checkpoint.with_name("20.damaged")
    assert f"checkpoint {checkpoint} is damaged: optimizer/" in caplog.text
    assert f"It is kept as {aside}, and the run goes on from step 10." in caplog.text
    assert aside.is_dir() and not checkpoint.exists()
    for again in range(2):
        with contextlib.closing(CheckpointStore(run)) as opened:
            assert opened.latest_step() == 10
            opened.save(20, TrainState(params, moments, 20), loader={"next_step": 20}, **ABOUT)
        assert restore()[1][0] == 20 and aside.is_dir()
        if not again:  # a second time, beside what the first one left
            flip(largest_file(checkpoint / "params"), 0)
            assert set_aside_damaged(run) == 10


def test_without_damage_nothing_is_set_aside(run, restore, tmp_path):
    assert set_aside_damaged(run) == 20 and restore()[1][0] == 20
    assert set_aside_damaged(tmp_path) is None and not (tmp_path / "checkpoints").exists()


def test_where_every_checkpoint_is_damaged_none_is_set_aside(checkpoint, run):
    for folder in (checkpoint, checkpoint.with_name("10")):
        flip(largest_file(folder / "params"), 99)
    before = sorted(run.rglob("*"))
    with pytest.raises(DamagedCheckpointError, match="is undamaged: of the newest one, 20, params/"):
        set_aside_damaged(run)
    assert sorted(run.rglob("*")) == before


def test_a_checkpoint_without_checksums_is_not_complete(run, params, moments, monkeypatch):
    def no_space(folder):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(store, "write_checksums", no_space)
    opened = CheckpointStore(run)
    opened.save(30, TrainState(params, moments, 30), loader={}, **ABOUT)
    with pytest.raises(CheckpointError, match="No space left on device"):
        opened.wait()
    assert restore_agent(run).step == 20


def test_a_step_before_the_newest_checkpoint_is_not_skipped_in_silence(run, params, moments):
    with (
        contextlib.closing(CheckpointStore(run)) as opened,
        pytest.raises(CheckpointError, match="cannot write step 15, there is a checkpoint of step 20"),
    ):
        opened.save(15, TrainState(params, moments, 15), loader={}, **ABOUT)
