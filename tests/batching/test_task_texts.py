"""Token records whose episodes begin with the text of their task, and the rows that are cut from them."""

import dataclasses

import numpy as np
import pytest

from gato_jax.batching import Mixture, write_records
from gato_jax.batching.task_texts import task_texts_of
from gato_jax.tokenization import TextCodec, Tokenization
from tests.tokenization.made_tasks import CONTROL, DIALOGUE, random_episode

FIRST = Tokenization(task_text_first=True)
WRITTEN = dataclasses.replace(CONTROL, instructions=(" ", "hold the pole up", "balance it"))
TEXT = TextCodec().encode("hold the pole up")
STEP = 5 + 1 + 2  # observation, separator, action
STEPS = 5  # of each episode


@pytest.fixture(scope="module")
def records(tmp_path_factory):
    episodes = [random_episode(WRITTEN, seed, steps=STEPS) for seed in range(3)]
    return write_records(tmp_path_factory.mktemp("first") / "records", WRITTEN, episodes, "data", FIRST)


def test_the_text_is_the_first_instruction_or_a_sentence_made_of_the_name():
    assert task_texts_of(WRITTEN, FIRST) == {"made/control": "hold the pole up"}
    assert task_texts_of(CONTROL, FIRST) == {"made/control": "complete the control task"}
    cartpole = dataclasses.replace(CONTROL, suite="dm_control", task="cartpole/balance")
    assert task_texts_of(cartpole, FIRST) == {"dm_control/cartpole/balance": "balance the pole on the cart"}
    assert task_texts_of(WRITTEN, Tokenization()) == task_texts_of(DIALOGUE, FIRST) == {}


def test_the_text_belongs_to_the_first_timestep_of_each_episode(records):
    first = np.arange(records.steps) % STEPS == 0
    np.testing.assert_array_equal(records.index.step_tokens, np.where(first, len(TEXT) + STEP, STEP))
    np.testing.assert_array_equal(records.index.step_targets, np.where(first, len(TEXT) + 2, 2))
    np.testing.assert_array_equal(records.timesteps(STEPS, STEPS + 1)[0].token_ids[: len(TEXT)], TEXT)


@pytest.mark.parametrize("sampling", [{}, {"window": "timesteps"}, {"window": 4}], ids=str)
def test_rows_hold_the_text_where_they_hold_the_beginning_of_an_episode(records, sampling):
    mixture = Mixture.uniform({"a": records}, batch_size=4, context=80, seed=0, **sampling, prompt_share=0.5)
    assert mixture.contract.task_texts == {"made/control": "hold the pole up"}
    begins = prompts = 0
    for row in range(24):
        plan, tokens = mixture.build(row)
        at = 0
        for piece in (piece for segment in plan.segments for piece in segment):
            held = tokens.slice(at, at := at + piece.keep)
            if starts := piece.start % STEPS == 0:
                np.testing.assert_array_equal(
                    held.token_ids[: max(len(TEXT) - piece.skip, 0)], TEXT[piece.skip :][: piece.keep]
                )
            assert starts or not np.isin(held.token_ids, TEXT[:-1]).any()
            begins, prompts = begins + starts, prompts + (starts and piece.prompt)
    assert begins and prompts  # a demonstration from the beginning of an episode has its text
