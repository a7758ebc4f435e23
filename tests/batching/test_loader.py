"""The loader gives the same batches from any step on, with any number of threads, and says where tokens come from."""

import grain
import jax
import numpy as np
import pytest

from gato_jax.batching import Loader, Mixture, MixtureError
from gato_jax.batching.batch import collate
from gato_jax.tokenization import Layout, Tokenization
from tests.tokenization.made_tasks import ALL, random_episode

STEPS = 6


@pytest.fixture(scope="module")
def mixture(records):
    return Mixture.uniform(records, batch_size=6, context=64, seed=5, window=2)


@pytest.fixture(scope="module")
def batches(mixture):
    return list(Loader(mixture, steps=STEPS))


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, two in zip(found, expected, strict=True):
        jax.tree.map(np.testing.assert_array_equal, one, two)


@pytest.mark.parametrize("first_step", range(STEPS + 1))
def test_it_goes_on_from_any_step(mixture, batches, first_step):
    assert_same(list(Loader(mixture, steps=STEPS, first_step=first_step)), batches[first_step:])


@pytest.mark.parametrize("threads", [1, 4])
def test_threads_and_prefetching_change_nothing(mixture, batches, threads):
    assert_same(list(Loader(mixture, steps=STEPS, threads=threads, prefetch=threads)), batches)


def test_its_state_is_one_number(mixture, batches):
    state = Loader(mixture, steps=STEPS).state_at(2)
    assert state == {"next_step": 2, "mixture": mixture.fingerprint}
    assert_same(list(Loader(mixture, steps=STEPS, first_step=state["next_step"])), batches[2:])


def test_all_batches_have_the_shapes_of_the_budgets(mixture, batches):
    for batch in batches:
        assert batch.token_ids.shape == batch.episode_ids.shape == (6, 64)
        assert batch.patches.shape == (1, mixture.budgets().patches, 16, 16, 3)


def test_padding_is_segment_0_of_no_episode(batches):
    for batch in batches:
        padding = batch.segment_ids == 0
        assert padding.any() and not batch.loss_mask[padding].any() and not batch.token_ids[padding].any()
        np.testing.assert_array_equal(batch.episode_ids == -1, padding)


def test_patches_lie_at_their_slots(mixture, batches):
    """A patch has no id and its place is behind every slot when it is padding."""
    for batch in batches:
        real = batch.patch_slots < batch.token_ids.size
        slots = batch.patch_slots[real]
        assert len(set(slots)) == len(slots) and not batch.token_ids.reshape(-1)[slots].any()
        assert not batch.patches[~real].any() and (batch.patch_slots[~real] == batch.token_ids.size).all()


def test_episode_ids_trace_tokens_to_their_episode(records, batches):
    """Every run of one episode's tokens is found, as it is, among the tokens of that very episode."""
    for batch in batches[:2]:
        for b, dataset in enumerate(batch.dataset_ids):
            spec = ALL[dataset]
            lengths = records[spec.task].index.episode_steps
            runs = np.stack([batch.segment_ids[b], batch.prompt_mask[b], batch.episode_ids[b]])
            borders = np.flatnonzero((np.diff(runs) != 0).any(axis=0)) + 1
            for run in np.split(np.arange(64), borders):
                episode = int(batch.episode_ids[b, run[0]])
                if episode == -1:
                    continue
                steps = Layout(spec, Tokenization()).encode_timesteps(
                    random_episode(spec, episode, int(lengths[episode]))
                )
                source = np.concatenate([step.token_ids for step in steps]).tobytes()
                assert batch.token_ids[b, run].tobytes() in source


def test_more_patches_than_the_budget_are_an_error(mixture):
    rows = [mixture.build(row)[1] for row in range(6)]
    with pytest.raises(ValueError, match="over its pool's budget 1"):
        collate(rows, range(6), [0] * 6, context=64, patch=16, patch_budget=1)


@pytest.mark.parametrize("pools", [2, 3, 6])
def test_pools_hold_the_same_rows_dealt_out_with_their_patches(mixture, batches, pools):
    dealt = list(Loader(mixture, steps=STEPS, pools=pools))
    for one, many in zip(batches, dealt, strict=True):
        at = {int(row): place for place, row in enumerate(many.row_ids)}
        order = [at[int(row)] for row in one.row_ids]
        assert sorted(at) == sorted(one.row_ids.tolist())
        for name in ("token_ids", "loss_mask", "segment_ids", "episode_ids", "dataset_ids"):
            np.testing.assert_array_equal(getattr(many, name)[order], getattr(one, name), err_msg=name)
        np.testing.assert_array_equal(vectors(many, 64)[order], vectors(one, 64))


