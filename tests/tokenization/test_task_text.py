"""The text of a task as the first tokens of each of its episodes: in training, in acting and in the contract."""

import dataclasses
import json

import numpy as np
import pytest

from gato_jax.tokenization import Contract, ContractError, Layout, Tokenization, TokenizationError, decode, describe
from gato_jax.tokenization.sequence import concatenate
from tests.tokenization.made_tasks import ALL, CAPTION, CONTROL, DIALOGUE, GRID, ROBOT, episode_of, random_episode
from tests.tokenization.test_decoding import assert_same_tokens

PAPER, FIRST = Tokenization(), Tokenization(task_text_first=True)
TEXT = "go to the red ball"
OBSERVED = [spec for spec in ALL if spec.observation]
by_task = pytest.mark.parametrize("spec", OBSERVED, ids=lambda spec: spec.task)


def with_text(spec, tokenization=FIRST) -> Layout:
    return Layout(spec, tokenization, task_text=TEXT)


@by_task
def test_the_text_comes_before_the_tokens_of_the_episode_and_changes_none_of_them(spec):
    episode = random_episode(spec, seed=0, steps=3)
    tokens, plain = with_text(spec).encode(episode), Layout(spec, PAPER).encode(episode)
    length = len(tokens) - len(plain)
    text, rest = tokens.slice(0, length), tokens.slice(length, len(tokens))
    assert_same_tokens(rest, plain, spec.name)
    assert [token.value for token in describe(with_text(spec), tokens)[:length]] == [
        "▁go", "▁to", "▁the", "▁red", "▁ball", "</s>"
    ]  # fmt: skip
    assert not text.local_position.any() and not text.action_range.any()  # as pure text, and no action
    np.testing.assert_array_equal(text.target_ids, text.token_ids)


def test_the_text_is_a_target_where_text_in_observations_is():
    episode = random_episode(GRID, seed=0, steps=1)
    for predict in (True, False):
        settings = dataclasses.replace(FIRST, predict_text_observations=predict)
        assert with_text(GRID, settings).encode(episode).loss_mask[:6].tolist() == [predict] * 6


@by_task
def test_acting_sees_the_text_and_the_observation_of_training_once(spec):
    layout, episode = with_text(spec), random_episode(spec, seed=1, steps=3)
    for number, trained in enumerate(layout.encode_timesteps(episode)):
        observation = {key: values[number] for key, values in episode.observation.items()}
        seen = layout.encode_observation(observation, first=number == 0)
        assert_same_tokens(seen, trained.slice(0, len(seen)), f"{spec.name}, step {number}")


@by_task
def test_decoding_leaves_the_text_out_wherever_an_episode_begins(spec):
    layout, plain = with_text(spec), Layout(spec, PAPER)
    one, two = (random_episode(spec, seed, steps=2) for seed in (2, 3))
    joined = layout.encode(two, prompt=one)
    decoded, expected = decode(layout, joined), decode(plain, plain.encode(two, prompt=one))
    for side in ("observation", "action"):
        for key, values in getattr(expected, side).items():
            np.testing.assert_array_equal(getattr(decoded, side)[key], values)
    described = describe(layout, joined)
    assert [token for token in described if token.kind != "task text"] == describe(plain, plain.encode(two, prompt=one))
    assert sum(token.kind == "task text" for token in described) == 2 * 6  # the prompt is an episode, with its text
    later = concatenate(layout.encode_timesteps(two)[1:])
    assert_same_tokens(later, concatenate(plain.encode_timesteps(two)[1:]), spec.name)


def test_an_observation_with_the_words_of_the_task_is_no_text_of_the_task():
    episode = random_episode(GRID, seed=0, steps=2)
    mission = np.array([TEXT] * 2, object)
    observation = {"direction": episode.observation["direction"], "image": episode.observation["image"]}
    episode = episode_of(GRID, {**observation, "mission": mission}, dict(episode.action))
    layout = with_text(GRID)
    assert decode(layout, layout.encode(episode)).observation["mission"].tolist() == [TEXT] * 2


@by_task
def test_a_sequence_cut_at_the_text_is_refused(spec):
    layout = with_text(spec)
    tokens = layout.encode(random_episode(spec, seed=0, steps=2))
    for start, stop in [(1, len(tokens)), (5, len(tokens)), (0, 6), (0, 3), (0, 7)]:
        with pytest.raises(TokenizationError, match="are not whole timesteps"):
            describe(layout, tokens.slice(start, stop))


def test_tasks_without_observations_and_episodes_without_actions_have_no_text():
    document = random_episode(DIALOGUE, seed=0, steps=1)
    assert_same_tokens(Layout(DIALOGUE, FIRST).encode(document), Layout(DIALOGUE, PAPER).encode(document), "dialogue")
    only_final = dataclasses.replace(random_episode(CONTROL, seed=0, steps=1), final_observation=True)
    assert len(with_text(CONTROL).encode(only_final)) == 0 and with_text(CONTROL).encode_timesteps(only_final) == []


@pytest.mark.parametrize("text", [None, "", " \n"])
def test_a_layout_that_needs_a_text_says_that_it_has_none(text):
    with pytest.raises(TokenizationError, match=r"made/robot, the task's text is .*, expected words"):
        Layout(ROBOT, FIRST, task_text=text)


def test_the_contract_holds_the_texts_and_is_unchanged_without_the_setting():
    texts = {CAPTION.name: "describe the image", ROBOT.name: TEXT}
    contract = Contract.of(FIRST, [ROBOT, CAPTION], task_texts=texts)
    back = Contract.from_json(json.loads(json.dumps(contract.to_json())))
    assert back == contract and back.layout(ROBOT.name).task_text == TEXT
    with pytest.raises(ContractError, match="task_texts.made/robot"):
        contract.require_equal(Contract.of(FIRST, [ROBOT, CAPTION], task_texts={**texts, ROBOT.name: "wait"}), "a file")
    with pytest.raises(ContractError, match="tokenization.task_text_first"):
        contract.require_equal(Contract.of(PAPER, [ROBOT, CAPTION]), "a file")
    plain = Contract.of(PAPER, [ROBOT]).to_json()
    assert "task_texts" not in plain and "task_text_first" not in plain["tokenization"]
