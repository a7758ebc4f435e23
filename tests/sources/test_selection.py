"""Tests of the selection of episodes for fine-tuning: the best ones, reproducibly, small draws within large ones."""

import dataclasses

import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.sources import EpisodeReader
from gato_jax.sources.selection import SelectionError, draw_from_best, episode_returns, select
from tests.tokenization.made_tasks import CONTROL, random_episode

RETURNS = hnp.arrays(np.float64, st.integers(1, 40), elements=st.integers(-3, 3).map(float))  # with many ties


@dataclasses.dataclass(frozen=True, eq=False)
class Recording:
    """Reader without stored returns; the rewards of episode n sum to returns[n]."""

    returns_: np.ndarray
    spec = CONTROL
    split = "train"
    fingerprint = "0123456789abcdef"

    @property
    def lengths(self):
        return np.arange(len(self)) + 2

    def __len__(self):
        return len(self.returns_)

    def __getitem__(self, position):
        episode = random_episode(CONTROL, position, int(self.lengths[position]))
        rewards = np.zeros(len(episode), np.float32)
        rewards[:2] = self.returns_[position] + 1, -1
        return dataclasses.replace(episode, reward=rewards)

    def __iter__(self):
        return (self[position] for position in range(len(self)))


@hypothesis.given(RETURNS, st.integers(1, 40), st.integers(0, 5))
def test_only_the_best_are_drawn_and_none_twice(returns, keep_best, series):
    numbers = draw_from_best(returns, "data", episodes=len(returns), keep_best=keep_best, series=series)
    ranked = sorted(range(len(returns)), key=lambda number: (-returns[number], number))
    assert sorted(numbers) == sorted(ranked[:keep_best])


@hypothesis.given(RETURNS, st.integers(1, 40), st.integers(0, 5), st.integers(1, 40), st.integers(1, 40))
def test_a_smaller_draw_is_within_a_larger_one(returns, keep_best, series, fewer, more):
    small, large = (
        draw_from_best(returns, "data", episodes=count, keep_best=keep_best, series=series)
        for count in sorted((fewer, more))
    )
    np.testing.assert_array_equal(small, large[: len(small)])


def test_a_draw_depends_on_series_and_data_and_on_nothing_else():
    returns = np.random.default_rng(0).normal(size=2500)

    def numbers(fingerprint="data", series=0):
        return draw_from_best(returns, fingerprint, episodes=10, keep_best=2000, series=series).tolist()

    assert numbers() == numbers()
    draws = [numbers(), numbers(series=1), numbers(series=2), numbers("other data")]
    assert len({tuple(sorted(one)) for one in draws}) == 4


def test_every_one_of_the_best_is_drawn_in_some_series():
    returns = np.arange(20.0)
    drawn = {int(draw_from_best(returns, "data", episodes=1, keep_best=5, series=series)[0]) for series in range(60)}
    assert drawn == {15, 16, 17, 18, 19}


def test_of_equal_returns_the_lower_numbers_are_kept():
    returns = np.array([1.0, 5.0, 3.0, 5.0, 3.0, 3.0])
    assert set(draw_from_best(returns, "data", episodes=3, keep_best=3, series=0).tolist()) == {1, 3, 2}


def test_a_selection_reads_the_episodes_that_it_names_and_no_others():
    recording = Recording(np.array([2.0, 7.0, 5.0, 1.0]))
    selection = select(recording, episodes=2, keep_best=2, series=0)
    assert isinstance(selection, EpisodeReader) and selection.spec is CONTROL and len(selection) == 2
    assert set(selection.positions.tolist()) == {1, 2} and selection.candidates == 2
    for _ in range(2):  # more than once: limits of actions are measured before tokens are made
        assert [round(episode.episode_return) for episode in selection] == selection.returns.tolist()
    np.testing.assert_array_equal(selection.lengths, [len(episode) for episode in selection])
    pairs = [(entry["episode"], entry["return"]) for entry in selection.to_json()["selection"]]
    assert pairs == list(zip(selection.positions, selection.returns, strict=True))


def test_other_episodes_have_another_fingerprint():
    recording = Recording(np.arange(6.0))
    found = {
        select(recording, episodes=episodes, keep_best=4, series=series).fingerprint
        for episodes in (1, 4)
        for series in range(3)
    }
    assert len(found) >= 5 and recording.fingerprint not in found  # two series may well draw the same single episode


def test_of_our_recordings_the_sidecar_gives_the_returns(tmp_path):
    recording = Recording(np.array([2.0, 7.0, 5.0]))
    dataset = open_dataset(write_dataset(tmp_path, CONTROL, {"train": iter(recording)}))
    np.testing.assert_allclose(episode_returns(dataset), episode_returns(recording))
    assert "_reader" not in vars(dataset)  # no record was read


def test_too_few_episodes_are_refused_with_both_numbers():
    with pytest.raises(SelectionError, match="made/control: episodes is 5, expected at most 3"):
        select(Recording(np.arange(3.0)), episodes=5, keep_best=5, series=0)


def test_fewer_than_are_kept_is_no_error():
    assert select(Recording(np.arange(3.0)), episodes=3, keep_best=2000, series=0).candidates == 3


def test_a_return_that_is_no_number_is_refused():
    with pytest.raises(SelectionError, match="the return of episode 1 is nan, expected a finite number"):
        select(Recording(np.array([1.0, np.nan])), episodes=1, keep_best=2, series=0)
