"""Rows of different tasks in one batch: few programs, rows that do not disturb each other, prompts, idle rows."""

import dataclasses
import itertools
import json

import jax
import numpy as np
import pytest

from gato_jax.environments.spec_table import PATH
from gato_jax.episodes import TaskSpec
from gato_jax.policy import REAL_ROBOT, Decoding, Greedy, MixedPolicy, Prompt, Temperature
from gato_jax.policy.act import act
from gato_jax.policy.mixed import action_spans
from gato_jax.policy.prefill import prefill
from gato_jax.policy.shapes import MAX_SHAPES, Shape, choose_shapes
from gato_jax.tokenization import Contract, Tokenization, TokenizationError
from gato_jax.tokenization.limits import Limits
from tests.policy.made_agent import attentive, made_agent
from tests.tokenization.made_tasks import CONTROL, GRID, ROBOT, random_episode

SPECS = (CONTROL, GRID, ROBOT)


@pytest.fixture(scope="module")
def agent():
    return attentive(made_agent(layers=1, context=100))


def observations(spec, seed, steps):
    episode = random_episode(spec, seed, steps)
    return [{key: values[t] for key, values in episode.observation.items()} for t in range(steps)]


def prompt_of(agent, spec, seed=50):
    return Prompt.of(agent, random_episode(spec, seed, 4))


def played(policy, row, spec, seed, steps=4, prompt=None, idle=()):
    """Actions of one row, beside which the rows of `idle` {row: observations} act at every other timestep."""
    policy.reset(row, spec.name, seed, prompt=prompt)
    actions = []
    for t, seen in enumerate(observations(spec, seed, steps)):
        others = {other: each[t] for other, each in dict(idle).items() if t % 2}
        actions.append(policy.act({row: seen, **others})[row])
    return actions


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


def test_an_episode_is_the_same_in_another_batch_beside_other_tasks_with_and_without_prompts(agent):
    sampling = Temperature(temperature=0.02)  # so low that a prompt matters, too
    alone, mixed = (MixedPolicy(agent, rows, sampling=sampling) for rows in (1, 4))
    prompts = {spec.name: prompt_of(agent, spec) for spec in SPECS}
    alone.reset(0, CONTROL.name, 0, prompt=prompts[CONTROL.name])  # so that one program serves both cases
    expected = {
        (spec.name, prompted): played(alone, 0, spec, 7, prompt=prompts[spec.name] if prompted else None)
        for spec, prompted in itertools.product(SPECS, (False, True))
    }
    for row, spec in enumerate((ROBOT, GRID, CONTROL)):  # they go on beside the row that is watched
        mixed.reset(row, spec.name, row, prompt=prompts[spec.name] if row else None)
    others = {row: observations(spec, 20 + row, 4) for row, spec in enumerate((ROBOT, GRID, CONTROL))}
    for spec, prompted in itertools.product(SPECS, (False, True)):
        found = played(mixed, 3, spec, 7, prompt=prompts[spec.name] if prompted else None, idle=others)
        assert_same(found, expected[spec.name, prompted])
    one, two = (expected[CONTROL.name, prompted] for prompted in (False, True))
    assert any((a["action"] != b["action"]).any() for a, b in zip(one, two, strict=True))


def test_a_row_that_is_idle_does_not_advance(agent):
    policy = MixedPolicy(agent, 2)
    expected = played(policy, 0, CONTROL, 3)
    policy.reset(0, CONTROL.name, 3)
    policy.reset(1, GRID.name, 4)
    found = []
    for mine, other in zip(observations(CONTROL, 3, 4), observations(GRID, 4, 4), strict=True):
        policy.act({1: other})
        found.append(policy.act({0: mine})[0])
    assert_same(found, expected)


