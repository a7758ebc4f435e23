"""Data to train on, and one compilation of each program for all tests of this folder."""

import jax
import pytest

from gato_jax.batching import write_records
from tests.tokenization.made_tasks import CONTROL, GAME, random_episode
from tests.training.made_run import TOKENIZATION

CACHE = {
    "jax_compilation_cache_dir": None,
    "jax_persistent_cache_min_compile_time_secs": 0.3,
    "jax_persistent_cache_min_entry_size_bytes": 0,
}


@pytest.fixture(scope="session", autouse=True)
def compile_once(tmp_path_factory):
    """The loop compiles anew whenever it is called; here it is called often."""
    before = {name: getattr(jax.config, name) for name in CACHE}
    folder = str(tmp_path_factory.mktemp("compiled"))
    for name, value in {**CACHE, "jax_compilation_cache_dir": folder}.items():
        jax.config.update(name, value)
    yield folder
    for name, value in before.items():
        jax.config.update(name, value)


@pytest.fixture(scope="session")
def data(tmp_path_factory):
    """A folder of token records: a control task and a game."""
    folder = tmp_path_factory.mktemp("data")
    for spec in (CONTROL, GAME):
        episodes = [random_episode(spec, seed, steps=6) for seed in range(4)]
        write_records(folder / spec.task, spec, episodes, f"data-{spec.task}", TOKENIZATION)
    return folder
