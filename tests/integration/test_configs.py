"""Every config file is one that trains or plans, from whatever folder the command is run in."""

import dataclasses
import functools
import importlib
import os
import pathlib
import subprocess
import sys

import jax
import pytest
from ml_collections import config_flags

from configs.collect import recipe
from configs.data import table_1
from gato_jax.environments import paper, spelled_task, task_names
from gato_jax.evaluation.references import EpisodeTime
from gato_jax.experts import expert_names
from gato_jax.model import count_parameters, initialise
from gato_jax.training import TrainConfig
from gato_jax.verbs.collect import RECIPE_FLAGS
from tests.evaluation.made_references import made_references
from tests.integration.conftest import gato
from tests.warm_python import run_warm

ROOT = pathlib.Path(__file__).parents[2]
PAPER = {"gato_79m": 79e6, "gato_364m": 364e6, "gato_1_18b": 1.18e9}


@functools.cache
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


@pytest.mark.parametrize("name", [*PAPER, "gato_1_18b_rope"])
def test_on_one_gpu_the_batch_is_the_same_and_the_computation_is_fast(name):
    pod, one = config_of(name), config_of(f"{name}_one_gpu")
    assert (one.compute.scan, one.compute.remat, one.mesh.fsdp) == (False, "none", 1)
    assert one.batch_size % one.compute.accumulate == 0 and 16 <= one.batch_size // one.compute.accumulate <= 64
    changed = {field: getattr(one, field) for field in ("compute", "mesh")}
    assert dataclasses.replace(pod, **changed) == one


def test_a_config_finds_its_neighbours_from_another_folder(tmp_path):
    command = ["-m", "gato_jax.cli", "plan", f"--config={ROOT}/configs/gato_79m.py", "--topology=v9:1"]
    done = run_warm(command, cwd=tmp_path)
    assert done.returncode == 2 and "unknown chip 'v9'" in done.stderr


def test_table_1_is_the_papers():
    rows, entries = table_1.TABLE_1, table_1.datasets()
    assert len(rows) == 24 and sum(row.tasks for row in rows.values()) == 604
    assert sum(entry.weight for entry in entries.values()) == pytest.approx(99.93)
    for name, row in rows.items():
        assert sum(entry.weight for key, entry in entries.items() if key.split("__")[0] == name) == pytest.approx(
            row.weight
        )
        tasks = row.recorded if row.recorded and row.tasks > 1 else ()
        held_out = [task for task in paper.DOMAINS[name].tasks if spelled_task(task, table_1.HELD_OUT)] if tasks else []
        assert not tasks or len({*tasks, *held_out}) == row.tasks
        assert set(tasks) <= set(task_names()) - set(table_1.HELD_OUT)
        assert not [text for text in (*row.recorded, *row.public) if spelled_task(text, table_1.HELD_OUT)]


def test_a_recipe_for_each_control_domain_that_can_be_recorded_names_tasks_with_experts():
    files = {file.stem for file in (ROOT / "configs" / "collect").glob("*.py")} - {"recipe"}
    control = set(list(paper.DOMAINS)[:16])
    assert files == set(recipe.PAPER_EPISODES) == control - {"rgb_stacking_real", "playroom"}
    for domain in files:
        config = importlib.import_module(f"configs.collect.{domain}").get_config().recording
        assert set(config.tasks) <= set(expert_names()) and set(config) <= set(RECIPE_FLAGS)
        assert not [task for task in config.tasks if spelled_task(task, paper.HELD_OUT)]


def test_the_hours_of_a_recipe_are_those_of_its_timed_tasks():
    times = [EpisodeTime(seconds=9.0, cpu_seconds=seconds, cores=2) for seconds in (2.4, 4.8)]
    names = ("babyai/GoTo-v0", "babyai/Open-v0")
    table = {name: made_references(task=name, expert_time=time) for name, time in zip(names, times, strict=True)}
    table["babyai/Synth-v0"] = made_references(task="babyai/Synth-v0", expert_time=None)
    row = recipe.hours("babyai", table)
    assert (row.tasks, row.timed, row.episodes) == (46, 2, 1000)
    assert row.on_cores == pytest.approx({2: 1.0, 64: 1 / 32})
    assert row.of_paper == pytest.approx(4_610_000 * 3.6 / 3600 / 64)


PURE = """
import sys
from configs.collect import babyai, dm_lab
from configs import article_variant, finetune, gato_1_18b, gato_1_18b_rope, gato_364m, gato_79m, quickstart
from configs import gato_1_18b_one_gpu, gato_1_18b_rope_one_gpu, gato_364m_one_gpu, gato_79m_one_gpu
from configs.data import table_1
PODS = article_variant, finetune, gato_1_18b, gato_1_18b_rope, gato_364m, gato_79m, quickstart, table_1
ONE_GPU = gato_1_18b_one_gpu, gato_1_18b_rope_one_gpu, gato_364m_one_gpu, gato_79m_one_gpu
ONE_GPU += babyai, dm_lab
for module in (*PODS, *ONE_GPU):
    module.get_config()  # imports may happen
read = []
sys.addaudithook(lambda event, args: event in ("open", "os.listdir", "os.scandir") and read.append(args))
for module in (*PODS, *ONE_GPU):
    module.get_config()
assert not read, read
"""


def test_configs_read_no_disk(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", PURE], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


def test_what_is_not_on_disk_is_skipped_and_said(tmp_path, collected, caplog):
    config = f"{ROOT}/configs/gato_79m.py:{collected[0] / 'data'}"
    words = [f"--workdir={tmp_path}", "--config.steps=20000", "--config.context=90"]
    with caplog.at_level("WARNING"):
        said = gato("train", f"--config={config}", *words)
    assert "exceeds context 90" in said.complaint()
    total, present = len(table_1.datasets()), 100 * 9.06 / 46 / 99.93
    assert f"skipped {total - 1} of {total} datasets; their {100 - present:.2f}% of the weight goes to" in caplog.text
    assert "  playroom, 1.33%: never released, and the paper does not describe it" in caplog.text
    assert f"  and {total - 1 - 12} more" in caplog.text
    few = "--config.batch_size=8"  # the memory of the step is checked before the data
    nothing = gato("train", f"--config={ROOT}/configs/gato_79m.py:{tmp_path}", f"--workdir={tmp_path}", few)
    assert f"none of the {total} datasets of the config is there" in nothing.complaint()
    strict = gato("train", f"--config={config}", f"--workdir={tmp_path}", few, "--config.missing=error").complaint()
    assert "playroom is unavailable: never released" in strict and "set config.missing to skip" in strict
