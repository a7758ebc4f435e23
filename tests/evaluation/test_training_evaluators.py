"""Evaluators of a training run: held-out losses of the datasets that have such a split."""

import json

import numpy as np
import pytest

from gato_jax.batching import DatasetConfig
from gato_jax.episodes import write_dataset
from gato_jax.evaluation.training_evaluators import open_evaluators
from gato_jax.training import EvaluatorsConfig, open_run_mixture, train
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.made_run import made_config


@pytest.mark.usefixtures("shared_programs")
def test_a_run_measures_the_loss_of_held_out_splits(tmp_path, own_cache):
    splits = {"train": [random_episode(CONTROL, seed, steps=6) for seed in range(4)]}
    plain = write_dataset(tmp_path / "plain", CONTROL, splits)
    held_out = write_dataset(tmp_path / "split", CONTROL, {**splits, "test": [random_episode(CONTROL, 9, steps=6)]})
    datasets = {
        name: DatasetConfig(source=f"recorded:{folder}", weight=1.0)
        for name, folder in (("plain", plain), ("split", held_out))
    }
    config = made_config(datasets=datasets, steps=12, evaluators=EvaluatorsConfig(every=6, held_out_rows=8))
    mixture = open_run_mixture(config, tmp_path)
    evaluators = open_evaluators(config, mixture, tmp_path)
    train(config, mixture, tmp_path / "run", evaluators=evaluators)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = {line["step"]: line["held_out/split"] for line in lines if "held_out/split" in line}
    assert list(measured) == [6, 12] and not any("held_out/plain" in line for line in lines)
    assert np.isfinite(list(measured.values())).all() and measured[12] < measured[6] < 8
