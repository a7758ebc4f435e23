"""Every config file is one that trains or plans, from whatever folder the command is run in."""

import dataclasses
import pathlib
import subprocess
import sys

import jax
import pytest
from ml_collections import config_flags

from configs.data import table_1
from gato_jax.model import count_parameters, initialise
from gato_jax.training import TrainConfig
from tests.integration.conftest import gato

ROOT = pathlib.Path(__file__).parents[2]
PAPER = {"gato_79m": 79e6, "gato_364m": 364e6, "gato_1_18b": 1.18e9}


def config_of(name):
    flag = config_flags.DEFINE_config_file(f"config_{name}", str(ROOT / "configs" / f"{name}.py"))
    return TrainConfig.from_mapping(flag.default, pathlib.Path("run"))


@pytest.mark.parametrize("name", [*PAPER, "gato_1_18b_rope", "article_variant"])
def test_a_config_makes_a_run(name):
    config = config_of(name)
    assert (config.context, config.steps, config.compute.dtype) == (1024, 1_000_000, "bfloat16")
    shapes = jax.eval_shape(lambda: initialise(config.model, jax.random.key(0)))
    if name in PAPER:
        assert abs(count_parameters(shapes) / PAPER[name] - 1) < 0.01
        assert dataclasses.replace(config.optimizer, peak_learning_rate=1e-4) == type(config.optimizer)()
        assert config.optimizer.peak_learning_rate == (2e-4 if name == "gato_364m" else 1e-4)


def test_a_config_finds_its_neighbours_from_another_folder(tmp_path):
    command = [sys.executable, "-m", "gato_jax.cli", "plan", f"--config={ROOT}/configs/gato_79m.py", "--topology=v9:1"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2 and "no chip 'v9'" in done.stderr


def test_table_1_is_the_papers(tmp_path):
    made = table_1.datasets(tmp_path)
    assert len(table_1.TABLE_1) == len(made) == 24
    assert sum(dataset.tasks for dataset in table_1.TABLE_1.values()) == 604
    assert sum(entry.weight for entry in made.values()) == pytest.approx(99.93)
    assert all(entry.source.startswith("unavailable:") for entry in made.values())


def test_what_is_recorded_has_the_weight_of_its_dataset_and_what_is_not_says_so(tmp_path, collected):
    made = table_1.datasets(collected[0] / "data")
    (key,) = [key for key, entry in made.items() if entry.source.startswith("recorded:")]
    assert key.startswith("babyai__babyai_gotoredball") and made[key].weight == 9.06
    config = f"{ROOT}/configs/gato_79m.py:{collected[0] / 'data'}"
    said = gato("train", f"--config={config}", f"--workdir={tmp_path}", "--config.steps=20000", "--config.context=90")
    assert "left out, 9.36% of the weight: dm_lab: DeepMind Lab has no package" in said.out
    assert "90.93% of the weight goes to the other 1 datasets" in said.out
    assert "exceeds context 90" in said.complaint()
    nothing = gato("train", f"--config={ROOT}/configs/gato_79m.py:{tmp_path}", f"--workdir={tmp_path}")
    assert "no dataset of the config is available" in nothing.complaint()
