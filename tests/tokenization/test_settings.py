"""Tests of the action tokens of RT-1 and RT-2 by hand, and of settings that contradict each other."""

import numpy as np
import pytest
import sentencepiece

from gato_jax.episodes import Continuous, Discrete, TaskSpec
from gato_jax.tokenization import Layout, Limits, Tokenization, TokenizationError, Vocabulary, decode
from gato_jax.tokenization.codecs.text import TOKENIZER_MODEL
from tests.tokenization.made_tasks import episode_of

ARM = TaskSpec(
    suite="made", task="arm",
    observation={"seen": Continuous(shape=(2,), low=-10.0, high=10.0)},
    action={"arm": Continuous(shape=(3,), low=-1.0, high=1.0), "grip": Discrete(n=2)},
)  # fmt: skip
LIMITS = {"arm": Limits((-0.5, 0.0, -0.1), (0.5, 0.8, 0.3))}


def action_ids(layout: Layout, arm) -> list[int]:
    return layout.encode_action({"arm": np.array(arm), "grip": np.int32(1)}).token_ids.tolist()


def test_gato_has_1024_bins_between_the_tasks_limits():
    assert action_ids(Layout(ARM, Tokenization()), [-1, 0, 1]) == [32_000, 32_512, 33_023, 1]


def test_rt_1_has_256_bins_between_the_tasks_limits():
    layout = Layout(ARM, Tokenization(actions="rt_1"))
    # a bin is 2/256 wide: 0.1 is 140.8 bins above -1
    assert action_ids(layout, [-1, 0, 1]) == [32_000, 32_128, 32_255, 1]
    assert action_ids(layout, [0.1, -0.9999, 7]) == [32_140, 32_000, 32_255, 1]
    np.testing.assert_array_equal(layout.action_ranges, [[32_000, 32_256]] * 3 + [[0, 2]])
    centres = layout.decode_action(np.array([32_000, 32_128, 32_255, 1]))["arm"]
    np.testing.assert_allclose(centres, [-1 + 1 / 256, 1 / 256, 1 - 1 / 256], rtol=1e-6)


def test_rt_2_has_256_bins_between_the_percentiles_on_falling_text_ids():
    layout = Layout(ARM, Tokenization(actions="rt_2"), action_limits=LIMITS)
    assert action_ids(layout, [-0.5, 0.0, -0.1]) == [31_999, 31_999, 31_999, 1]  # bin 0
    assert action_ids(layout, [0.5, 0.8, 0.3]) == [31_744, 31_744, 31_744, 1]  # bin 255
    assert action_ids(layout, [0.0, 0.4, 0.1 + 1e-9]) == [31_999 - 128] * 3 + [1]
    # 0.25 is 0.75 * 256 = 192 bins above -0.5; 0.1 is 32 above 0; -0.05 is 32 above -0.1
    assert action_ids(layout, [0.25 + 1e-9, 0.1 + 1e-9, -0.05 + 1e-9]) == [31_999 - 192, 31_999 - 32, 31_999 - 32, 1]
    np.testing.assert_array_equal(layout.action_ranges, [[31_744, 32_000]] * 3 + [[0, 2]])


def test_rt_2_clips_what_lies_beyond_the_percentiles():
    layout = Layout(ARM, Tokenization(actions="rt_2"), action_limits=LIMITS)
    assert action_ids(layout, [-1, -1, -1]) == [31_999] * 3 + [1]
    assert action_ids(layout, [1, 1, 1]) == [31_744] * 3 + [1]
    outermost = layout.decode_action(np.array([31_999, 31_744, 31_744, 1]))["arm"]
    np.testing.assert_allclose(outermost, [-0.5 + 1 / 512, 0.8 - 0.8 / 512, 0.3 - 0.4 / 512], rtol=1e-5)


