"""Scores on held-out recordings, against hand computations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.evaluation import held_out
from gato_jax.evaluation.held_out import HeldOutError, action_error, text_perplexity
from tests.policy.made_agent import made_agent
from tests.tokenization.made_tasks import CONTROL, DIALOGUE, GRID, episode_of, random_episode


@pytest.fixture(scope="module")
def agent():
    return made_agent(layers=1, context=60)


@pytest.fixture(scope="module")
def uniform(agent):
    """Without parameters every token is as probable as any other."""
    return dataclasses.replace(agent, params=jax.tree.map(jnp.zeros_like, agent.params))


@pytest.fixture
def still(monkeypatch):
    """An agent whose most probable action is always the one that it holds, zeros at first."""
    action = np.zeros(2, np.float32)

    def predict(agent, task, episodes, *, most_steps=None):
        return [{"action": np.tile(action, (episode.acting_steps, 1))} for episode in episodes]

    monkeypatch.setattr(held_out, "predict_actions", predict)
    return action


def control_episode(actions, **fields):
    actions = np.array(actions, np.float32)
    zeros = {"position": np.zeros((len(actions), 3), np.float32), "velocity": np.zeros((len(actions), 2), np.float32)}
    return episode_of(CONTROL, zeros, {"action": actions}, **fields)


def test_the_action_error_is_in_units_of_half_of_each_range(agent, still):
    test = [control_episode([[0.5, 1.0], [-1.0, 2.0]])]  # limits are 1 and 2: scaled 0.5 0.5, -1 1
    train = [control_episode([[1.0, 0.0], [0.0, 2.0]])]  # the mean is 0.5 0.5
    result = action_error(agent, CONTROL.name, train, test)
    assert result["value"] == result["without_history"] == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    assert result["baseline"] == pytest.approx((0 + 0 + 1.5 + 0.5) / 4)
    assert result["repeat_baseline"] == pytest.approx((0 + 0 + 1.5 + 0.5) / 4)
    assert result["episodes"] == 1 and result["metric"] == "mean absolute action error"
    assert list(result["by_dimension"]) == ["action[0]", "action[1]"]
    assert result["by_dimension"]["action[0]"]["value"] == pytest.approx((0.5 + 1) / 2)
    assert result["by_dimension"]["action[1]"]["baseline"] == pytest.approx((0 + 0.5) / 2)


def test_the_error_is_told_by_the_steps_since_the_episode_began(agent, still):
    test = [control_episode([[step / 10, 0.0] for step in range(count)]) for count in (6, 3)]
    result = action_error(agent, CONTROL.name, test, test)
    assert [(row["first_step"], row["last_step"], row["steps"]) for row in result["by_horizon"]] == [
        (0, 0, 2), (1, 1, 2), (2, 3, 3), (4, 5, 2),
    ]  # fmt: skip
    assert [row["value"] for row in result["by_horizon"]] == pytest.approx([0, 0.05, (2 + 2 + 3) / 60, 4.5 / 20])
    assert result["repeat_baseline"] == pytest.approx((7 * 0.1 + 2 * (np.mean([0, 1, 2, 3, 4, 5, 0, 1, 2]) / 10)) / 18)


def test_a_final_observation_is_no_step_to_act_at(agent, still):
    test = [control_episode([[0.5, 1.0], [0.0, 0.0]], final_observation=True)]
    assert action_error(agent, CONTROL.name, test, test)["value"] == pytest.approx(0.5)


def test_an_action_beyond_the_tasks_limits_is_scored_too(agent, still):
    """A codec whose limits were measured on data decodes such actions; nothing executes them here."""
    still[:] = 1.5, 0.0
    test = [control_episode([[0.5, 0.0], [1.0, 0.0]])]
    assert action_error(agent, CONTROL.name, test, test)["value"] == pytest.approx((1.0 + 0 + 0.5 + 0) / 4)


def test_the_agents_most_probable_actions_are_what_is_scored(agent):
    test = [random_episode(CONTROL, seed, steps=3) for seed in range(2)]
    first = action_error(agent, CONTROL.name, test, test)
    assert first == action_error(agent, CONTROL.name, test, test)
    assert 0 < first["value"] < 2


def test_a_discrete_action_has_no_absolute_error(agent):
    test = [random_episode(GRID, 0, steps=3)]
    with pytest.raises(HeldOutError, match="action 'action' is discrete and has no absolute error"):
        action_error(agent, GRID.name, test, test)


def texts(*lines):
    return [episode_of(DIALOGUE, {}, {"text": np.array([line], object)}) for line in lines]


def test_the_perplexity_of_a_uniform_model_is_the_size_of_its_vocabulary(uniform):
    said = texts("Human: Hello!\nAgent: yes", "Human: What is your name?\nAgent: a maple leaf")
    result = text_perplexity(uniform, DIALOGUE.name, said, said)
    assert result["value"] == pytest.approx(uniform.contract.tokenization.vocabulary.size, rel=1e-4)


def test_the_baseline_is_a_unigram_model_with_the_smoothing_that_suits_it_best(uniform):
    train, test = texts("yes yes yes no"), texts("yes no", "maybe")
    layout = uniform.layout(DIALOGUE.name)
    seen = layout.encode(train[0]).token_ids.tolist()
    scored = [token for episode in test for token in layout.encode(episode).token_ids[1:].tolist()]
    expected = min(
        np.exp(-np.mean([np.log((seen.count(t) + a) / (len(seen) + 32_000 * a)) for t in scored]))
        for a in (1.0, 0.3, 0.1, 0.03, 0.01, 0.003)
    )
    assert text_perplexity(uniform, DIALOGUE.name, train, test)["baseline"] == pytest.approx(expected)


def test_text_beyond_the_agents_context_counts_for_neither(uniform):
    short = dataclasses.replace(uniform, context=4)
    long, cut = texts("yes yes yes yes yes no no no no no"), texts("yes yes yes")
    assert len(short.layout(DIALOGUE.name).encode(cut[0]).token_ids) == 4
    scores = [text_perplexity(short, DIALOGUE.name, cut, said)["baseline"] for said in (long, texts("yes yes yes yes"))]
    assert scores[0] == pytest.approx(scores[1])
