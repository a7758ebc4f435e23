"""Test against a slow transcription of the paper's tokenization, sentence by sentence, on random episodes."""

import dataclasses
import math

import numpy as np
import pytest
import sentencepiece

from gato_jax.episodes import Continuous, Discrete, Image, Text
from gato_jax.tokenization import Layout, Tokenization
from gato_jax.tokenization.codecs.text import TOKENIZER_MODEL
from tests.tokenization.random_tasks import RandomTask, random_task

PIECES = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZER_MODEL))
EPISODES = 1000


@dataclasses.dataclass
class Token:
    """One position, as the paper describes it; a patch has pixels instead of an id."""

    id: int = 0
    local: int = 0
    target: bool = False
    valid: tuple[int, int] = (0, 0)
    pixels: bytes | None = None
    interval: tuple[int, int, int, int] | None = None


def leaves(tree, path=""):
    """Nested structures are ordered lexicographically by key."""
    for key in sorted(tree):
        if isinstance(tree[key], dict):
            yield from leaves(tree[key], f"{path}{key}/")
        else:
            yield f"{path}{key}", tree[key]


def row_major(value) -> list:
    if np.ndim(value) == 0:
        return [value]
    return [x for part in value for x in row_major(part)]


def text_tokens(text) -> list[Token]:
    """Text is always predicted; our end-of-text piece closes it."""
    return [Token(id=piece, target=True) for piece in [*PIECES.encode(text), 2]]


def discrete_tokens(value) -> list[Token]:
    """Integers in [0, 1024)."""
    return [Token(id=int(number)) for number in row_major(value)]


def continuous_tokens(value, modality, *, action: bool) -> list[Token]:
    """Observations are mu-law companded, then clipped to [-1, 1], cut into 1024 uniform bins and shifted by 32000."""
    tokens = []
    for element, x in enumerate(row_major(value)):
        x = float(x)
        if action:
            low = modality.low[element] if isinstance(modality.low, tuple) else modality.low
            high = modality.high[element] if isinstance(modality.high, tuple) else modality.high
            unit = 2 * (x - low) / (high - low) - 1
        else:
            unit = math.copysign(math.log(abs(x) * 100 + 1) / math.log(256 * 100 + 1), x)
        unit = max(-1.0, min(1.0, unit))
        tokens.append(Token(id=32_000 + min(1023, math.floor((unit + 1) / 2 * 1024))))
    return tokens


def patch_tokens(image, modality) -> list[Token]:
    """Non-overlapping 16x16 patches in raster order, each with its share of the image's sides, of 128."""
    if modality.fit == "crop":
        rows, columns = modality.height // 16, modality.width // 16
        top, left = (modality.height - 16 * rows) // 2, (modality.width - 16 * columns) // 2
    else:  # only images of whole patches are resized here
        rows, columns, top, left = -(-modality.height // 16), -(-modality.width // 16), 0, 0
    tokens = []
    for row in range(rows):
        for column in range(columns):
            pixels = bytearray()
            for y in range(top + 16 * row, top + 16 * row + 16):
                for x in range(left + 16 * column, left + 16 * column + 16):
                    inside = y < modality.height and x < modality.width
                    pixels += image[y, x].tobytes() if inside else bytes(3)
            edges = (row / rows, (row + 1) / rows, column / columns, (column + 1) / columns)
            tokens.append(Token(pixels=bytes(pixels), interval=tuple(round(128 * edge) for edge in edges)))
    return tokens


def tokens_of(value, modality, *, action: bool) -> list[Token]:
    match modality:
        case Text():
            tokens, valid = text_tokens(value), (0, 32_000)
        case Discrete():
            tokens, valid = discrete_tokens(value), (0, modality.n)
        case Continuous():
            tokens, valid = continuous_tokens(value, modality, action=action), (32_000, 33_024)
        case Image():
            tokens, valid = patch_tokens(value, modality), (0, 0)
    if action:
        for token in tokens:
            token.target, token.valid = True, valid
    return tokens


def transcribe(task: RandomTask) -> list[Token]:
    """Timesteps in time order: observation, separator, action. The last observation, without an action, is left out."""
    tokens, episode = [], task.episode
    for t in range(len(episode) - 1 if episode.final_observation else len(episode)):
        seen, done = [], []
        for key, modality in leaves(task.observation):
            seen += tokens_of(episode.observation[key][t], modality, action=False)
        if task.observation:
            seen.append(Token(id=33_024))
        for number, token in enumerate(seen):
            token.local = number
        for key, modality in leaves(task.action):
            done += tokens_of(episode.action[key][t], modality, action=True)
        for token in done:
            token.local = 511 if task.observation else 0
        tokens += seen + done
    return tokens


@pytest.mark.parametrize("seeds", [range(a, a + 100) for a in range(0, EPISODES, 100)], ids=lambda seeds: str(seeds[0]))
def test_a_literal_transcription_gives_the_same_tokens(seeds):
    for seed in seeds:
        task = random_task(seed)
        sequence, expected = Layout(task.spec, Tokenization()).encode(task.episode), transcribe(task)
        said = f"random_task({seed})"
        assert sequence.token_ids.tolist() == [token.id for token in expected], said
        assert sequence.target_ids.tolist() == [token.id for token in expected], said
        assert sequence.local_position.tolist() == [token.local for token in expected], said
        assert sequence.loss_mask.tolist() == [token.target for token in expected], said
        assert [tuple(valid) for valid in sequence.action_range.tolist()] == [t.valid for t in expected], said
        assert sequence.segment_ids.tolist() == [1] * len(expected) and not sequence.prompt_mask.any(), said
        patches = [(slot, token) for slot, token in enumerate(expected) if token.pixels is not None]
        assert sequence.patch_slots.tolist() == [slot for slot, _ in patches], said
        assert [patch.tobytes() for patch in sequence.patches] == [token.pixels for _, token in patches], said
        assert [tuple(interval) for interval in sequence.patch_intervals.tolist()] == [
            token.interval for _, token in patches
        ], said


def test_the_random_tasks_have_all_that_may_go_wrong():
    tasks = [random_task(seed) for seed in range(EPISODES)]
    episodes = [task.episode for task in tasks]
    assert any(not task.observation for task in tasks) and any(not task.action for task in tasks)
    assert any(episode.acting_steps == 0 for episode in episodes) and any(len(episode) == 1 for episode in episodes)
    assert any(any("/" in key for key in task.spec.observation) for task in tasks)
    images = [[m for m in task.spec.observation.values() if isinstance(m, Image)] for task in tasks]
    assert any(len({image.shape for image in of_one}) > 1 for of_one in images)
    texts = [values for episode in episodes for values in episode.action.values() if values.dtype == object]
    assert any(len({len(text) for text in values}) > 1 for values in texts) and any("" in values for values in texts)
    order = [list(dict(leaves(task.observation))) for task in tasks]
    assert any(keys != sorted(keys) for keys in order)  # where the tree's order is not that of the flat keys
