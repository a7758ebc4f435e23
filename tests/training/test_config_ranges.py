"""Every number of a config states its range, so that no value of it ends in a traceback."""

import dataclasses
import typing

import pytest

from gato_jax.episodes.ranges import Range
from gato_jax.tokenization.vqvae import ImageTokenizerConfig
from gato_jax.training import ConfigError, TrainConfig
from gato_jax.training.finetuning import FinetuneConfig
from tests.training.test_config import config


def unranged(hint, path):
    """Yield the path of each number in a type that has no range, and of those in the dataclasses within it."""
    if typing.get_origin(hint) is typing.Annotated:
        if not any(isinstance(note, Range) for note in hint.__metadata__):
            yield from unranged(hint.__origin__, path)
    elif dataclasses.is_dataclass(hint):
        for name, kind in typing.get_type_hints(hint, include_extras=True).items():
            yield from unranged(kind, f"{path}.{name}")
    elif hint in (int, float):
        yield path
    elif typing.get_origin(hint) is not typing.Literal:
        for part in typing.get_args(hint):
            yield from unranged(part, path)


@pytest.mark.parametrize("kind", [TrainConfig, FinetuneConfig, ImageTokenizerConfig])
def test_every_number_of_a_config_has_a_range(kind):
    assert list(unranged(kind, "config")) == []


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"seed": -1}, "config.seed is -1, expected a whole number in"),
        ({"datasets": {"a": {"source": "recorded:a", "weight": float("inf")}}}, "weight is inf, expected a positive"),
        ({"batch_size": 0}, "batch_size is 0, expected a positive whole number"),
        ({"tokenization": {"mu": float("nan")}}, "config.tokenization.mu is nan, expected"),
        ({"tokenization": {"vocabulary": {"bins": 1 << 40}}}, "config.tokenization.vocabulary.bins is 1099511627776"),
    ],
)
def test_numbers_beyond_their_range_are_named(changes, said):
    with pytest.raises(ConfigError, match=said):
        TrainConfig.from_mapping(config(**changes))