@pytest.mark.slow
def test_a_hundred_tasks_of_eight_suites_share_six_programs():
    """Prompted and mixed at random in four rows; the observations are drawn from the committed TaskSpecs."""
    table = [TaskSpec.from_json(json.loads(line)) for line in PATH.read_text().splitlines()]
    suites = [[*group] for _, group in itertools.groupby(table, lambda spec: spec.suite)]
    specs = [*itertools.chain(*(tasks[:: len(tasks) // 13 or 1][:13] for tasks in suites))][:100]
    assert len(specs) == 100 and len({spec.suite for spec in specs}) == 8
    agent = made_agent(layers=1, context=800)
    agent = dataclasses.replace(agent, contract=Contract.of(Tokenization(), specs), memory_steps={})
    rows, policy, before = 4, MixedPolicy(agent, 4), act._cache_size() + prefill._cache_size()
    order = np.random.default_rng(0).permutation(100)
    for start in range(0, 100, rows):
        batch = {row: specs[order[start + row]] for row in range(rows)}
        for row, spec in batch.items():
            policy.reset(row, spec.name, row, prompt=prompt_of(agent, spec))
        actions = policy.act({row: observations(spec, row, 1)[0] for row, spec in batch.items()})
        assert all(set(actions[row]) == set(spec.action) for row, spec in batch.items())
    assert len(agent.shapes(loops=True)) == MAX_SHAPES
    assert act._cache_size() + prefill._cache_size() - before <= 6


def test_shapes_are_few_hold_all_tasks_and_pad_similar_ones_together():
    small, large, image = [Shape(n, 0, 8) for n in (4, 8, 12)], Shape(240, 0, 64), Shape(20, 16, 8)
    assert choose_shapes([small[0]]) == (small[0],)
    chosen = choose_shapes([*small, large, image])
    assert chosen == (small[2], image, large, Shape(240, 16, 64))
    assert len(choose_shapes([Shape(n, 0, 8) for n in range(4, 400, 20)])) == MAX_SHAPES


def test_a_prompt_is_the_end_of_a_demonstration_or_a_window_of_it(agent):
    episode = random_episode(CONTROL, 1, 20)
    steps = agent.layout(CONTROL.name).encode_timesteps(episode)
    fit = 50 // len(steps[0])
    assert len(Prompt.of(agent, episode).tokens) == fit * len(steps[0])
    for prompt, start in (
        (Prompt.of(agent, episode, steps=2), 18),
        (Prompt.of(agent, episode, rng=np.random.default_rng(0)), int(np.random.default_rng(0).integers(20 - fit + 1))),
    ):
        length = len(steps[0])
        first = np.concatenate([step.token_ids for step in steps])[start * length :][: len(prompt.tokens)]
        np.testing.assert_array_equal(prompt.tokens.token_ids, first)


def test_a_prompt_that_does_not_fit_is_refused(agent):
    prompt = prompt_of(agent, CONTROL)
    with pytest.raises(ValueError, match="the prompt is of made/control, expected one of made/grid"):
        MixedPolicy(agent, 1).reset(0, GRID.name, 0, prompt=prompt)
    with pytest.raises(ValueError, match="the prompt has 32 tokens, expected at most half of the context, 20"):
        MixedPolicy(agent, 1, decoding=Decoding(context=40)).reset(0, CONTROL.name, 0, prompt=prompt)
    with pytest.raises(TokenizationError, match="a timestep of the prompt has 8 tokens"):
        Prompt.of(made_agent(layers=1, context=14), random_episode(CONTROL, 0, 2))


def test_a_row_that_plays_nothing_is_refused(agent):
    policy = MixedPolicy(agent, 2)
    policy.reset(0, CONTROL.name, 0)
    for row in (1, 2):
        with pytest.raises(ValueError, match=f"row {row} plays no task"):
            policy.act({row: observations(CONTROL, 0, 1)[0]})
    with pytest.raises(ValueError, match="row is 2, expected one from 0 to 1"):
        policy.reset(2, CONTROL.name, 0)


def test_a_real_robot_acts_in_one_pass_without_memory(agent):
    """Greedy, so what it does at a step depends on the observation and the prompt alone."""
    policy = MixedPolicy(agent, 1, sampling=Greedy(), decoding=REAL_ROBOT)
    in_a_row = played(policy, 0, ROBOT, 1, prompt=prompt_of(agent, ROBOT))
    for seen, expected in zip(observations(ROBOT, 1, 4), in_a_row, strict=True):
        policy.reset(0, ROBOT.name, 9, prompt=prompt_of(agent, ROBOT))
        assert_same(policy.act({0: seen})[0], expected)


@pytest.mark.parametrize("actions", ["gato", "rt_1", "rt_2"])
def test_the_ids_of_all_action_tokens_are_among_those_that_are_scored(actions):
    settings = Tokenization(actions=actions)
    limits = {CONTROL.name: {"action": Limits(low=(-1.0, -2.0), high=(1.0, 2.0))}} if actions == "rt_2" else None
    spans = action_spans(settings)
    for low, high in Contract.of(settings, [CONTROL], limits).layout(CONTROL.name).action_ranges:
        assert any(first <= low and high <= stop for first, stop in spans)
