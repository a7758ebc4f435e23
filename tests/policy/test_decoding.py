"""The ways to run the network: loops, one pass for all action tokens, dtypes, padded sizes and their programs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete
from gato_jax.policy import Decoding, Policy
from gato_jax.policy.act import act
from gato_jax.policy.batches import pad_observations
from gato_jax.policy.cache import empty_state, open_timestep, resize
from gato_jax.policy.rings import write_by_row, write_by_scatter
from gato_jax.policy.shapes import bucket, fit_shape
from gato_jax.tokenization import Contract, Tokenization
from tests.policy.made_agent import AllAtOnce, made_agent
from tests.tokenization.made_tasks import CONTROL, ROBOT, random_episode

NARROW = dataclasses.replace(
    CONTROL, task="narrow", observation={"position": Continuous(shape=(4,))}, action={"action": Discrete(n=3)}
)


@pytest.fixture(scope="module")
def agent():
    agent = made_agent(layers=1, context=60)
    tasks = Contract.of(Tokenization(), [*agent.contract.tasks.values(), NARROW])
    return dataclasses.replace(agent, contract=tasks)


def observations(spec, steps, seed=0):
    episode = random_episode(spec, seed, steps)
    return [{key: values[t] for key, values in episode.observation.items()} for t in range(steps)]


def lowered(policy, spec):
    mixed = policy.mixed
    steps = {0: policy.layout.encode_observation(observations(spec, 1)[0])}
    loops = mixed.decoding.loops
    shape = fit_shape(policy.agent.shapes(loops=loops), mixed._shape_of(0, steps[0]), loops=loops)
    observation = pad_observations(steps, mixed.rows, shape.length, mixed.rows * shape.patches, 16)
    every = jnp.ones(mixed.rows, bool)
    return act.lower(
        policy.agent.graph, mixed.network, resize(mixed.state, shape.columns), observation,
        mixed._table.pad(shape.actions), every, every, mixed.keys, mixed.settings,
    )  # fmt: skip


def test_in_one_pass_each_token_is_what_the_full_forward_pass_finds_most_probable_after_zeros():
    agent, steps = made_agent(context=100), 3
    embedding = agent.params["embedding"]
    tokens = np.array(embedding["tokens"][...])
    tokens[-1] = 0  # a row that only pads the table
    embedding["tokens"][...] = jnp.asarray(tokens)
    policy = Policy(agent, ROBOT.name, 2, temperature=0.0, decoding=Decoding(one_pass=True))
    seen = observations(ROBOT, steps)
    chosen = [policy.act([seen[t], seen[0]])[0] for t in range(steps)]
    encoded = policy.layout.encode_timesteps(random_episode(ROBOT, 0, steps))
    zeroed = [
        step.replace(token_ids=np.where(np.arange(len(step)) < len(step) - 4, step.token_ids, len(tokens) - 1))
        for step in encoded
    ]
    for action, step, hidden in zip(chosen, zeroed, AllAtOnce(agent)(zeroed), strict=True):
        ids = policy.layout.encode_action(action).token_ids
        for index, (low, high) in enumerate(policy.layout.action_ranges):
            assert ids[index] == low + np.argmax(hidden[len(step) - 5 + index] @ tokens[low:high].T)


def test_the_unrolled_loop_chooses_the_same_as_the_loop_on_the_device(agent):
    policies = [Policy(agent, CONTROL.name, 2, decoding=Decoding(loop=loop)) for loop in ("unrolled", "while")]
    seen = observations(CONTROL, 4)
    for two in zip(seen[:2], seen[2:], strict=True):
        found, expected = (policy.act(two) for policy in policies)
        jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_a_step_runs_the_network_once_for_each_action_token(agent):
    def runs(spec, **decoding):
        policy = Policy(agent, spec.name, 1, decoding=Decoding(**decoding))
        second = f"tensor<{agent.model.hidden // 2}x{agent.model.width}xf32>"  # weights of the feed-forward layer
        lines = lowered(policy, spec).as_text().split("\n")
        return sum("dot_general" in line and second in line for line in lines)

    assert runs(ROBOT, loop="unrolled") == len(agent.layout(ROBOT.name).action_ranges) == 4
    assert runs(ROBOT) == 2  # the observation, and the body of the loop
    assert runs(ROBOT, one_pass=True) == 1


@pytest.mark.parametrize("environments", [1, 3])
def test_the_cache_is_written_in_place(agent, environments):
    program = lowered(Policy(agent, CONTROL.name, environments), CONTROL).compile().as_text()
    lead = f"{environments},{agent.model.heads}" if environments > 1 else f"{agent.model.heads}"
    size, width = agent.model.head_size, agent.context + 8 + 8
    for shape in (f"f32[{lead},{size},{width}]", f"f32[{lead},{width},{size}]"):
        assert shape in program
        copies = [line for line in program.split("\n") if f" = {shape}" in line and " copy(" in line]
        assert not copies, copies[:2]


def test_tasks_of_similar_sizes_share_a_program(agent):
    Policy(agent, CONTROL.name, 2).act(observations(CONTROL, 2))
    before = act._cache_size()
    assert len(agent.layout(NARROW.name).action_ranges) != len(agent.layout(CONTROL.name).action_ranges)
    Policy(agent, NARROW.name, 2).act(observations(NARROW, 2))
    assert act._cache_size() == before


def test_with_bfloat16_norms_stay_in_float32_and_the_actions_are_valid(agent):
    policy = Policy(agent, ROBOT.name, 2, decoding=Decoding(dtype="bfloat16"))
    for one in observations(ROBOT, 2):
        for action in policy.act([one, one]):
            assert (np.abs(action["arm"]) < 0.5).all() and action["gripper"] in (0, 1)
    block = policy.mixed.network.params["blocks"][0]
    assert block["attention"]["query"][...].dtype == policy.mixed.state.layers[0].keys.dtype == jnp.bfloat16
    assert block["attention_norm"]["scale"][...].dtype == jnp.float32


def test_both_ways_to_write_the_rings_write_the_same(agent):
    rng, slots, columns = np.random.default_rng(0), 12, 6
    state = empty_state(agent.model, 3, slots, columns)
    state = state._replace(
        layers=jax.tree.map(lambda ring: jnp.asarray(rng.normal(size=ring.shape), jnp.float32), state.layers),
        next_position=jnp.array([2, 10, 23], jnp.int32), last_id=jnp.array([-1, 5, 6], jnp.int32),
    )  # fmt: skip
    observed = jnp.array([[True, True, False], [True, True, True], [False, False, False]])
    table = open_timestep(state, observed, jnp.array([3, 1, 2]), slots, jnp.full(3, 9))
    first = state.next_position % slots
    by_row, by_scatter = (jax.jit(write)(state.layers, first, table) for write in (write_by_row, write_by_scatter))
    jax.tree.map(np.testing.assert_array_equal, by_row, by_scatter)
    old, new = state.layers[0], by_row[0]
    for changed in (new.values != old.values).any(axis=(1, 3)), (new.keys != old.keys).any(axis=(1, 2)):
        assert changed.sum(axis=1).tolist() == [4, 4, 2]


def test_sizes_are_few_and_little_of_them_is_padding():
    sizes = {count: bucket(count) for count in range(1025)}
    assert all(count <= size for count, size in sizes.items())
    assert all(size - count < max(4, size / 5) for count, size in sizes.items())
    assert len(set(sizes.values())) == 29
