"""What is thought step by step, with keys and values in a ring, is what the model thinks of the whole sequence."""

import numpy as np
import pytest

from tests.policy.made_agent import AllAtOnce, StepByStep, made_agent, steps_of
from tests.tokenization.made_tasks import CONTROL, ROBOT

CLOSE = {"rtol": 1e-4, "atol": 1e-4}
CONTROL_TOKENS = 8


# Rotation acts on queries and keys alone, so that one test of the ring with it stands for the others.
mostly_relative = pytest.mark.parametrize(
    "agent", ["relative_xl", pytest.param("rope", marks=pytest.mark.slow)], indirect=True, scope="module"
)


@pytest.fixture(scope="module", params=["relative_xl", "rope"])
def agent(request):
    return made_agent(position=request.param)


@pytest.fixture(scope="module")
def all_at_once(agent):
    return AllAtOnce(agent)


@pytest.mark.parametrize("spec, actions", [(CONTROL, 2), (ROBOT, 4)], ids=["control", "robot"])
def test_every_position_of_an_episode_is_that_of_the_full_forward_pass(agent, all_at_once, spec, actions):
    steps = steps_of(spec, seed=0, steps=5)
    decoder = StepByStep(agent, 1, actions)
    for number, (step, expected) in enumerate(zip(steps, all_at_once(steps), strict=True)):
        (found,) = decoder([step], [number == 0])
        np.testing.assert_allclose(found, expected, **CLOSE)


@mostly_relative
def test_what_is_in_the_first_window_is_that_of_the_full_forward_pass_and_later_is_not(agent, all_at_once):
    """Later the memory of timesteps that dropped out lives on in the keys and values of those that saw them."""
    steps = steps_of(CONTROL, seed=1, steps=6)
    short = made_agent(context=3 * CONTROL_TOKENS + 1, position=agent.model.position)
    decoder = StepByStep(short, 1, actions=2)
    found = [decoder([step], [number == 0])[0] for number, step in enumerate(steps)]
    for one, two in zip(found[:3], all_at_once(steps)[:3], strict=True):
        np.testing.assert_allclose(one, two, **CLOSE)
    assert np.abs(found[5] - all_at_once(steps[3:])[2]).max() > 1e-3


def test_timesteps_that_dropped_out_are_not_attended_to():
    """With a single layer, keys and values remember nothing, so only what is attended to counts."""
    agent = made_agent(layers=1, context=200, memory_steps=3)
    steps = steps_of(CONTROL, seed=2, steps=8)
    decoder, all_at_once = StepByStep(agent, 1, actions=2), AllAtOnce(agent)
    for number, step in enumerate(steps):
        (found,) = decoder([step], [number == 0])
        np.testing.assert_allclose(found, all_at_once(steps[max(number - 2, 0) : number + 1])[-1], **CLOSE)


@mostly_relative
def test_with_a_memory_of_one_step_each_is_as_if_it_were_the_first(agent, all_at_once):
    agent = made_agent(memory_steps=1, position=agent.model.position)
    steps = steps_of(CONTROL, seed=3, steps=4)
    decoder = StepByStep(agent, 1, actions=2)
    in_a_row = [decoder([step], [number == 0])[0] for number, step in enumerate(steps)]
    for step, found in zip(steps, in_a_row, strict=True):
        np.testing.assert_allclose(found, decoder([step], [True])[0], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found, all_at_once([step])[0], **CLOSE)
