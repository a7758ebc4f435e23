"""Tests of the filters of a conversion, with expected values computed by hand."""

import numpy as np
import pytest

from gato_jax.sources import SourceError
from gato_jax.sources.conversion import Deduplicate, EpisodeFacts, ExpertShare, SuccessOnly
from gato_jax.sources.conversion.filters import expert_return


def facts(returns=(), success=None, digest=None) -> EpisodeFacts:
    count = len(returns)
    return EpisodeFacts(
        episode_return=np.array(returns, np.float64),
        success=np.array(success or [-1] * count, np.int8),
        digest=np.array(digest or range(count), np.uint64),
    )


@pytest.mark.parametrize(
    ("returns", "best"),
    [
        ([3.0, 9.0, 5.0], 9.0),  # a tenth of three episodes is none: windows of one
        ([float(n) for n in range(20)], 18.5),  # windows of two, the last the best
        ([0, 0, 8, 6, 0, 0, 0, 0, 0, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 7.0),  # 8 and 6, not the single 9
        ([-5.0, -1.0, -3.0], -1.0),
        ([1.0] * 12_000 + [2.0] * 500, 1.5),  # windows of 1000, not of 1250
    ],
)
def test_expert_return_is_the_best_mean_of_a_window(returns, best):
    assert expert_return(np.array(returns, np.float64)) == best


@pytest.mark.parametrize(
    ("returns", "share", "kept"),
    [
        ([10.0, 8.0, 7.9, -1.0], 0.8, [True, True, False, False]),
        ([10.0, 8.0, 7.9, 5.0], 0.5, [True, True, True, True]),
        ([-10.0, -12.0, -12.1, -13.0], 0.8, [True, True, False, False]),  # 20% of 10 below -10
        ([0.0, -0.1], 0.8, [True, False]),
        ([4.0, 4.0, 3.9], 1.0, [True, True, False]),
        ([5.0, 0.0, -0.1], 0.0, [True, True, False]),
    ],
)
def test_episodes_near_enough_to_the_expert_are_kept(returns, share, kept):
    assert ExpertShare(share=share).keep_mask(facts(returns)).tolist() == kept


def test_a_return_that_is_no_number_is_no_expert():
    with pytest.raises(SourceError, match="the return of episode 1 is nan"):
        ExpertShare().keep_mask(facts([1.0, np.nan]))


@pytest.mark.parametrize("share", [-0.1, 1.5, float("nan")])
def test_a_share_is_between_0_and_1(share):
    with pytest.raises(SourceError, match=r"expected a share of the expert's return in \[0, 1\]"):
        ExpertShare(share=share)


def test_only_what_is_known_to_have_succeeded_is_a_success():
    assert SuccessOnly().keep_mask(facts([0.0] * 4, success=[1, 0, -1, 1])).tolist() == [True, False, False, True]


def test_the_first_of_identical_episodes_is_kept():
    digests = [7, 5, 7, 2**64 - 1, 5, 7]
    assert Deduplicate().keep_mask(facts([0.0] * 6, digest=digests)).tolist() == [True, True, False, True, False, False]


def test_without_rewards_there_is_no_expert():
    with pytest.raises(SourceError, match="all rewards of all episodes are zero. Set Fields.reward"):
        ExpertShare().keep_mask(facts([0.0, 0.0]))


def test_success_that_was_never_recorded_is_no_success():
    with pytest.raises(SourceError, match="the success of every episode is unknown. Set Fields.success"):
        SuccessOnly().keep_mask(facts([1.0, 2.0]))


@pytest.mark.parametrize("filter", [ExpertShare(), SuccessOnly(), Deduplicate()])
def test_of_nothing_nothing_is_kept(filter):
    assert filter.keep_mask(facts()).tolist() == []
