"""Probabilities of actions are those with which the agent played, and attention weights those of a hand computation."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from gato_jax.evaluation.rollout_annotations import CELLS, annotate_rollout, bin_probabilities
from gato_jax.evaluation.teacher_forcing import HeldOutError, batch_windows
from gato_jax.model.attention_maps import attention_weights
from gato_jax.model.config import ComputeConfig
from gato_jax.policy import Decoding, Prompt
from gato_jax.tokenization.sequence import concatenate
from tests.policy.made_agent import AllAtOnce, attentive, made_agent
from tests.tokenization.made_tasks import CONTROL, DIALOGUE, GRID, ROBOT, random_episode


@pytest.fixture(scope="module")
def agent():
    return attentive(made_agent(layers=1, context=200))


def expected_chances(agent, spec, steps, before=()):
    """The probabilities (T, A, 1024) by the whole network over all tokens."""
    sequence = [*before, *steps]
    hidden = np.concatenate(AllAtOnce(agent, length=512)(sequence))
    model = nnx.merge(agent.graph, agent.params)
    logits = np.asarray(model.logits(jnp.asarray(hidden)))
    ranges, end, found = agent.layout(spec.name).action_ranges, sum(map(len, before)), []
    for step in steps:
        end += len(step)
        for at, (low, high) in enumerate(ranges):
            chances = np.zeros(1024)
            chances[: high - low] = jax.nn.softmax(logits[end - len(ranges) + at - 1, low:high])
            found.append(chances)
    return np.array(found).reshape(len(steps), len(ranges), 1024)


def test_ids_are_binned_into_cells_of_equal_ranges():
    chances = np.arange(64.0)[None]
    binned = bin_probabilities(chances, 64)
    np.testing.assert_array_equal(binned[0], chances.reshape(32, 2).sum(axis=1))
    np.testing.assert_array_equal(bin_probabilities(chances, 3)[0], [0, 1, 2] + [0] * 29)
    for count in (33, 100, 1000, 1024):
        cells = np.bincount(np.arange(count) * CELLS // count)
        np.testing.assert_array_equal(bin_probabilities(np.ones(count), count), cells)


def test_the_probabilities_are_those_after_the_recorded_tokens(agent):
    episode = random_episode(ROBOT, 0, steps=4)
    found = annotate_rollout(agent, episode)
    layout = agent.layout(ROBOT.name)
    assert [key for key, _ in layout.action_codecs] == ["arm", "gripper"]  # the order of the columns of the file
    expected = expected_chances(agent, ROBOT, layout.encode_timesteps(episode))
    assert found["probabilities"].shape == (4, 4, CELLS) and found["cells"].tolist() == [32, 32, 32, 2]
    np.testing.assert_allclose(found["probabilities"] / 255, bin_all(expected, [1024] * 3 + [2]), atol=0.003)
    assert found["probabilities"].max() > 20  # not uniform


def bin_all(chances, counts):
    return np.stack([bin_probabilities(chances[:, n], count) for n, count in enumerate(counts)], axis=1)


def test_a_prompt_is_read_before_the_episode(agent):
    prompt = Prompt.of(agent, random_episode(CONTROL, 5, steps=3))
    episode = random_episode(CONTROL, 0, steps=3)
    steps = agent.layout(CONTROL.name).encode_timesteps(episode)
    found = annotate_rollout(agent, episode, prompt.tokens)["probabilities"]
    expected = bin_all(expected_chances(agent, CONTROL, steps, [prompt.tokens]), [1024] * 2)
    np.testing.assert_allclose(found / 255, expected, atol=0.003)
    assert (found != annotate_rollout(agent, episode)["probabilities"]).any()


def test_a_task_without_observations_has_no_probabilities(agent):
    with pytest.raises(HeldOutError, match="has no observations"):
        annotate_rollout(agent, random_episode(DIALOGUE, 0, steps=1))
    assert "attention" not in annotate_rollout(agent, random_episode(GRID, 0, steps=2))


@pytest.mark.parametrize("position", ["relative_xl", "rope"])
def test_attention_weights_are_those_that_make_the_output_of_the_layer(position):
    agent = made_agent(layers=2, position=position)
    batch = batch_windows(agent.layout(CONTROL.name).encode_timesteps(random_episode(CONTROL, 0, steps=2)), 16)

    @jax.jit
    def look(params):
        model = nnx.merge(agent.graph, params)
        first, second = model.block_list
        x = first(embed(model, batch), batch.segment_ids, None, ComputeConfig())
        normed, attention = second.attention_norm(x), second.attention
        values = attention.keys_values(normed, jnp.arange(x.shape[1])[None]).values
        output = attention(normed, batch.segment_ids, ComputeConfig())
        return attention_weights(model, batch, 1), values, output, attention.out[...], attention.out_bias[...]

    weights, values, output, out, bias = map(np.asarray, look(agent.params))
    np.testing.assert_allclose(weights.sum(axis=-1), 1.0, rtol=1e-5)
    assert (np.triu(weights[0, 0], 1) == 0).all() and weights[0, 0, -1].max() < 1
    by_hand = np.einsum("BTNH,NHD->BTD", np.einsum("BNTS,BNSH->BTNH", weights, values), out) + bias
    np.testing.assert_allclose(output, by_hand, rtol=1e-4, atol=1e-5)


def embed(model, batch):
    return model.embedding(*(getattr(batch, name) for name in batch._fields if name != "segment_ids"))


def test_attention_weights_equal_a_softmax_by_hand():
    agent = made_agent(layers=1, position="rope")
    batch = batch_windows(agent.layout(CONTROL.name).encode_timesteps(random_episode(CONTROL, 0, steps=1)), 16)

    @jax.jit
    def look(params):
        model = nnx.merge(agent.graph, params)
        block = model.block_list[0]
        weights = block.attention.query[...], block.attention.key[...]
        return block.attention_norm(embed(model, batch)), attention_weights(model, batch), *weights

    normed, weights, *projections = map(np.asarray, look(agent.params))
    length = int(batch.segment_ids.sum())
    query, key = (np.einsum("TD,DNH->NTH", normed[0, :length], one) for one in projections)
    half = query.shape[-1] // 2
    angle = np.arange(length)[:, None] * 10_000.0 ** (-np.arange(half) / half)

    def turned(vector):
        one, two = vector[..., :half], vector[..., half:]
        return np.concatenate(
            [one * np.cos(angle) - two * np.sin(angle), two * np.cos(angle) + one * np.sin(angle)], -1
        )

    scores = turned(query)[:, -1:] @ turned(key).swapaxes(1, 2) / np.sqrt(2 * half)
    expected = np.exp(scores) / np.exp(scores).sum(axis=-1, keepdims=True)
    found = weights[0, :, length - 1 : length, :length]
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("one_pass", [False, True])
def test_the_map_has_the_weights_of_the_patches_of_the_first_image(agent, one_pass):
    looking = dataclasses.replace(agent, decoding=Decoding(one_pass=one_pass))
    episode = random_episode(ROBOT, 0, steps=3)
    found = annotate_rollout(looking, episode)
    layout = agent.layout(ROBOT.name)
    first = next(key for _, key, codec in layout.observation_columns if key.startswith("camera"))
    np.testing.assert_array_equal(found["attention_image"], episode.observation[first][1])
    steps = layout.encode_timesteps(episode)[:2]
    tokens = concatenate(steps)
    if one_pass:
        tokens = tokens.replace(token_ids=np.where(tokens.action_range[:, 1] > 0, 0, tokens.token_ids))
    batch = batch_windows([tokens.slice(0, len(tokens) - 1)], 16)
    look = jax.jit(lambda params: attention_weights(nnx.merge(agent.graph, params), batch))
    weights = np.asarray(look(agent.params))[0, :, len(tokens) - 2]
    height, width = (side // 16 for side in episode.observation[first].shape[1:3])
    slots = len(steps[0]) + steps[1].patch_slots[: height * width]
    expected = weights.mean(axis=0)[slots].reshape(height, width)
    np.testing.assert_allclose(found["attention"], expected, rtol=1e-5)
    assert found["attention_step"] == 1 and 0 < found["attention"].sum() < 1
