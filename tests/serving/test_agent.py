"""An agent behind the server gives what the same agent gives without one."""

import numpy as np

from gato_jax.policy import MixedPolicy, Policy, Prompt
from gato_jax.serving.agent import AgentPolicy, control_tasks
from tests.policy.made_agent import made_agent
from tests.serving.made_server import ask, connected, observation_of, serving
from tests.tokenization.made_tasks import CONTROL, GRID, ROBOT, random_episode


def test_actions_of_a_served_agent_are_those_of_the_agent_itself():
    agent = made_agent()
    assert control_tasks(agent) == [CONTROL.name, GRID.name, ROBOT.name]
    seen = {seed: [observation_of(CONTROL, 10 * seed + step) for step in range(3)] for seed in (3, 4)}
    local = {}
    for seed, observations in seen.items():
        alone = Policy(agent, CONTROL.name, 1)
        alone.reset(0, seed)
        local[seed] = [alone.act([observation])[0]["action"] for observation in observations]
    with serving(AgentPolicy(agent, [CONTROL.name], rows=2)) as server, connected(server, "/") as one:
        with connected(server, "/") as two:
            one.recv(), two.recv()
            for step in range(3):
                for seed, robot in ((3, one), (4, two)):
                    begin = {} if step else {"__episode__": {"seed": seed}}
                    np.testing.assert_array_equal(ask(robot, seen[seed][step] | begin)["action"], local[seed][step])


def test_an_observation_longer_than_the_context_is_refused_alone():
    agent = made_agent(context=40)
    policy = AgentPolicy(agent, [GRID.name], rows=2)
    sessions = [policy.open(GRID.name) for _ in range(3)]  # the last two are rows of one call
    for session in sessions:
        policy.reset(session, 0)
    short = observation_of(GRID, 0)
    answers = policy.act(dict.fromkeys(sessions, short) | {sessions[1]: short | {"mission": "go " * 100}})
    assert "expected at most the agent's context of 40" in str(answers[sessions[1]])
    assert answers[sessions[0]]["action"].shape == answers[sessions[2]]["action"].shape == ()
    policy.close(sessions[1])
    assert policy.open(GRID.name) > sessions[2]  # the number of a session is never given twice


def test_a_prompt_of_the_client_is_read_before_the_episode(monkeypatch):
    agent, demonstration = made_agent(), random_episode(CONTROL, 1, 4)
    policy, read = AgentPolicy(agent, [CONTROL.name]), []
    monkeypatch.setattr(MixedPolicy, "reset", lambda *arguments, prompt: read.append((arguments[1:], prompt)))
    session = policy.open(CONTROL.name)
    policy.reset(session, 3)
    policy.reset(session, 4, demonstration)
    (first, none), (second, prompt) = read
    assert (first, none, second) == ((0, CONTROL.name, 3), None, (0, CONTROL.name, 4))
    assert prompt.source == "the client"
    np.testing.assert_array_equal(prompt.tokens.token_ids, Prompt.of(agent, demonstration).tokens.token_ids)
