"""Any row is found without those before it, each dataset has its share, and epochs leave nothing out."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_jax.batching.schedule import _BLOCK, _FEW, Epochs, Schedule


@given(st.lists(st.floats(0.01, 10), min_size=1, max_size=6), st.integers(1, 40), st.integers(0, 99))
@settings(max_examples=30, deadline=None)
def test_rows_of_a_dataset_are_numbered_without_a_gap(weights, batch_size, seed):
    schedule, seen = Schedule(np.array(weights) / sum(weights), batch_size, seed), Counter()
    for step in range(60):
        np.testing.assert_array_equal(schedule.rows_before(step), [seen[d] for d in range(len(weights))])
        for slot in range(batch_size):
            dataset, number = schedule.locate(step, slot)
            assert number == seen[dataset]
            seen[dataset] += 1


def test_the_numbers_go_on_over_blocks_of_steps():
    shares = np.array([0.3, 0.45, 0.2, 0.05])
    seen = np.zeros(4, int)
    walked = Schedule(shares, 8, 3)
    for step in range(2 * _BLOCK + 3):
        if step % _BLOCK in (0, 1, _BLOCK - 1):
            for asked in (walked, Schedule(shares, 8, 3)):  # one that was asked for all steps before, one for none
                np.testing.assert_array_equal(asked.rows_before(step), seen)
        for slot in range(8):
            seen[walked.locate(step, slot)[0]] += 1
    assert np.abs(seen - shares * seen.sum()).max() < 6 * np.sqrt(seen.sum())


def test_a_share_of_less_than_a_row_gets_its_rows_in_the_long_run():
    before = Schedule(np.array([0.999, 0.001]), 10, 0).rows_before(100_000)
    assert before.sum() == 1_000_000 and abs(before[1] - 1000) < 150


@pytest.mark.parametrize("windows_per_row", [1, 3, 7])
@pytest.mark.parametrize("units, windows", [(1, 1), (10, 10), (101, 101), (1000, 40), (17, 16)])
def test_an_epoch_begins_once_in_each_stratum_and_each_epoch_in_another_order(units, windows, windows_per_row):
    epochs, orders = Epochs(units=units, windows=windows, windows_per_row=windows_per_row, seed=(0, 3, 1)), []
    rng = np.random.default_rng(0)
    draws = []
    for row in range(-(-3 * windows // windows_per_row)):
        starts = epochs.starts(row, rng)
        draws += [next(starts) for _ in range(windows_per_row)]
        assert epochs.epoch(row) == row * windows_per_row // windows
    for epoch in range(3):
        begun = draws[epoch * windows : (epoch + 1) * windows]
        ends = [stratum * units // windows for stratum in range(windows + 1)]
        np.testing.assert_array_equal(np.histogram(begun, [*ends[:-1], units])[0], 1)
        orders.append([int(np.searchsorted(ends, start, side="right")) for start in begun])
    assert windows == 1 or (orders[0] != orders[1] and orders[1] != orders[2])


def test_what_a_row_has_more_room_for_begins_anywhere():
    starts = Epochs(units=50, windows=50, windows_per_row=2, seed=(0,)).starts(0, np.random.default_rng(0))
    assert {next(starts) for _ in range(2000)} == set(range(50))


@pytest.mark.parametrize("windows", [_FEW, _FEW + 1, _FEW + 2])  # at _FEW + 1, grain's order misses one
def test_few_and_many_strata_are_visited_once_in_an_epoch_at_random(windows):
    epochs = Epochs(units=windows, windows=windows, windows_per_row=windows, seed=(0, 3, 1))
    starts = epochs.starts(0, np.random.default_rng(0))
    order = np.array([next(starts) for _ in range(epochs._windows)])
    assert len(np.unique(order)) == epochs._windows >= windows - 1
    assert abs(np.corrcoef(order, np.arange(len(order)))[0, 1]) < 0.03
