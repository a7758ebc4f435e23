"""Token records of made-up tasks, written once for all tests of this folder."""

import pytest

from gato_jax.batching import write_records
from gato_jax.tokenization import Tokenization
from tests.tokenization.made_tasks import ALL, random_episode

LENGTHS = (3, 1, 7, 5)


@pytest.fixture(scope="session")
def records(tmp_path_factory):
    """{task: TokenRecords} of four episodes each."""
    folder = tmp_path_factory.mktemp("records")
    made = {}
    for spec in ALL:
        episodes = [random_episode(spec, seed, steps) for seed, steps in enumerate(LENGTHS)]
        made[spec.task] = write_records(folder / spec.task, spec, episodes, f"data-{spec.task}", Tokenization())
    return made
