"""Datasets of held-out tasks are kept out of a mixture before they are opened, before they are tokenized, or after."""

import dataclasses
import logging
from typing import Any

import pytest

from gato_jax.batching import DatasetConfig, MixtureError, open_mixture, write_records
from gato_jax.tokenization import Tokenization
from gato_jax.training import ConfigError, TrainConfig
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.test_config import config

HELD_OUT = ("dm_control/cartpole/swingup", "atari/boxing", "meta_world/assembly-v3")
RUN: dict[str, Any] = {"batch_size": 4, "context": 96, "seed": 0}


def exported(folder, suite="made", task="control", source="made", instructions=None):
    """The export of two episodes, as a dataset of a config."""
    spec = dataclasses.replace(CONTROL, suite=suite, task=task, instructions=instructions)
    made = [random_episode(spec, seed, 3) for seed in range(2)]
    episodes = [dataclasses.replace(e, provenance=dataclasses.replace(e.provenance, source=source)) for e in made]
    write_records(folder, spec, episodes, str(folder), Tokenization())
    return DatasetConfig(source=f"tokens:{folder}", weight=1.0)


@pytest.mark.parametrize(
    "name, source, said",
    [
        ("games", "rlds:/data/rlu_atari/Boxing_run_1/1.1.0", "'rlu_atari/Boxing_run_1/1.1.0' spells atari/boxing"),
        ("games", "minari:atari/boxing/expert-v0", "spells atari/boxing"),
        ("games", "recorded:/data/atari__boxing/1.0.0", "spells atari/boxing"),
        ("control", "rlds:rlu_control_suite/cartpole_swingup", "spells dm_control/cartpole/swingup"),
        ("control", "rlds:/home/me/x#rlu_control_suite/cartpole_swingup", "spells dm_control/cartpole/swingup"),
        ("metaworld_assembly", "lerobot:/data/mine", "'metaworld_assembly' spells meta_world/assembly-v3"),
    ],
)
def test_a_dataset_is_kept_out_by_its_names_without_being_opened(tmp_path, caplog, name, source, said):
    datasets = {name: DatasetConfig(source=source, weight=3.0), "ours": exported(tmp_path / "ours")}
    with caplog.at_level(logging.WARNING):
        mixture = open_mixture(datasets, Tokenization(), held_out_tasks=HELD_OUT, **RUN)
    assert mixture.names == ["ours"] and said in mixture.kept_out[name]
    assert f"kept out 1 of 2 datasets because of held-out tasks: {name} (" in caplog.text and "75.00%" in caplog.text


@pytest.mark.parametrize(
    "fields",
    [
        {"suite": "ale", "task": "Boxing-v5"},
        {"task": "bench", "instructions": ("assembly-v2",)},
        {"source": "rlu_atari/Boxing_run_1 1.1.0"},
    ],
)
def test_a_dataset_is_kept_out_by_its_task_and_by_where_it_comes_from(tmp_path, fields):
    datasets = {"a": exported(tmp_path / "x1", **fields), "b": exported(tmp_path / "x2")}
    mixture = open_mixture(datasets, Tokenization(), held_out_tasks=HELD_OUT, **RUN)
    assert mixture.names == ["b"] and list(mixture.kept_out) == ["a"]
    assert open_mixture(datasets, Tokenization(), **RUN).names == ["a", "b"]  # without held-out tasks
    with pytest.raises(MixtureError, match="all 1 datasets that are there are of held-out tasks"):
        open_mixture({"a": datasets["a"]}, Tokenization(), held_out_tasks=HELD_OUT, **RUN)


def test_the_folder_above_a_dataset_does_not_count(tmp_path):
    folder = tmp_path / "atari-boxing-project" / "runs" / "of" / "mine"
    made = open_mixture({"a": exported(folder)}, Tokenization(), held_out_tasks=HELD_OUT, **RUN)
    assert made.names == ["a"]


def test_a_config_names_held_out_tasks_in_full():
    assert TrainConfig.from_mapping(config(held_out_tasks=("atari/boxing",))).held_out_tasks == ("atari/boxing",)
    with pytest.raises(ConfigError, match="held_out_tasks has 'boxing', expected full names SUITE/TASK"):
        TrainConfig.from_mapping(config(held_out_tasks=("boxing",)))
