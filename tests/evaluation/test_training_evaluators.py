"""Evaluators of a training run: held-out losses of the datasets that have such a split, and scores of rollouts."""

import json

import jax
import numpy as np
import pytest

from gato_jax.batching import DatasetConfig
from gato_jax.environments import EVALUATION_SEEDS, UnknownTaskError
from gato_jax.episodes import write_dataset
from gato_jax.evaluation.demonstrations import choose_demonstrations
from gato_jax.evaluation.training_evaluators import open_evaluators
from gato_jax.policy import Agent, AgentActor
from gato_jax.policy.act import act
from gato_jax.rollouts import play
from gato_jax.training import ConfigError, EvaluatorsConfig, open_run_mixture, train
from tests.evaluation.made_environment import TASK, register_drift
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.made_run import made_config


@pytest.fixture(autouse=True)
def drift(monkeypatch):
    register_drift(monkeypatch)


def made_run(folder, **evaluators):
    """The config and mixture of twelve steps on two datasets of one task, of which one has a held-out split."""
    splits = {"train": [random_episode(CONTROL, seed, steps=6) for seed in range(4)]}
    plain = write_dataset(folder / "plain", CONTROL, splits)
    held_out = write_dataset(folder / "split", CONTROL, {**splits, "test": [random_episode(CONTROL, 9, steps=6)]})
    datasets = {
        name: DatasetConfig(source=f"recorded:{data}", weight=1.0)
        for name, data in (("plain", plain), ("split", held_out))
    }
    config = made_config(datasets=datasets, steps=12, evaluators=EvaluatorsConfig(every=6, **evaluators))
    return config, open_run_mixture(config, folder)


@pytest.mark.usefixtures("shared_programs")
def test_a_run_measures_held_out_losses_and_scores_of_rollouts(tmp_path, own_cache, monkeypatch):
    config, mixture = made_run(tmp_path, held_out_rows=8, tasks=(TASK,), episodes=3, environments=2)
    train(config, mixture, tmp_path / "run", evaluators=open_evaluators(config, mixture, tmp_path))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    measured = {line["step"]: line["held_out/split"] for line in lines if "held_out/split" in line}
    assert list(measured) == [6, 12] and not any("held_out/plain" in line for line in lines)
    assert np.isfinite(list(measured.values())).all() and measured[12] < measured[6] < 8

    scores = {line["step"]: line[f"rollout/{TASK}"] for line in lines if f"rollout/{TASK}" in line}
    assert list(scores) == [6, 12]
    monkeypatch.setattr(jax, "device_count", lambda: 1)
    agent, compiled = Agent.restore(tmp_path / "run"), act._cache_size()
    starts = [(TASK, seed) for seed in EVALUATION_SEEDS[:3]]
    prompts = choose_demonstrations(agent, config.datasets, [TASK], None)
    assert prompts.mode == "demonstration"
    with jax.set_mesh(None):
        played = [one.score for one in play(lambda: AgentActor(agent, prompts=prompts), starts, environments=3)]
    assert scores[12] == pytest.approx(np.mean([score for score in played if score is not None]))
    assert act._cache_size() == compiled + 1  # one program of three rows, at every timestep


@pytest.mark.parametrize(
    ("evaluators", "error", "said"),
    [
        ({"tasks": ("made/drft",)}, UnknownTaskError, "unknown task 'made/drft'"),
        ({"tasks": (TASK,), "episodes": 10**7}, ConfigError, "evaluators.episodes is 10000000, expected at most"),
    ],
)
def test_rollouts_that_cannot_be_played_are_refused_before_the_first_step(evaluators, error, said, tmp_path, own_cache):
    config, mixture = made_run(tmp_path, **evaluators)
    with pytest.raises(error, match=said):
        open_evaluators(config, mixture, tmp_path)
