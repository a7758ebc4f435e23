"""Data to train on."""

import pytest

from gato_jax.batching import write_records
from tests.tokenization.made_tasks import CONTROL, GAME, random_episode
from tests.training.made_run import TOKENIZATION


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder of token records: a control task and a game."""
    folder = tmp_path_factory.mktemp("data")
    for spec in (CONTROL, GAME):
        episodes = [random_episode(spec, seed, steps=6) for seed in range(4)]
        write_records(folder / spec.task, spec, episodes, f"data-{spec.task}", TOKENIZATION)
    return folder
