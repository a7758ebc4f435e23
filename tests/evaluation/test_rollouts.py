"""What is played does not depend on how many are played side by side."""

import numpy as np
import pytest

from gato_jax.evaluation import play_episodes, rollouts, save_rollout
from gato_jax.tokenization import Contract, ContractError, Tokenization
from tests.evaluation.made_environment import TASK, Drift, drifting_agent
from tests.tokenization.made_tasks import GRID

SEEDS = [7, 3, 5, 4, 11]


@pytest.fixture(autouse=True)
def drift_only(monkeypatch):
    monkeypatch.setattr(rollouts, "load", lambda task: {TASK: Drift}[task]())


@pytest.fixture(scope="module")
def agent():
    return drifting_agent()


@pytest.fixture(scope="module")
def one_by_one(agent):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rollouts, "load", lambda task: Drift())
        return play_episodes(agent, TASK, SEEDS, environments=1)


def test_there_is_one_rollout_for_each_seed_in_their_order(one_by_one):
    assert [rollout.seed for rollout in one_by_one] == SEEDS
    assert [len(rollout.rewards) for rollout in one_by_one] == [3 + seed % 3 for seed in SEEDS]


def test_the_rollouts_are_the_same_whatever_is_played_beside_them(agent, one_by_one):
    together = play_episodes(agent, TASK, SEEDS, environments=3)
    for alone, beside in zip(one_by_one, together, strict=True):
        assert alone.seed == beside.seed and alone.episode_return == beside.episode_return
        np.testing.assert_array_equal(alone.actions, beside.actions)
        np.testing.assert_array_equal(alone.rewards, beside.rewards)


def test_more_environments_than_episodes_are_no_error(agent, one_by_one):
    [rollout] = play_episodes(agent, TASK, [5], environments=100)
    np.testing.assert_array_equal(rollout.actions, one_by_one[2].actions)


def test_the_same_seed_plays_the_same_and_another_seed_does_not(one_by_one, agent):
    again = play_episodes(agent, TASK, SEEDS[:1], environments=1)
    np.testing.assert_array_equal(again[0].actions, one_by_one[0].actions)
    assert not np.array_equal(one_by_one[0].actions[:3], one_by_one[1].actions[:3])


def test_scores_returns_and_actions_agree(one_by_one):
    for rollout in one_by_one:
        assert rollout.score == rollout.episode_return == pytest.approx(rollout.rewards.sum())
        np.testing.assert_array_equal(rollout.rewards, rollout.actions[:, 0])
        assert rollout.actions.dtype == np.float32 and rollout.actions.shape == (len(rollout.rewards), 2)
        assert rollout.success is None and rollout.frames is None


def test_only_the_first_are_filmed_with_one_frame_before_each_action(agent):
    filmed = play_episodes(agent, TASK, SEEDS[:3], environments=1, film=2)
    assert filmed[2].frames is None
    for rollout in filmed[:2]:
        assert rollout.frames is not None and rollout.frames.dtype == np.uint8
        assert rollout.frames[:, 0, 0, 0].tolist() == list(range(len(rollout.rewards)))


def test_a_filmed_rollout_is_saved_for_the_report(agent, tmp_path):
    [rollout] = play_episodes(agent, TASK, [4], film=1)
    save_rollout(rollout, tmp_path / "rollouts")
    with np.load(tmp_path / "rollouts" / "made__control.npz") as saved:
        assert saved["frames"].shape == (4, 4, 6, 3) and saved["seed"] == 4 and saved["score"] == rollout.score
        assert saved["action_names"].tolist() == ["action[0]", "action[1]"]


def test_a_task_that_differs_from_the_agents_is_refused_before_it_is_played(agent, monkeypatch):
    other = Contract.of(Tokenization(mu=50.0), [GRID])
    monkeypatch.setattr(rollouts, "Policy", None)
    with pytest.raises(ValueError, match="not trained on 'made/control'"):
        play_episodes(drifting_agent(contract=other), TASK, [1])
    changed = Drift()
    changed.task_spec = GRID.__class__(**{**vars(changed.task_spec), "metric": "success"})
    monkeypatch.setattr(rollouts, "load", lambda task: changed)
    with pytest.raises(ContractError, match="metric"):
        play_episodes(agent, TASK, [1])
