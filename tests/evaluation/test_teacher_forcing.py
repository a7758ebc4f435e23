"""Predictions in recorded episodes are those of the whole network over the recorded tokens, with history."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.evaluation import teacher_forcing
from gato_jax.evaluation.teacher_forcing import HeldOutError, Window, plan_windows, predict_actions
from gato_jax.policy import Decoding
from gato_jax.tokenization.sequence import concatenate
from tests.policy.made_agent import TASK_TEXT_FIRST, AllAtOnce, made_agent
from tests.tokenization.made_tasks import CONTROL, DIALOGUE, ROBOT, random_episode


@pytest.fixture(scope="module")
def agent():
    """Its params are so large that its most probable actions differ between steps."""
    agent = made_agent(layers=1, context=200)
    blocks = jax.tree.map(lambda leaf: 4 * leaf, agent.params["blocks"])
    return dataclasses.replace(agent, params=nnx.State({**agent.params, "blocks": blocks}))


@pytest.mark.parametrize(
    "steps, context, most_steps, windows",
    [
        (3, 24, None, [Window(0, 0, 3)]),
        (9, 35, None, [Window(0, 0, 4), Window(2, 4, 6), Window(4, 6, 8), Window(6, 8, 9)]),
        (3, 35, 1, [Window(0, 0, 1), Window(1, 1, 2), Window(2, 2, 3)]),
        (5, 99, 3, [Window(0, 0, 3), Window(2, 3, 5)]),
    ],
)
def test_every_step_is_predicted_once_with_half_a_window_of_history(steps, context, most_steps, windows):
    assert plan_windows([8] * steps, context, most_steps) == windows


def test_a_step_of_many_tokens_leaves_room_for_less_history():
    assert plan_windows([8, 8, 8, 30, 8], 32) == [Window(0, 0, 3), Window(3, 3, 4), Window(4, 4, 5)]
    with pytest.raises(HeldOutError, match="step 1 has 33 tokens, expected at most 32"):
        plan_windows([8, 33], 32)


@pytest.mark.parametrize("spec", [CONTROL, ROBOT], ids=lambda spec: spec.task)
def test_the_predictions_are_the_most_probable_ids_after_the_recorded_tokens(agent, spec):
    episodes = [random_episode(spec, seed, steps=count) for seed, count in enumerate((2, 4, 3))]
    layout, forward = agent.layout(spec.name), AllAtOnce(agent, length=512)
    ranges = layout.action_ranges
    for episode, predicted in zip(episodes, predict_actions(agent, spec.name, episodes), strict=True):
        steps = layout.encode_timesteps(episode)
        (window,) = plan_windows([len(step) for step in steps], agent.context)
        assert window.stop == len(steps)
        logits = np.asarray(_logits(agent, np.concatenate(forward(steps))))
        ends = np.cumsum([len(step) for step in steps])
        ids = [
            [low + logits[end - len(ranges) + at - 1, low:high].argmax() for at, (low, high) in enumerate(ranges)]
            for end in ends
        ]
        expected = layout.decode_action(np.array(ids, np.int32))
        for key in expected:
            np.testing.assert_array_equal(predicted[key], expected[key])
    assert len(np.unique(ids, axis=0)) > 1


def _logits(agent, hidden):
    return nnx.merge(agent.graph, agent.params).logits(jnp.asarray(hidden))


def test_a_window_holds_the_recorded_steps_before_those_that_it_predicts(agent, monkeypatch):
    read = []
    monkeypatch.setattr(
        teacher_forcing, "_predict_rows", lambda agent, rows, patch: [read.append(row) or row.token_ids for row in rows]
    )
    episode = random_episode(CONTROL, 0, steps=5)
    steps = agent.layout(CONTROL.name).encode_timesteps(episode)
    with pytest.raises(ValueError, match="reshape"):
        predict_actions(agent, CONTROL.name, [episode], most_steps=3)
    assert [row.token_ids.tolist() for row in read] == [
        concatenate(steps[:3]).token_ids.tolist(), concatenate(steps[2:5]).token_ids.tolist(),
    ]  # fmt: skip
    assert [int(row.loss_mask.sum()) for row in read] == [6, 4]  # of two numbers at each step
    assert not read[1].loss_mask[: len(steps[2])].any()


def test_the_future_changes_no_prediction(agent):
    episode, other = (random_episode(CONTROL, seed, steps=6) for seed in (0, 1))
    mixed = dataclasses.replace(
        episode, action={"action": np.concatenate([episode.action["action"][:3], other.action["action"][3:]])}
    )
    one, same = predict_actions(agent, CONTROL.name, [episode, mixed])
    np.testing.assert_array_equal(one["action"][:3], same["action"][:3])


def test_an_agent_that_acts_in_one_pass_reads_no_actions(agent):
    one_pass = dataclasses.replace(agent, decoding=Decoding(one_pass=True))
    episode = random_episode(CONTROL, 0, steps=4)
    changed = dataclasses.replace(episode, action={"action": -episode.action["action"]})
    found = [predict_actions(one_pass, CONTROL.name, [which])[0]["action"] for which in (episode, changed)]
    np.testing.assert_array_equal(*found)


def test_an_agent_looks_at_as_many_steps_as_it_was_trained_on():
    episode = random_episode(CONTROL, 0, steps=5)
    short, whole = made_agent(layers=1, memory_steps=2), made_agent(layers=1)
    [expected] = predict_actions(whole, CONTROL.name, [episode], most_steps=2)
    [found] = predict_actions(short, CONTROL.name, [episode])
    np.testing.assert_array_equal(found["action"], expected["action"])


def test_the_tasks_text_comes_before_the_first_step_alone():
    agent = made_agent(layers=1, tokenization=TASK_TEXT_FIRST)
    episode = random_episode(CONTROL, 0, steps=3)
    steps = agent.layout(CONTROL.name).encode_timesteps(episode)
    assert len(steps[0]) > len(steps[1])
    [found] = predict_actions(agent, CONTROL.name, [episode])
    assert found["action"].shape == (3, 2)


def test_text_without_observations_is_refused(agent):
    with pytest.raises(HeldOutError, match="has no observations"):
        predict_actions(agent, DIALOGUE.name, [random_episode(DIALOGUE, 0, steps=1)])
