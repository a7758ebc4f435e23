"""A run on one's own robot alone is measured on its held-out recordings, and an episode of predictions is kept."""

import json

import numpy as np
import pytest

from gato_jax.batching.dataset_config import DatasetConfig
from gato_jax.episodes import write_dataset
from gato_jax.evaluation import held_out, merge_held_out
from gato_jax.evaluation.agent_results import has_playable_task
from gato_jax.evaluation.held_out import action_error
from gato_jax.evaluation.held_out_recordings import describe_recordings, find_recordings, measure_recordings
from gato_jax.evaluation.teacher_forcing import HeldOutError, predict_actions
from gato_jax.policy import Agent
from gato_jax.reports import read_results
from gato_jax.training import OptimizerConfig, TrainConfig, write_config
from tests.integration.conftest import gato
from tests.policy.made_agent import MODEL, made_agent
from tests.tokenization.made_tasks import CAPTION, ROBOT, random_episode


@pytest.fixture(scope="module")
def agent():
    return made_agent(layers=1, context=100)


def make_run(folder, spec=ROBOT, splits=("train", "test")):
    """Write a dataset and the config of a run that was trained on it, and return the run's folder."""
    episodes = {split: [random_episode(spec, n + 10 * k, 4) for n in range(3)] for k, split in enumerate(splits)}
    directory = write_dataset(folder / "data", spec, episodes)
    config = TrainConfig(
        seed=0, batch_size=1, context=100, steps=2, model=MODEL,
        optimizer=OptimizerConfig(peak_learning_rate=1e-3, warmup_steps=1),
        datasets={"mine/robot": DatasetConfig(source=f"recorded:{directory}", weight=1.0)},
    )  # fmt: skip
    (folder / "run").mkdir()
    write_config(config, folder / "run")
    return folder / "run"


def test_the_error_is_that_of_the_held_out_episodes_and_one_of_them_is_kept(agent, tmp_path):
    run = make_run(tmp_path)
    assert not has_playable_task(agent)
    recordings = find_recordings(agent, run)
    [(name, entry)] = measure_recordings(agent, recordings, run, episodes=2)
    test = [recordings["mine/robot"].test[number] for number in (0, 2)]
    expected = action_error(agent, ROBOT.name, list(recordings["mine/robot"].train), test)
    assert name == "mine/robot" and entry == expected | {"step": 1} == json.loads(json.dumps(entry))
    assert list(entry["by_dimension"]) == ["arm[0]", "arm[1]", "arm[2]"] and list(entry["discrete"]) == ["gripper"]
    assert f"action error {entry['value']:.3g} (mean action: {entry['baseline']:.3g}" in describe_recordings(entry)
    with np.load(run / "predictions" / "mine__robot.npz") as kept:
        assert kept["frames"].shape == (4, 32, 16, 3) and kept["step"] == 1 and kept["episode"] == 0
        assert kept["names"].tolist() == ["arm[0]", "arm[1]", "arm[2]", "gripper"]
        assert (kept["low"].tolist(), kept["high"].tolist()) == ([-0.5, -0.5, -0.5, 0], [0.5, 0.5, 0.5, 1])
        [predicted] = predict_actions(agent, ROBOT.name, test[:1])
        np.testing.assert_array_equal(kept["predicted"][:, :3], predicted["arm"])
        np.testing.assert_array_equal(kept["recorded"][:, 3], test[0].action["gripper"])
        np.testing.assert_array_equal(kept["frames"], test[0].observation["camera/wrist"])


def test_the_command_measures_a_run_that_has_no_task_to_play(agent, tmp_path, monkeypatch):
    run = make_run(tmp_path)
    (run / "checkpoints").mkdir()
    monkeypatch.setattr(Agent, "restore", classmethod(lambda cls, path, **options: agent))
    said = gato("evaluate", f"--workdir={run}", "--episodes=2")
    assert said.status == 0 and "mine/robot: action error " in said.out and "2 held-out episodes" in said.out, said.err
    assert read_results(run).held_out[0].by_dimension.keys() == {"arm[0]", "arm[1]", "arm[2]"}
    assert "expected a task with an environment" in gato("evaluate", f"--workdir={run}", "--noheld_out").complaint()


def test_a_discrete_action_beside_continuous_ones_counts_the_steps_at_which_it_is_wrong(agent, monkeypatch):
    [episode] = [random_episode(ROBOT, 3, 4)]
    episode.action["gripper"][:] = [1, 1, 0, 0]

    def predict(agent, task, episodes, *, most_steps=None):
        return [{"arm": np.zeros((4, 3), np.float32), "gripper": np.array([1, 0, 0, 0])} for _ in episodes]

    monkeypatch.setattr(held_out, "predict_actions", predict)
    found = action_error(agent, ROBOT.name, [episode], [episode])["discrete"]["gripper"]
    # The most common action is 0, the lower of two that are as common; it is repeated at the first step.
    assert found == {"value": 0.25, "without_history": 0.25, "baseline": 0.5, "repeat_baseline": 0.5}


@pytest.mark.parametrize(
    "spec, splits, reason",
    [
        (ROBOT, ("train",), "it has no split validation or test"),
        (CAPTION, ("train", "test"), "no action is continuous"),
    ],
)
def test_a_run_without_recordings_to_measure_is_refused_with_the_reasons(agent, tmp_path, spec, splits, reason):
    with pytest.raises(HeldOutError, match=rf"expected a split .*\(mine/robot: {reason}\). Convert or record one"):
        find_recordings(agent, make_run(tmp_path, spec, splits))


def test_a_measurement_joins_the_results_of_others():
    held = {"tasks": {"a/b": {}}, "held_out": {"captions": 1, "robot": 2}}
    assert merge_held_out(held, {"robot": 3}) == {
        "tasks": {"a/b": {}}, "held_out": {"captions": 1, "robot": 3}, "schema": 2
    }  # fmt: skip
    assert held["held_out"]["robot"] == 2