@pytest.mark.parametrize("local", [[0], [1, 2], [2]])
def test_a_host_loads_only_its_own_pools(mixture, local):
    whole = next(Loader(mixture, steps=STEPS, pools=3))
    part = next(Loader(mixture, steps=STEPS, pools=3, local=local))
    rows = np.concatenate([np.arange(2) + 2 * pool for pool in local])
    np.testing.assert_array_equal(part.token_ids, whole.token_ids[rows])
    np.testing.assert_array_equal(part.patch_slots, whole.patch_slots[local])
    np.testing.assert_array_equal(part.patches, whole.patches[local])


def test_every_pool_looks_like_the_mixture(mixture):
    """Of each dataset no pool has two rows more than another."""
    datasets = next(Loader(mixture, steps=STEPS, pools=3)).dataset_ids.reshape(3, 2)
    counts = np.stack([np.bincount(pool, minlength=len(mixture.names)) for pool in datasets])
    assert (np.ptp(counts, axis=0) <= 1).all()


def test_rows_that_cannot_be_dealt_out_evenly_are_refused(mixture):
    with pytest.raises(MixtureError, match="batch_size 6 is no multiple of 4, the devices that rows are spread over"):
        Loader(mixture, steps=STEPS, pools=4)


def vectors(batch, context):
    """(B, T, p, p, C) the patch at each position."""
    made = np.zeros((len(batch.token_ids) * context + 1, 16, 16, 3), np.uint8)
    in_pool = len(batch.token_ids) // len(batch.patch_slots) * context
    for pool, (slots, patches) in enumerate(zip(batch.patch_slots, batch.patches, strict=True)):
        made[np.where(slots < in_pool, slots + pool * in_pool, len(made) - 1)] = patches
    return made[:-1].reshape(len(batch.token_ids), context, 16, 16, 3)


def test_grain_finds_the_same_batches_after_every_checkpoint(records):
    """Of five kinds of sources, one of which runs out many times."""
    kinds = ("control", "grid", "game", "caption", "dialogue")
    made = {kind: records[kind] for kind in kinds}
    loader = Loader(Mixture.uniform(made, batch_size=10, context=96, seed=0, window=2), steps=10)
    assert min(loader.mixture.epochs(10)) >= 1
    grain.experimental.assert_equal_output_after_checkpoint(loader.dataset.map(vars))


def test_one_then_four_then_two_hosts_see_the_rows_of_one(records):
    made = Mixture.uniform(records, batch_size=8, context=64, seed=5, window=2)
    whole = list(Loader(made, steps=9))
    step = 0
    for hosts in (1, 4, 2):
        loaders = [
            Loader(made, steps=9, first_step=step, pools=4, local=range(host * 4 // hosts, (host + 1) * 4 // hosts))
            for host in range(hosts)
        ]
        for _ in range(3):
            parts = [next(loader) for loader in loaders]
            rows = np.concatenate([part.row_ids for part in parts])
            assert sorted(rows) == sorted(whole[step].row_ids)
            order = np.argsort(rows)
            for name in ("token_ids", "loss_mask", "segment_ids", "episode_ids", "dataset_ids"):
                found = np.concatenate([getattr(part, name) for part in parts])[order]
                np.testing.assert_array_equal(found, getattr(whole[step], name))
            step += 1
        assert len({str(loader.state_at(step)) for loader in loaders}) == 1


def test_it_says_when_a_dataset_has_run_out(records, caplog):
    chosen = {kind: records[kind] for kind in ("control", "game")}
    made = Mixture.uniform(chosen, batch_size=4, context=64, seed=0, window=1)
    with caplog.at_level("INFO"):
        list(Loader(made, steps=20))
    said = [record.getMessage() for record in caplog.records]
    assert any(line.endswith("control was seen whole, its epoch 2 begins") for line in said)
    for name, epoch in zip(made.names, made.epochs(20), strict=True):
        assert sum(name in line for line in said) == epoch.bit_length()
