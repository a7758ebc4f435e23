"""Prompts of an evaluation: where demonstrations come from, which one an episode gets, and what the results say."""

import dataclasses
import functools

import numpy as np
import pytest

from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.episodes import write_dataset
from gato_jax.evaluation import Demonstrations, NoDemonstrationError, demonstrations, open_demonstrations
from gato_jax.evaluation.agent_results import evaluate_agent
from gato_jax.evaluation.demonstrations import ExpertDemonstrations
from gato_jax.experts import ExpertActor
from gato_jax.policy import Temperature
from gato_jax.training import OptimizerConfig, TrainConfig, write_config
from tests.evaluation.made_environment import TASK, Drift, drifting_agent, register_drift
from tests.policy.made_agent import MODEL, attentive
from tests.rollouts.made_drift import NoisyActor
from tests.tokenization.made_tasks import CONTROL, random_episode

SUCCESS = 3  # number of the only episode of the dataset that succeeds


@pytest.fixture
def workdir(tmp_path):
    return make_run(tmp_path)


def make_run(folder, **changes):
    """Write a dataset of the task and the config of a run that was trained on it, and return the run's folder."""
    episodes = [random_episode(CONTROL, n, 6, success=n == SUCCESS) for n in range(6)]
    directory = write_dataset(folder / "data", CONTROL, {"train": episodes})
    dataset = DatasetConfig(source=f"recorded:{directory}", weight=1.0, **changes)
    run = folder / "run"
    run.mkdir()
    optimizer = OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=1)
    config = TrainConfig(
        seed=0, batch_size=1, context=60, steps=2, model=MODEL, optimizer=optimizer, datasets={"drift": dataset}
    )
    write_config(config, run)
    return run


def test_a_prompt_is_a_success_of_the_dataset_and_depends_on_the_seed_alone(workdir):
    agent = drifting_agent()
    found = open_demonstrations(agent, workdir, [TASK], None)
    assert found.mode == "demonstration" and "dataset drift, 6 episodes, fingerprint " in str(found.describe(TASK))
    prompts = [found.choose(agent, TASK, seed) for seed in range(20)]
    assert {prompt.source for prompt in prompts} == {f"drift, episode {SUCCESS}"}
    for seed, prompt in enumerate(prompts):
        again = open_demonstrations(agent, workdir, [TASK], "demonstration").choose(agent, TASK, seed)
        np.testing.assert_array_equal(again.tokens.token_ids, prompt.tokens.token_ids)
    ends = [prompt.tokens.token_ids[-1] for prompt in prompts]
    assert 5 < ends.count(max(ends, key=ends.count)) < 20  # half of them are the end, the others any window


def test_tasks_without_a_dataset_or_trained_without_prompts_have_none_unless_asked_for(tmp_path, workdir):
    agent = drifting_agent()
    assert open_demonstrations(agent, workdir, [TASK], "none").mode == "none"
    assert open_demonstrations(agent, tmp_path, [TASK], None).choose(agent, TASK, 0) is None
    (tmp_path / "other").mkdir()
    untrained = make_run(tmp_path / "other", prompt_share=0.0)
    assert open_demonstrations(agent, untrained, [TASK], None).mode == "none"
    assert open_demonstrations(agent, untrained, [TASK], "demonstration").mode == "demonstration"
    with pytest.raises(NoDemonstrationError, match=f"{TASK} has no dataset at hand and no expert"):
        open_demonstrations(agent, tmp_path, [TASK], "demonstration")
    short = dataclasses.replace(agent, context=15)  # no timestep fits into half of it
    assert open_demonstrations(short, workdir, [TASK], None).mode == "none"
    with pytest.raises(NoDemonstrationError, match=f"{TASK} cannot have a prompt: .* half of the context, 7 tokens"):
        open_demonstrations(short, workdir, [TASK], "demonstration")


def test_an_expert_demonstrates_where_there_is_no_dataset(monkeypatch):
    monkeypatch.setattr(demonstrations, "ExpertActor", NoisyActor)
    monkeypatch.setattr(demonstrations, "play", functools.partial(demonstrations.play, load=lambda _: Drift()))
    assert demonstrations.ExpertActor is not ExpertActor
    agent = drifting_agent()
    found = Demonstrations({TASK: ExpertDemonstrations(TASK)})
    prompt = found.choose(agent, TASK, 5)
    assert prompt is not None and prompt.source.startswith("expert, seed 99999") and len(prompt.tokens) % 8 == 0
    found.prepare(TASK)
    monkeypatch.setattr(demonstrations, "play", None)  # all have been played
    assert len({found.choose(agent, TASK, seed).source for seed in range(30)}) > 1


def test_the_results_name_the_prompts_and_differ_from_those_without(workdir, tmp_path, monkeypatch):
    register_drift(monkeypatch)
    agent = attentive(drifting_agent())
    prompts = open_demonstrations(agent, workdir, [TASK], None)
    entries = [
        dict(
            evaluate_agent(
                agent,
                {TASK: None},
                tmp_path,
                episodes=4,
                environments=4,
                sampling=Temperature(temperature=0.02),
                prompts=chosen,
            )
        )[TASK]  # fmt: skip
        for chosen in (prompts, None)
    ]
    assert [entry["prompt"] for entry in entries] == [prompts.describe(TASK), None]
    assert entries[0]["agent"] != entries[1]["agent"]
