"""An agent is scored on every task that has an environment, whether or not the task has an expert or references."""

import numpy as np
import pytest

from gato_jax.evaluation import aggregate, gather_references, read_table, reference_table
from gato_jax.evaluation.agent_results import NoTaskError, evaluate_agent, playable_tasks
from gato_jax.policy import UnknownTaskError
from tests.evaluation.made_environment import TASK, drifting_agent, register_drift


@pytest.fixture(autouse=True)
def drift(monkeypatch):
    register_drift(monkeypatch)


def test_a_task_without_references_and_expert_has_its_raw_score(tmp_path, caplog):
    agent = drifting_agent()
    references = gather_references(playable_tasks(agent), tmp_path)
    assert references == {TASK: None} and f"no reference scores of {TASK}" in caplog.text
    [(task, result)] = evaluate_agent(
        agent, references, tmp_path / "rollouts", episodes=3, environments=2, annotate=True
    )
    with np.load(tmp_path / "rollouts" / "made__control.npz") as file:
        assert file["probabilities"].shape == (len(file["actions"]), 2, 32)
    assert task == TASK and result["episodes"] == 3 and np.isfinite(result["agent"])
    assert [result[key] for key in ("random", "constant", "expert", "normalised")] == [None] * 4
    assert aggregate({task: result})["tasks"] == 0
    assert [file.name for file in (tmp_path / "rollouts").iterdir()] == ["made__control.npz"]


def test_a_task_without_an_expert_can_be_measured(tmp_path):
    references = gather_references([TASK], tmp_path, measure_episodes=2)
    assert references == read_table(tmp_path / reference_table.MEASURED)
    entry = references[TASK]
    assert entry is not None and entry.expert is None and entry.random.episodes == 2
    [(_, result)] = evaluate_agent(drifting_agent(), references, tmp_path / "rollouts", episodes=2)
    assert (result["random"], result["constant"]) == (entry.random.mean, entry.constant.mean)
    assert result["expert"] is None and result["normalised"] is None


def test_tasks_are_checked_before_any_is_played():
    agent = drifting_agent()
    assert playable_tasks(agent, [TASK]) == [TASK]
    with pytest.raises(UnknownTaskError, match="babyai/GoToLocal-v0"):
        playable_tasks(agent, [TASK, "babyai/GoToLocal-v0"])


def test_an_agent_without_a_task_to_play_is_refused(monkeypatch):
    monkeypatch.undo()  # its only task has no environment then
    with pytest.raises(NoTaskError, match=f"the agent was trained on .*{TASK}.*, expected a task with an environment"):
        playable_tasks(drifting_agent())
