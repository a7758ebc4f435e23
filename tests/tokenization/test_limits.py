"""Tests of measured action limits: percentiles of the data, errors and warnings for elements that do not vary."""

import dataclasses
import logging

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, TaskSpec
from gato_jax.episodes.action_extents import episode_extents
from gato_jax.tokenization import Tokenization, TokenizationError, check_action_limits, measure_action_limits
from tests.tokenization.made_tasks import DIALOGUE, episode_of, random_episode

ARM = TaskSpec(
    suite="made", task="arm",
    observation={"seen": Discrete(n=2)},
    action={"arm": Continuous(shape=(2,), low=-1.0, high=1.0), "grip": Discrete(n=2)},
)  # fmt: skip


def episode(arm, spec=ARM, **fields):
    arm = np.asarray(arm)
    zeros = np.zeros(len(arm), np.int32)
    return episode_of(spec, {"seen": zeros}, {"arm": arm, "grip": zeros}, **fields)


def test_they_are_the_1st_and_the_99th_percentile_of_each_element():
    up = np.linspace(0, 1, 101)  # of 101 even steps the percentiles are the 2nd and the last but one
    halves = [episode(np.stack([up, -up], -1)[part]) for part in (slice(0, 40), slice(40, None))]
    limits = measure_action_limits(ARM, halves)
    assert limits.keys() == {"arm"}  # discrete actions need none
    np.testing.assert_allclose([limits["arm"].low, limits["arm"].high], [[0.01, -0.99], [0.99, -0.01]])


def test_the_placeholder_behind_a_final_observation_is_not_measured():
    arm = np.concatenate([np.random.default_rng(0).uniform(-0.1, 0.1, (20, 2)), [[1.0, 1.0]]])
    limits = measure_action_limits(ARM, [episode(arm, final_observation=True)])
    assert max(limits["arm"].high) <= 0.1


def test_an_element_that_hardly_varies_keeps_the_tasks_limits_and_the_log_says_so(caplog):
    arm = np.stack([np.linspace(-0.5, 0.5, 101), np.full(101, 0.25)], -1)
    with caplog.at_level(logging.WARNING):
        limits = measure_action_limits(ARM, [episode(arm)])
    np.testing.assert_allclose([limits["arm"].low, limits["arm"].high], [[-0.49, -1.0], [0.49, 1.0]])
    said = "made/arm: action 'arm': elements [1] hardly vary, their percentiles are [0] apart; they keep the task's"
    assert said in caplog.text


def test_what_varies_says_nothing(caplog):
    measure_action_limits(ARM, [random_episode(ARM, seed=0, steps=50)])
    assert not caplog.records


def test_an_element_without_limits_that_does_not_vary_is_refused():
    endless = dataclasses.replace(ARM, action={**ARM.action, "arm": Continuous(shape=(2,))})
    arm = np.stack([np.linspace(-0.5, 0.5, 101), np.full(101, 0.25)], -1)
    with pytest.raises(
        TokenizationError,
        match=r"action 'arm': elements \[1\] do not vary, their percentiles are \[0\] apart, and they have no lim",
    ):
        measure_action_limits(endless, [episode(arm, endless)])
    assert measure_action_limits(endless, [episode(arm[:, [0, 0]], endless)])["arm"].high == pytest.approx((0.49, 0.49))


def test_what_varies_little_beside_its_offset_or_its_limits_still_varies(caplog):
    """The scale is that of the data: neither an offset nor limits far beyond the data make an element degenerate."""
    wide = Continuous(shape=(2,), low=(-np.inf, 0.0), high=(np.inf, 1e9))
    spec = dataclasses.replace(ARM, action={**ARM.action, "arm": wide})
    arm = np.stack([np.linspace(999.8, 1000.2, 101), np.linspace(0, 100, 101)], -1)
    limits = measure_action_limits(spec, [episode(arm, spec)])["arm"]
    np.testing.assert_allclose([limits.low, limits.high], [[999.804, 1], [1000.196, 99]])
    assert not caplog.records


