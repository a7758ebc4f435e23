"""The paper's tokenization once more, slowly and word by word, gives the same tokens on random tasks."""

import dataclasses
import math

import numpy as np
import pytest
import sentencepiece
from hypothesis import given, settings
from hypothesis import strategies as st

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec, Text
from gato_jax.tokenization import Layout, Tokenization
from gato_jax.tokenization.codecs import TOKENIZER_MODEL
from tests.tokenization.made_tasks import random_episode

PIECES = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZER_MODEL))


@dataclasses.dataclass
class Token:
    """One position, as the paper describes it; a patch has pixels instead of an id."""

    id: int = 0
    local: int = 0
    target: bool = False
    valid: tuple[int, int] = (0, 0)
    pixels: bytes | None = None


def tokens_of(value, modality, *, action: bool) -> list[Token]:
    match modality:
        case Text():
            tokens = [Token(id=piece, target=True) for piece in [*PIECES.encode(value), 2]]
            valid = (0, 32_000)
        case Discrete():
            tokens = [Token(id=int(number)) for number in np.asarray(value).flatten(order="C")]
            valid = (0, modality.n)
        case Continuous():
            tokens, valid = [], (32_000, 33_024)
            lows = np.broadcast_to(np.reshape(modality.low, np.shape(modality.low) and modality.shape), modality.shape)
            highs = np.broadcast_to(
                np.reshape(modality.high, np.shape(modality.high) and modality.shape), modality.shape
            )
            for x, low, high in zip(value.flatten(), lows.flatten(), highs.flatten(), strict=True):
                x = float(x)
                if action:
                    unit = 2 * (x - low) / (high - low) - 1
                else:
                    unit = math.copysign(math.log(abs(x) * 100 + 1) / math.log(256 * 100 + 1), x)
                unit = max(-1.0, min(1.0, unit))
                tokens.append(Token(id=32_000 + min(1023, math.floor((unit + 1) / 2 * 1024))))
        case Image():
            rows, columns = modality.height // 16, modality.width // 16
            corners = [(16 * row, 16 * column) for row in range(rows) for column in range(columns)]
            return [Token(pixels=value[top : top + 16, left : left + 16].tobytes()) for top, left in corners]
    if action:
        for token in tokens:
            token.target, token.valid = True, valid
    return tokens


def timestep(spec: TaskSpec, observation: dict, action: dict) -> list[Token]:
    seen = []
    for key in sorted(observation):
        seen += tokens_of(observation[key], spec.observation[key], action=False)
    if observation:
        seen.append(Token(id=33_024))
    for number, token in enumerate(seen):
        token.local = number
    done = []
    for key in sorted(action):
        done += tokens_of(action[key], spec.action[key], action=True)
    for token in done:
        token.local = 511 if observation else 0
    return seen + done


shapes = st.lists(st.integers(1, 3), max_size=2).map(tuple)
limits = st.tuples(st.floats(-9, 0), st.floats(0.5, 9)).map(lambda pair: {"low": pair[0], "high": pair[0] + pair[1]})
fixed_size = st.builds(Discrete, n=st.integers(1, 1024), shape=shapes)
sides = st.integers(1, 3).map(lambda n: 16 * n)
observations = st.one_of(
    st.just(Text()), fixed_size, st.builds(Continuous, shape=shapes), st.builds(Image, height=sides, width=sides)
)
actions = st.one_of(st.just(Text()), fixed_size, st.builds(lambda s, kw: Continuous(shape=s, **kw), shapes, limits))
keys = st.text("abAB/_1", min_size=1, max_size=4)
specs = st.builds(
    TaskSpec,
    suite=st.just("made"), task=st.just("random"),
    observation=st.dictionaries(keys, observations, max_size=4),
    action=st.dictionaries(keys, actions, min_size=1, max_size=2),
)  # fmt: skip


@pytest.mark.filterwarnings("ignore:Do not use the `random` module")  # the checker of signatures draws what it checks
@settings(max_examples=300, deadline=None)
@given(specs, st.integers(0, 2**32 - 1))
def test_a_literal_transcription_gives_the_same_tokens(spec, seed):
    episode = random_episode(spec, seed=seed, steps=1)
    (step,) = Layout(spec, Tokenization()).encode(episode)
    expected = timestep(
        spec, *({key: v[0] for key, v in side.items()} for side in (episode.observation, episode.action))
    )
    np.testing.assert_array_equal(step.token_ids, [token.id for token in expected])
    np.testing.assert_array_equal(step.local_position, [token.local for token in expected])
    np.testing.assert_array_equal(step.loss_mask, [token.target for token in expected])
    np.testing.assert_array_equal(step.action_range, [token.valid for token in expected])
    patches = [(slot, token.pixels) for slot, token in enumerate(expected) if token.pixels]
    np.testing.assert_array_equal(step.patch_slots, [slot for slot, _ in patches])
    assert [patch.tobytes() for patch in step.patches] == [pixels for _, pixels in patches]
