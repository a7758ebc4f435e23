"""Datasets of held-out tasks are kept out of a mixture before they are opened, before they are tokenized, or after."""

import dataclasses
import logging
from typing import Any

import numpy as np
import pytest

from gato_jax.batching import DatasetConfig, Mixture, MixtureError, open_mixture, write_records
from gato_jax.batching.held_out_tasks import held_out_episodes
from gato_jax.tokenization import Tokenization
from gato_jax.training import ConfigError, TrainConfig
from tests.tokenization.made_tasks import CONTROL, GRID, random_episode
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


def test_episodes_of_a_dataset_of_several_tasks_are_kept_out_one_by_one(tmp_path, caplog):
    missions = ("go to the ball", "assembly-v2", "open the door", "ALE/Boxing-v5", "assembly-v2", "pick up the key")
    sources = ("mine",) * 5 + ("rlu_atari/Boxing_run_1 1.1.0",)
    episodes = []
    for seed, (mission, source) in enumerate(zip(missions, sources, strict=True)):
        made = random_episode(GRID, seed, steps=20 + seed)
        observation = {**made.observation, "mission": np.full(len(made), mission, object)}
        provenance = dataclasses.replace(made.provenance, source=source, licence=f"licence of {source}")
        episodes.append(dataclasses.replace(made, observation=observation, provenance=provenance))
    every = write_records(tmp_path / "all", GRID, episodes, "all", Tokenization())
    kept = write_records(tmp_path / "kept", GRID, [episodes[0], episodes[2]], "kept", Tokenization())
    datasets = {"many": DatasetConfig(source=f"tokens:{tmp_path / 'all'}", weight=1.0)}
    with caplog.at_level(logging.WARNING):
        records = open_mixture(datasets, Tokenization(), held_out_tasks=HELD_OUT, **RUN).records["many"]
    assert (
        "kept out 4 of 6 episodes of many because of held-out tasks: 2 ('assembly-v2' spells meta_world" in caplog.text
    )
    assert records.index.episode_steps.tolist() == [20, 22] and [p.source for p in records.provenances] == ["mine"]
    assert records.maxima == kept.maxima and records.fingerprint not in (every.fingerprint, kept.fingerprint)
    records.verify()
    windows = [(0, 20), (7, 9), (20, 42), (41, 42)]
    for found, wanted in zip(records.read(windows), kept.read(windows), strict=True):
        np.testing.assert_array_equal(found.token_ids, wanted.token_ids)
    mixed = Mixture.uniform({"many": records}, **RUN)
    assert all(set(mixed.build(row)[1].episode_ids) <= {0, 1} for row in range(8))


def test_a_phrasing_of_a_held_out_instruction_is_kept_out_with_its_group(tmp_path):
    texts = ("put the nut on the peg", "open the door")
    made = [random_episode(GRID, seed, steps=2) for seed in range(2)]
    episodes = [
        dataclasses.replace(e, observation={**e.observation, "mission": np.full(2, text, object)})
        for e, text in zip(made, texts, strict=True)
    ]
    records = write_records(tmp_path / "all", GRID, episodes, "all", Tokenization())
    groups = (("assembly-v3", texts[0]), (texts[1], "please open the door"))
    assert held_out_episodes(records, HELD_OUT)[0].tolist() == [False, False]
    assert held_out_episodes(records, HELD_OUT, phrasings=groups)[0].tolist() == [True, False]


def test_the_folder_above_a_dataset_does_not_count(tmp_path):
    folder = tmp_path / "atari-boxing-project" / "runs" / "of" / "mine"
    made = open_mixture({"a": exported(folder)}, Tokenization(), held_out_tasks=HELD_OUT, **RUN)
    assert made.names == ["a"]


def test_a_config_names_held_out_tasks_in_full():
    assert TrainConfig.from_mapping(config(held_out_tasks=("atari/boxing",))).held_out_tasks == ("atari/boxing",)
    with pytest.raises(ConfigError, match="held_out_tasks has 'boxing', expected full names SUITE/TASK"):
        TrainConfig.from_mapping(config(held_out_tasks=("boxing",)))
