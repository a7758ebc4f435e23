"""The agent at work: valid actions, reproducible, independent of its neighbours, compiled once."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_jax.checkpoints import CheckpointStore
from gato_jax.episodes import Discrete
from gato_jax.policy import Agent, Policy, Temperature, TextPolicy, UnknownTaskError, log_probabilities
from gato_jax.policy.act import act
from gato_jax.policy.sampling import choose
from gato_jax.tokenization import ContractError, Layout, Tokenization, TokenizationError
from gato_jax.training import TrainState
from tests.policy.made_agent import TASK_TEXT, TASK_TEXT_FIRST, AllAtOnce, made_agent
from tests.tokenization.made_tasks import CAPTION, CONTROL, GRID, ROBOT, random_episode


@pytest.fixture(scope="module")
def agent():
    return made_agent(context=100)


def observations(spec, seed, steps):
    episode = random_episode(spec, seed, steps)
    return [{key: values[t] for key, values in episode.observation.items()} for t in range(steps)]


def play(policy, environment, seeds, watched, others=()):
    """Actions in `environment`, whose episode `watched` is played beside others."""
    played = [*others[:environment], watched, *others[environment:]]
    for b, seed in enumerate(seeds):
        policy.reset(b, seed)
    return [policy.act([episode[t] for episode in played])[environment] for t in range(len(watched))]


def assert_same(found, expected):
    assert len(found) == len(expected)
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("tokenization", [Tokenization(), TASK_TEXT_FIRST], ids=["paper", "task_text_first"])
def test_without_temperature_it_takes_what_the_full_forward_pass_finds_most_probable(agent, tokenization):
    if tokenization == TASK_TEXT_FIRST:
        agent = made_agent(context=100, tokenization=tokenization)
    watched = observations(ROBOT, seed=0, steps=3)
    actions = play(Policy(agent, ROBOT.name, 3, temperature=0.0), 1, [0, 1, 2], watched, [watched, watched])
    layout = Layout(ROBOT, tokenization, task_text=TASK_TEXT)
    table = np.asarray(agent.params["embedding"]["tokens"][...])
    fields = {key: np.stack([action[key] for action in actions]) for key in ROBOT.action}
    episode = dataclasses.replace(random_episode(ROBOT, 0, 3), action=fields)
    steps = layout.encode_timesteps(episode)  # observation and chosen action: the bins' centres encode as themselves
    for step, hidden in zip(steps, AllAtOnce(agent)(steps), strict=True):
        for place, (low, high) in enumerate(layout.action_ranges, start=len(step) - 4):
            assert step.token_ids[place] == low + np.argmax(hidden[place - 1] @ table[low:high].T)


@pytest.mark.parametrize("temperature", [0.0, 1e6])
def test_actions_are_within_their_limits(agent, temperature):
    watched = observations(ROBOT, seed=1, steps=4)
    actions = play(Policy(agent, ROBOT.name, 3, temperature=temperature), 1, [5, 6, 7], watched, [watched, watched])
    for action in actions:
        assert action["arm"].shape == (3,) and (np.abs(action["arm"]) < 0.5).all()
        assert action["gripper"].shape == () and action["gripper"] in (0, 1)


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**31 - 1), st.floats(0, 1e38), st.integers(1, 6), st.floats(-1e4, 1e4))
def test_sampling_stays_in_range_at_any_temperature(seed, temperature, valid, offset):
    logits = jnp.asarray(offset + 10 * np.random.default_rng(seed).normal(size=(2, 8)), jnp.float32)
    keys, ids = jax.random.split(jax.random.key(seed), 2), jnp.arange(8)
    chosen = choose(logits, ((ids >= 1) & (ids < 1 + valid))[None], keys, Temperature(temperature=temperature))
    assert ((chosen >= 1) & (chosen < 1 + valid)).all()


def test_sampling_follows_the_probabilities():
    logits = jnp.log(jnp.tile(jnp.array([[0.5, 0.3, 0.2, 0.9]]), (4000, 1)))
    valid, keys = jnp.array([[True, True, True, False]]), jax.random.split(jax.random.key(0), 4000)
    counts = np.bincount(choose(logits, valid, keys, Temperature()), minlength=4)
    np.testing.assert_allclose(counts / 4000, [0.5, 0.3, 0.2, 0], atol=0.03)


def test_an_episode_does_not_depend_on_what_is_played_beside_it(agent):
    watched, *others = (observations(CONTROL, seed, steps=6) for seed in range(3))
    alone = play(Policy(agent, CONTROL.name, 1), 0, [42], watched)
    assert_same(play(Policy(agent, CONTROL.name, 3), 1, [1, 42, 2], watched, others), alone)
    assert_same(play(Policy(agent, CONTROL.name, 3), 2, [3, 4, 42], watched, others[::-1]), alone)


def test_an_episode_depends_on_its_seed_alone_and_not_on_those_before_it(agent):
    first, second = observations(CONTROL, 0, 5), observations(CONTROL, 1, 5)
    policy = Policy(agent, CONTROL.name, 1)
    play(policy, 0, [7], first)
    after = play(policy, 0, [42], second)
    assert_same(after, play(Policy(agent, CONTROL.name, 1), 0, [42], second))
    other_seed = play(policy, 0, [43], second)
    assert any((one["action"] != two["action"]).any() for one, two in zip(after, other_seed, strict=True))


def test_it_compiles_once_for_a_task(agent):
    policy = Policy(agent, CONTROL.name, 3)
    watched = observations(CONTROL, 0, 4)
    policy.act(watched[:3])
    before = act._cache_size()
    for seed in range(3):
        play(policy, 0, [seed], watched, [watched, watched])
    Policy(agent, CONTROL.name, 3).act(watched[:3])
    assert act._cache_size() == before


def test_it_writes_text(agent):
    layout = Layout(CAPTION, Tokenization())
    steps = [layout.encode_observation(observation) for observation in observations(CAPTION, 0, 2)]
    policy = TextPolicy(agent, CAPTION.name, 2, max_tokens=5)
    texts = policy.write(steps, [1, 2])
    assert len(texts) == 2 and all(isinstance(text, str) for text in texts)
    assert policy.write(steps, [1, 2]) == texts != policy.write(steps, [3, 4])


def test_a_timestep_longer_than_the_context_is_refused():
    agent = made_agent(context=7)
    with pytest.raises(TokenizationError, match="a timestep has 8 tokens, expected at most the agent's context of 7"):
        Policy(agent, CONTROL.name, 1).act(observations(CONTROL, 0, 1))


def test_an_observation_that_has_no_tokens_is_refused(agent):
    bad = {**observations(CONTROL, 0, 1)[0], "velocity": np.array([0.0, np.nan])}
    with pytest.raises(TokenizationError, match="^made/control, observation 'velocity': value nan at .* not finite"):
        Policy(agent, CONTROL.name, 1).act([bad])


@pytest.mark.parametrize("temperature", [-1.0, float("nan")])
def test_a_temperature_below_zero_is_refused(agent, temperature):
    with pytest.raises(ValueError, match="temperature is .*, expected a number, 0 or more"):
        Policy(agent, CONTROL.name, 1, temperature=temperature)


def test_an_unknown_task_names_the_nearest(agent):
    with pytest.raises(UnknownTaskError, match="not trained on 'pusht/push'; its tasks: .*made/control"):
        agent.layout("pusht/push")
    with pytest.raises(UnknownTaskError, match="not trained on 'made/controls'; nearest: made/control"):
        Policy(agent, "made/controls", 1)


def test_a_task_that_is_not_the_trained_one_is_refused(agent):
    agent.require_task(GRID)
    with pytest.raises(ContractError, match="tasks.made/grid.action.action.n: 8 here, 7 in the checkpoint"):
        agent.require_task(dataclasses.replace(GRID, action={"action": Discrete(n=8)}))


def test_it_is_restored_from_a_run(agent, tmp_path):
    store = CheckpointStore(tmp_path)
    run = {"context": agent.context, "memory_steps": agent.memory_steps, "optimizer": {"ema_decay": None}}
    about = {"contract": agent.contract, "model": agent.model, "run": run}
    store.save(7, TrainState(agent.params, jnp.zeros(1), 7), loader={}, **about)
    store.wait()
    restored = Agent.restore(tmp_path)
    assert (restored.step, restored.context, restored.memory_steps) == (7, agent.context, agent.memory_steps)
    watched = observations(CONTROL, 0, 3)
    expected, found = (play(Policy(a, CONTROL.name, 1), 0, [5], watched) for a in (agent, restored))
    assert_same(found, expected)


def test_what_is_scored_is_the_target_of_a_position_not_its_token(agent):
    (sequence,) = Layout(CONTROL, Tokenization()).encode_timesteps(random_episode(CONTROL, 0, 1))
    targets = sequence.target_ids.copy()
    targets[-1] = 32_000 if targets[-1] != 32_000 else 32_001
    (own,), (other,) = (log_probabilities(agent, [s]) for s in (sequence, sequence.replace(target_ids=targets)))
    assert own[0] == other[0] and own[1] != other[1]
