"""An evaluation that is broken off goes on; its file holds one checkpoint's scores, and loses none of another task."""

import dataclasses
import json
import logging

import jax
import pytest

from gato_jax.evaluation import (
    PlayedBy,
    ResultsFileError,
    ScoreJournal,
    merge_results,
    read_results_file,
    write_results_file,
)
from gato_jax.evaluation.agent_results import evaluate_agent
from gato_jax.policy import AgentActor
from tests.evaluation.made_environment import TASK, drifting_agent, register_drift

AGENT = PlayedBy(step=7, digest="0123456789abcdef", temperature=1.0)


@pytest.fixture(autouse=True)
def played(monkeypatch):
    """The seeds of the episodes that were begun; the game ends with an error at the seed `dies_at`."""
    register_drift(monkeypatch)
    reset = AgentActor.reset

    class Played(list):
        dies_at: int | None = None

    seeds_played = Played()

    def note(actor, environments, seeds):
        begun = [seed - 1_000_000 for seed in seeds if seed is not None]
        seeds_played.extend(begun)
        if seeds_played.dies_at in begun:
            raise KeyboardInterrupt
        reset(actor, environments, seeds)

    monkeypatch.setattr(AgentActor, "reset", note)
    return seeds_played


def evaluated(folder, agent=None, by=AGENT, episodes=5):
    agent = agent or drifting_agent()
    with ScoreJournal(folder, by) as journal:
        [(_, entry)] = evaluate_agent(
            agent, {TASK: None}, folder / "rollouts", episodes=episodes, environments=2, journal=journal
        )
    return entry


def test_an_evaluation_that_is_broken_off_goes_on_to_the_same_scores(tmp_path, played):
    whole = evaluated(tmp_path / "whole")
    assert sorted(played) == [0, 1, 2, 3, 4]
    played.clear()
    played.dies_at = 4
    with pytest.raises(KeyboardInterrupt):
        evaluated(tmp_path / "broken")
    lines = tmp_path / "broken" / "evaluation" / "episodes.jsonl"
    kept = len(lines.read_text().splitlines())
    assert kept >= 3
    with lines.open("a") as file:  # cut short by a kill
        file.write(json.dumps({"agent": AGENT.to_json()})[:-9])
    played.clear()
    played.dies_at = None
    assert evaluated(tmp_path / "broken") == whole and len(played) == 5 - kept
    assert evaluated(tmp_path / "broken", episodes=7)["episodes"] == 7 and sorted(played)[-2:] == [5, 6]


def test_the_first_episode_is_played_again_for_its_frames(tmp_path, played):
    whole = evaluated(tmp_path)
    (tmp_path / "rollouts" / "made__control.npz").unlink()
    played.clear()
    assert evaluated(tmp_path) == whole and played == [0] and (tmp_path / "rollouts" / "made__control.npz").exists()


@pytest.mark.parametrize("change", [{"step": 8, "digest": "f" * 16}, {"temperature": 0.0}])
def test_another_checkpoint_or_temperature_starts_anew(tmp_path, played, change, caplog):
    evaluated(tmp_path)
    played.clear()
    with caplog.at_level(logging.INFO):
        evaluated(tmp_path, by=dataclasses.replace(AGENT, **change))
    assert sorted(played) == [0, 1, 2, 3, 4]
    assert ("starting anew: the 5 episodes in" in caplog.text) == ("step" in change)
    played.clear()
    evaluated(tmp_path)
    assert bool(played) == ("step" in change)  # scores of one checkpoint at two temperatures are kept


def test_agents_with_other_parameters_or_settings_have_another_digest():
    agent = drifting_agent()
    trained_on = jax.tree.map(lambda leaf: leaf + 1, agent.params)
    others = [drifting_agent(context=59), drifting_agent(step=agent.step + 1), drifting_agent(params=trained_on)]
    assert drifting_agent().digest == agent.digest
    assert len({one.digest for one in (agent, *others)}) == 4


def entry(normalised: float | None):
    return {"normalised": normalised}


def test_calls_of_one_checkpoint_add_up_and_another_checkpoint_has_an_aggregate_of_its_own():
    later = dataclasses.replace(AGENT, step=9, digest="f" * 16)
    file = merge_results({"held_out": {"x": 1}}, AGENT, {"a": entry(0.5)})
    file = merge_results(file, AGENT, {"b": entry(1.0)})
    assert list(file["tasks"]) == ["a", "b"] and file["aggregate"]["mean"] == 0.75 and "earlier" not in file
    file = merge_results(file, AGENT, {"b": entry(0.0)})
    assert file["aggregate"]["mean"] == 0.25
    newer = merge_results(file, later, {"b": entry(1.0)})
    assert newer["tasks"] == {"b": entry(1.0)} and newer["aggregate"]["mean"] == 1.0 and newer["held_out"] == {"x": 1}
    assert newer["earlier"] == [{"agent": AGENT.to_json(), "tasks": file["tasks"]}]
    back = merge_results(newer, AGENT, {"c": entry(None)})
    assert back["tasks"] == {**file["tasks"], "c": entry(None)} and back["aggregate"]["mean"] == 0.25
    assert back["earlier"] == [{"agent": later.to_json(), "tasks": {"b": entry(1.0)}}]


def test_scores_of_an_unknown_checkpoint_are_not_mixed_in():
    file = merge_results({"tasks": {"a": entry(0.5)}}, AGENT, {"b": entry(1.0)})
    assert list(file["tasks"]) == ["b"] and file["earlier"] == [{"agent": None, "tasks": {"a": entry(0.5)}}]


def test_a_file_is_written_whole_and_one_that_holds_no_scores_is_refused(tmp_path):
    path = tmp_path / "new" / "results.json"
    assert read_results_file(path) == {}
    write_results_file(path, {"tasks": {}})
    assert read_results_file(path) == {"tasks": {}} and [file.name for file in path.parent.iterdir()] == [path.name]
    path.write_text('{"tasks": []}')
    with pytest.raises(ResultsFileError, match="expected an object. Delete it, or name another file with --json"):
        read_results_file(path)