def test_rt_2_uses_the_256_least_probable_pieces_of_the_text_model():
    model = sentencepiece.SentencePieceProcessor(model_file=str(TOKENIZER_MODEL))
    scores = np.array([model.GetScore(token) for token in range(model.vocab_size())])
    fixed = [model.IsControl(i) or model.IsByte(i) or model.IsUnknown(i) for i in range(len(scores))]
    spaces = [
        set(model.IdToPiece(i)) == {"\u2581"} for i in range(len(scores))
    ]  # their scores were set to -1e9 by hand
    learned = ~np.array(fixed) & ~np.array(spaces)
    assert model.vocab_size() == 32_000 and learned[31_744:].all()
    least = np.flatnonzero(learned)[np.argsort(scores[learned], kind="stable")[:256]]
    assert sorted(least.tolist()) == list(range(31_744, 32_000))
    assert scores[31_744:].max() < scores[:31_744][learned[:31_744]].min()


def test_rt_2_without_measured_limits_is_refused():
    for limits in (None, {}, {"other": LIMITS["arm"]}):
        with pytest.raises(TokenizationError, match="made/arm, action 'arm': has no measured limits, .*rt_2"):
            Layout(ARM, Tokenization(actions="rt_2"), action_limits=limits)


@pytest.mark.parametrize("actions", ["rt_1", "rt_2"])
def test_only_actions_have_256_bins(actions):
    layout = Layout(ARM, Tokenization(actions=actions), action_limits=LIMITS)
    seen = layout.encode_observation({"seen": np.array([1.0, -1.0])})
    np.testing.assert_array_equal(seen.token_ids, [32_744, 32_279, 33_024])


@pytest.mark.parametrize("actions", ["gato", "rt_1", "rt_2"])
def test_an_episode_comes_back_under_each_setting(actions):
    layout = Layout(ARM, Tokenization(actions=actions), action_limits=LIMITS)
    rng = np.random.default_rng(0)
    arm = rng.uniform([-0.5, 0.0, -0.1], [0.5, 0.8, 0.3], (50, 3))
    episode = episode_of(ARM, {"seen": rng.normal(size=(50, 2))}, {"arm": arm, "grip": rng.integers(2, size=50)})
    back = decode(layout, layout.encode(episode))
    width = {"gato": 2 / 1024, "rt_1": 2 / 256, "rt_2": np.array([1.0, 0.8, 0.4]) / 256}[actions]
    assert (np.abs(back.action["arm"] - arm) <= width / 2 + 1e-6).all()
    np.testing.assert_array_equal(back.action["grip"], episode.action["grip"])


def test_linear_observations_are_scaled_from_their_limits():
    layout = Layout(ARM, Tokenization(observations="linear"))
    seen = layout.encode_observation({"seen": np.array([0.0, 99.0])})
    np.testing.assert_array_equal(seen.token_ids, [32_512, 33_023, 33_024])
    endless = TaskSpec(suite="m", task="t", observation={"x": Continuous(shape=())}, action={"a": Discrete(n=2)})
    with pytest.raises(TokenizationError, match="m/t, observation 'x': needs finite limits"):
        Layout(endless, Tokenization(observations="linear"))


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"mu": 0.0}, "mu is 0.0, expected a positive number"),
        ({"m": -1.0}, "m is -1.0, expected a positive number"),
        ({"mu": float("nan")}, "mu is nan, expected a positive number"),
        ({"patch": 0}, "patch is 0, expected a positive whole number"),
        ({"local_positions": 1}, "local_positions is 1, expected a whole number, 2 or more"),
        (
            {"actions": "rt_1", "vocabulary": Vocabulary(bins=128)},
            "bins is 128, expected 256 or more",
        ),
        (
            {"actions": "rt_2", "vocabulary": Vocabulary(text=100)},
            "text is 100, but actions=rt_2 uses the last",
        ),
        ({"vocabulary": Vocabulary(image_codes=64)}, "image_codes is 64 and image_tokenizer None"),
        ({"image_tokenizer": "0123"}, "image_codes is 0 and image_tokenizer 0123"),
        ({"image_ahead": 5}, "image_ahead is 5, which needs an image tokenizer"),
    ],
)
def test_settings_that_contradict_themselves_are_refused(fields, said):
    with pytest.raises(ValueError, match=said):
        Tokenization(**fields)


@pytest.mark.parametrize("fields", [{"text": 0}, {"bins": 1}, {"bins": 65_537}, {"image_codes": -1}])
def test_a_vocabulary_that_cannot_be_is_refused(fields):
    with pytest.raises(ValueError, match=f"vocabulary.{next(iter(fields))} is .*, expected a (positive )?whole number"):
        Vocabulary(**fields)
