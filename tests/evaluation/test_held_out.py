"""Scores on held-out recordings, against hand computations."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.evaluation import held_out
from gato_jax.evaluation.held_out import action_error, text_perplexity
from gato_jax.policy import MixedPolicy
from tests.policy.made_agent import TASK_TEXT_FIRST, made_agent
from tests.tokenization.made_tasks import CONTROL, DIALOGUE, episode_of, random_episode


@pytest.fixture(scope="module")
def agent():
    return made_agent(layers=1, context=60)


@pytest.fixture(scope="module")
def uniform(agent):
    """Without parameters every token is as probable as any other."""
    return dataclasses.replace(agent, params=jax.tree.map(jnp.zeros_like, agent.params))


class StillPolicy:
    """Always acts with zeros, and minds that it is reset before every step."""

    ACTION = (0.0, 0.0)

    def __init__(self, agent, task, environments, *, temperature):
        assert temperature == 0.0
        self._environments, self._reset = environments, set()

    def reset(self, environment, seed, *, begins):
        self._reset.add(environment)

    def act(self, observations):
        assert len(observations) == self._environments and self._reset
        different = {id(observation) for observation in observations}
        assert len(different) == len(self._reset), "the rows that were not reset repeat another"
        self._reset.clear()
        return [{"action": np.array(self.ACTION, np.float32)} for _ in observations]


def control_episode(actions, **fields):
    actions = np.array(actions, np.float32)
    zeros = {"position": np.zeros((len(actions), 3), np.float32), "velocity": np.zeros((len(actions), 2), np.float32)}
    return episode_of(CONTROL, zeros, {"action": actions}, **fields)


def test_the_action_error_is_in_units_of_half_of_each_range(agent, monkeypatch):
    monkeypatch.setattr(held_out, "Policy", StillPolicy)
    test = [control_episode([[0.5, 1.0], [-1.0, 2.0]])]  # limits are 1 and 2: scaled 0.5 0.5, -1 1
    train = [control_episode([[1.0, 0.0], [0.0, 2.0]])]  # the mean is 0.5 0.5
    result = action_error(agent, CONTROL.name, train, test)
    assert result["value"] == pytest.approx((0.5 + 0.5 + 1 + 1) / 4)
    assert result["baseline"] == pytest.approx((0 + 0 + 1.5 + 0.5) / 4)
    assert result["episodes"] == 1 and result["metric"] == "mean absolute action error"


def test_a_final_observation_is_no_step_to_act_at(agent, monkeypatch):
    monkeypatch.setattr(held_out, "Policy", StillPolicy)
    test = [control_episode([[0.5, 1.0], [0.0, 0.0]], final_observation=True)]
    assert action_error(agent, CONTROL.name, test, test)["value"] == pytest.approx(0.5)


def test_every_step_is_scored_however_many_there_are(agent, monkeypatch):
    monkeypatch.setattr(held_out, "Policy", StillPolicy)
    test = [random_episode(CONTROL, seed, steps=11) for seed in range(7)]
    actions = np.concatenate([episode.action["action"] for episode in test])
    expected = np.abs(actions / [1, 2]).mean()
    assert action_error(agent, CONTROL.name, test, test)["value"] == pytest.approx(expected, rel=1e-5)


def test_an_action_beyond_the_tasks_limits_is_scored_too(agent, monkeypatch):
    """A codec whose limits were measured on data decodes such actions; nothing executes them here."""

    class FarPolicy(StillPolicy):
        ACTION = (1.5, 0.0)

    monkeypatch.setattr(held_out, "Policy", FarPolicy)
    test = [control_episode([[0.5, 0.0], [1.0, 0.0]])]
    assert action_error(agent, CONTROL.name, test, test)["value"] == pytest.approx((1.0 + 0 + 0.5 + 0) / 4)


def test_the_agents_most_probable_actions_are_what_is_scored(agent):
    test = [random_episode(CONTROL, seed, steps=3) for seed in range(2)]
    first = action_error(agent, CONTROL.name, test, test)
    assert first == action_error(agent, CONTROL.name, test, test)
    assert 0 < first["value"] < 2


def test_the_tasks_text_comes_before_the_first_step_of_each_episode_alone(monkeypatch):
    """Its tokens belong to the first timestep, in training too: what is scored are the tokens that training reads."""
    agent = made_agent(layers=1, context=60, tokenization=TASK_TEXT_FIRST)
    read = []

    decode = MixedPolicy.decode

    def watched(policy, steps):
        assert policy._fresh.all()
        read.extend(step.token_ids.tolist() for step in steps.values())
        return decode(policy, steps)

    monkeypatch.setattr(MixedPolicy, "decode", watched)
    test = [random_episode(CONTROL, seed, steps=2) for seed in range(2)]
    action_error(agent, CONTROL.name, test, test)
    layout = agent.layout(CONTROL.name)
    trained_on = [step.token_ids.tolist()[:-2] for episode in test for step in layout.encode_timesteps(episode)]
    assert read == trained_on  # without the two tokens of the action
    assert len(read[0]) == len(read[2]) > len(read[1]) == len(read[3])


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