@pytest.mark.parametrize("steps, varies", [(250, False), (270, True)])
def test_an_element_varies_from_one_step_of_float32_a_bin_on(steps, varies):
    arm = np.zeros((101, 2))
    arm[:, 0] = 1 + np.linspace(-1 / 98, 1 + 1 / 98, 101) * steps * 2.0**-23  # percentiles 1 and 1 + that many steps
    limits = measure_action_limits(ARM, [episode(arm)])["arm"]
    assert limits.high[0] - limits.low[0] == pytest.approx(steps * 2.0**-23 if varies else 2.0)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_data_that_are_not_finite_are_refused(value):
    with pytest.raises(TokenizationError, match="action 'arm' has no finite percentiles; repair or filter the data"):
        measure_action_limits(ARM, [episode([[0.0, 0.1], [0.5, value]])])


def test_no_data_are_refused():
    with pytest.raises(TokenizationError, match="action 'arm' has no finite percentiles"):
        measure_action_limits(ARM, [])
    with pytest.raises(TokenizationError, match="action 'arm' has no finite percentiles"):
        measure_action_limits(ARM, [episode([[0.0, 0.1]], final_observation=True)])


def test_data_of_another_task_or_shape_are_refused():
    with pytest.raises(TokenizationError, match="an episode of made/dialogue among those of made/arm"):
        measure_action_limits(ARM, [random_episode(DIALOGUE, seed=0, steps=1)])
    with pytest.raises(TokenizationError, match=r"shape \(2,\), got an array of shape \(1, 3\)"):
        measure_action_limits(ARM, [episode([[0.0, 0.1, 0.2]])])


@pytest.mark.parametrize(
    "arm, said",
    [
        (None, r"is missing, the episode has \['grip'\]"),
        (np.zeros((1, 3)), r"a value must have shape \(2,\), got an array of shape \(1, 3\)"),
        (np.zeros((1, 5, 2)), r"a value must have shape \(2,\), got one of shape \(5, 2\)"),
        (np.array([["a", "b"]]), "needs real numbers, got dtype <U1"),
    ],
)
def test_an_episode_that_lacks_an_action_or_has_another_is_named_with_its_number(arm, said):
    good = episode([[0.0, 0.1]])
    other = {"grip": good.action["grip"]} | ({} if arm is None else {"arm": arm})
    bad = dataclasses.replace(good, action=other)
    with pytest.raises(TokenizationError, match=f"^made/arm, episode 1, action 'arm': {said}"):
        measure_action_limits(ARM, [good, bad])


def test_a_task_without_continuous_actions_has_none():
    assert measure_action_limits(DIALOGUE, [random_episode(DIALOGUE, seed=0, steps=1)]) == {}


def check(caplog, low, high, arm=((-0.5, 0.25), (0.5, 0.75), (2.0, 0.5))):
    spec = dataclasses.replace(ARM, action={**ARM.action, "arm": Continuous(shape=(2,), low=low, high=high)})
    extents = [extent for one in (arm[:2], arm[2:]) for extent in episode_extents(spec, episode(one, spec))]
    with caplog.at_level(logging.WARNING):
        check_action_limits(spec, Tokenization(), extents)
    return caplog.text


def test_actions_outside_of_their_limits_are_logged(caplog):
    said = check(caplog, -1.0, 1.0)
    assert "action 'arm', element 0: 1 of 3 steps (33.3%) lie outside of the limits -1 and 1 and are clipped" in said
    assert "reach from -0.5 to 2" in said and "element 1" not in said
    assert not check(_cleared(caplog), -1.0, (2.0, 1.0))


def test_coarse_limits_are_logged_and_absurd_ones_refused(caplog):
    said = check(caplog, -100.0, (100.0, 1.0))
    assert "limits -100 and 100 of element 0 leave" not in said  # 12.8 bins
    said = check(caplog, -300.0, 300.0)
    assert "limits -300 and 300 of element 0 leave 4.3 of 1024 bins to the data, expected 8 or more" in said
    for limit in (1e7, 1e30, 3.4028235e38):
        with pytest.raises(
            TokenizationError, match=r"The data reach from \[-0.5, 0.25\] to \[2, 0.75\]: set low and high"
        ):
            check(caplog, -limit, limit)
    still = ((0.0, 0.3),) * 3  # an element that does not vary needs no bins, but an absurd limit moves it, too
    assert not check(_cleared(caplog), -180.0, 180.0, still)
    with pytest.raises(TokenizationError, match="set low and high to that, and convert or record it again"):
        check(caplog, -3.4028235e38, 3.4028235e38, still)


def _cleared(caplog):
    caplog.clear()
    return caplog
