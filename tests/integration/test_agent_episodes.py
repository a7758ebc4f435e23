"""An agent's own episodes: recorded by the command, stored like any others, and trained on beside the expert's."""

import json

import numpy as np
import pytest

from gato_jax.environments import RECORDING_SEEDS
from gato_jax.episodes import open_dataset
from tests.integration.conftest import DATASET, TASK, finish, gato, metrics_of, start

# The tiny run on two datasets of one task, three rows of the expert's for one of the agent's.
MIXED = """
from tests.integration import tiny_config

def get_config():
    config = tiny_config.get_config()
    config.steps = 4
    config.datasets = dict(
        expert=dict(source="recorded:{experts}/{dataset}/1.0.0", weight=3.0, window=1),
        agent=dict(source="recorded:{agents}/{dataset}/1.0.0", weight=1.0, window=1),
    )
    return config
"""


def collect(trained, output, *arguments):
    return gato("collect", f"--tasks={TASK}", "--episodes=3", f"--output={output}", *arguments)


@pytest.fixture(scope="module")
def recorded(trained, tmp_path_factory):
    """The folder with the datasets of the trained agent's own episodes."""
    folder = tmp_path_factory.mktemp("agent")
    said = collect(trained, folder, f"--policy={trained}", "--environments=2", f"--json={folder / 'collect.json'}")
    assert said.status == 0, said.err
    return folder


def test_an_agents_episodes_are_an_ordinary_dataset(recorded, trained):
    dataset = open_dataset(recorded / DATASET / "1.0.0")
    counts = json.loads((recorded / "collect.json").read_text())["tasks"][TASK]
    assert counts["episodes"] == len(dataset) == 3 and counts["steps"] == dataset.acting_lengths.sum()
    assert [episode.seed for episode in dataset] == list(RECORDING_SEEDS[:3])
    provenance = dataset[0].provenance
    assert provenance.agent == f"gato_jax agent {trained.name}, step 20; temperature 1"
    assert (provenance.kind, provenance.licence, provenance.collector) == (
        "simulated", "Apache-2.0", "gato_jax.rollouts",
    )  # fmt: skip


@pytest.mark.slow
def test_worker_processes_record_the_same(recorded, trained, tmp_path):
    assert collect(trained, tmp_path, f"--policy={trained}", "--workers=2").status == 0
    datasets = [open_dataset(folder / DATASET / "1.0.0") for folder in (recorded, tmp_path)]
    assert datasets[0].fingerprint == datasets[1].fingerprint


def test_random_play_is_recorded_too(trained, tmp_path):
    assert collect(trained, tmp_path, "--actor=random").status == 0
    dataset = open_dataset(tmp_path / DATASET / "1.0.0")
    assert dataset[0].provenance.agent == "uniformly random actions"
    assert len(np.unique(np.concatenate([episode.action["action"] for episode in dataset]))) > 3


@pytest.mark.parametrize(
    "arguments, complaint",
    [
        (["--actor=random", "--noise=0.1"], "--noise is 0.1, expected no noise where no expert plays"),
        (["--policy={run}", "--noise=0.1"], "--noise is 0.1, expected no noise where no expert plays"),
        (["--policy={run}", "--actor=expert"], "--actor is expert and --policy is"),
        (["--policy={run}", "--tasks=babyai/GoTo-v0"], "the agent was not trained on 'babyai/GoTo-v0'"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(trained, tmp_path, arguments, complaint):
    words = [argument.format(run=trained) for argument in arguments]
    assert complaint in collect(trained, tmp_path / "data", *words).complaint()
    assert not (tmp_path / "data").exists()


def test_a_mixture_holds_the_agents_episodes_beside_the_experts(collected, recorded, tmp_path):
    config = tmp_path / "mixed" / "config.py"
    config.parent.mkdir()
    config.write_text(MIXED.format(experts=collected[0] / "data", agents=recorded, dataset=DATASET))
    run = tmp_path / "run"
    said = finish(start("-m", "gato_jax.cli", "train", f"--config={config}", f"--workdir={run}"))
    assert said.status == 0, said.err
    agents, experts = json.loads((run / "data.json").read_text())
    assert (agents["episodes"], agents["weight"]) == (3, 0.25) and "gato_jax agent" in agents["agent"]
    assert (experts["episodes"], experts["weight"]) == (4, 0.75) and "BabyAIBot" in experts["agent"]
    losses = [line["loss"] for line in metrics_of(run)]
    assert len(losses) == 4 and np.isfinite(losses).all()
