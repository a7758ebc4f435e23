"""An evaluation loses neither a finished episode to a kill nor a task to a failed episode."""

import json
import os
import pathlib
import random
import subprocess
import sys
import time

import numpy as np
import pytest

from gato_jax.episodes import StoreError, open_dataset
from gato_jax.evaluation import (
    EvaluationError,
    PlayedBy,
    SavedEpisodes,
    ScoreJournal,
    evaluate_actor,
    merge_baseline,
    merge_results,
    require_played,
    summary_lines,
)
from gato_jax.rollouts import NearestNeighbourActor, RandomActor, Recording, play, record
from tests.evaluation.made_environment import TASK, register_drift
from tests.rollouts.made_drift import Drift, QuittingActor
from tests.tokenization.made_tasks import CONTROL

AGENT = PlayedBy(step=0, digest="0123456789abcdef", temperature=0.0)
FIRST = 1_000_000


class Fragile(Drift):
    """Breaks in the second episode, unless it is told not to."""

    is_whole = False

    def _advance(self, action):
        if self.episode == FIRST + 1 and not self.is_whole:
            raise ZeroDivisionError("the simulation is unstable")
        return super()._advance(action)


@pytest.fixture(autouse=True)
def drift(monkeypatch):
    register_drift(monkeypatch)


def evaluated(folder, make_actor=RandomActor, load=Drift, episodes=4, save=None, by=AGENT, **options):
    failures = []
    with ScoreJournal(folder, by) as journal:
        saved = SavedEpisodes(save, by.to_json()) if save else None
        entries = dict(
            evaluate_actor(
                make_actor, {TASK: None}, folder / "rollouts", episodes=episodes, played_by={"step": 0},
                environments=2, journal=journal, saved=saved, on_failure=failures.append, load=load, **options,
            )
        )  # fmt: skip
        if saved:
            saved.__exit__()
    return entries, failures


def test_a_failed_episode_is_listed_and_played_again_by_the_next_call(tmp_path, monkeypatch):
    entries, failures = evaluated(tmp_path, load=Fragile)
    assert entries[TASK]["seeds"] == [FIRST, FIRST + 2, FIRST + 3]
    assert failures == [(TASK, FIRST + 1, "ZeroDivisionError: the simulation is unstable")]
    with pytest.raises(EvaluationError, match=f"1 episodes of 1 tasks failed, expected none: {TASK}, seed {FIRST + 1}"):
        require_played(failures)
    file = merge_results({}, AGENT, entries, {TASK: failures})
    assert file["failed"] == {TASK: [{"seed": FIRST + 1, "reason": failures[0].reason}]}
    monkeypatch.setattr(Fragile, "is_whole", True)
    entries, failures = evaluated(tmp_path, load=Fragile)
    assert entries == evaluated(tmp_path / "whole")[0] and not failures
    assert merge_results(file, AGENT, entries, {TASK: []})["failed"] == {}


def test_a_task_without_a_finished_episode_has_no_entry(tmp_path, monkeypatch):
    monkeypatch.setattr(QuittingActor, "quits_at", range(FIRST, FIRST + 4))
    entries, failures = evaluated(tmp_path, QuittingActor)
    assert entries == {} and [failure.reason for failure in failures] == ["the actor gave up (no idea)"] * 4


def test_without_anyone_to_tell_an_error_is_raised(tmp_path):
    with pytest.raises(ZeroDivisionError, match="unstable"):
        dict(evaluate_actor(RandomActor, {TASK: None}, tmp_path, episodes=4, played_by={}, load=Fragile))


def test_saved_episodes_are_those_that_were_scored_and_survive_a_failure(tmp_path, monkeypatch):
    save = tmp_path / "saved"
    evaluated(tmp_path, load=Fragile, save=save)
    monkeypatch.setattr(Fragile, "is_whole", True)
    entries, _ = evaluated(tmp_path, load=Fragile, save=save)
    dataset = open_dataset(save, "evaluation")
    assert dataset.index.seed.tolist() == entries[TASK]["seeds"] == list(range(FIRST, FIRST + 4))
    expected = list(play(RandomActor, [(TASK, FIRST + 1)], load=Drift))[0]
    np.testing.assert_array_equal(dataset[1].action["action"], expected.action["action"])
    np.testing.assert_allclose(dataset.returns, entries[TASK]["scores"], rtol=1e-6)
    played = []
    monkeypatch.setattr(RandomActor, "reset", lambda self, environments, seeds: played.append(seeds))
    assert evaluated(tmp_path, save=save)[0] == entries and not played  # all is there
    with pytest.raises(StoreError, match="(?s)holds episodes of another evaluation.*Name another folder"):
        evaluated(tmp_path / "other", save=save, by=PlayedBy(step=1, digest="f" * 16, temperature=0.0))


def test_the_baseline_stands_beside_the_agent(tmp_path):
    recordings = open_dataset(record(Recording(root=tmp_path, spec=CONTROL, actor="", seeds=range(2)), RandomActor))
    entries, _ = evaluated(tmp_path, lambda: NearestNeighbourActor({TASK: recordings}))
    scaled = {TASK: {**entries[TASK], "random": 0.0, "expert": 10.0, "normalised": 0.25, "noise_floor": 0.1}}
    file = merge_results({}, AGENT, scaled)
    file = merge_baseline(file, AGENT, scaled, name="nearest_neighbour")
    assert file["tasks"] == file["baselines"]["nearest_neighbour"]["tasks"] == scaled
    assert merge_results(file, AGENT, {})["baselines"] == file["baselines"]
    heading, row = (line.split() for line in summary_lines(file)[:2])
    assert heading[-3:] == ["1-NN", "Gato", "JAT"] and row[-3:] == ["25%", "-", "-"]


EVALUATION = """
import os, pathlib, sys, time
from gato_jax.environments import registry
from gato_jax.environments.suite import Suite
from gato_jax.evaluation import *
from gato_jax.rollouts import RandomActor
from tests.rollouts.made_drift import TASK, Drift
from tests.tokenization.made_tasks import CONTROL

class Slow(Drift):
    def _advance(self, action):
        time.sleep(0.01)
        return super()._advance(action)

if __name__ == "__main__":
    registry._SUITES["made"] = Suite(
        name="made", tasks=("control",), packages={}, licence="MIT", spec=lambda _: CONTROL, load=lambda _: Drift()
    )
    folder, agent = pathlib.Path(sys.argv[1]), PlayedBy(step=0, digest="0123456789abcdef", temperature=0.0)
    with ScoreJournal(folder, agent) as journal, SavedEpisodes(folder / "saved", agent.to_json()) as saved:
        for task, entry in evaluate_actor(
            RandomActor, {TASK: None}, folder / "rollouts", episodes=60, played_by=dict(step=0), environments=4,
            workers=int(sys.argv[2]), journal=journal, saved=saved, load=Slow,
        ):
            file = folder / "results.json"
            write_results_file(file, merge_results(read_results_file(file), agent, {task: entry}))
"""


@pytest.mark.slow
def test_killed_at_five_random_moments_it_ends_with_the_same_files(tmp_path):
    script = tmp_path / "evaluation.py"
    script.write_text(EVALUATION)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}

    def start(folder: pathlib.Path, workers: int) -> subprocess.Popen:
        return subprocess.Popen([sys.executable, str(script), str(folder), str(workers)], env=environment)

    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert start(whole, 0).wait() == 0
    journal, kept = broken / "evaluation" / "episodes.jsonl", 0
    for moment in range(5):
        process = start(broken, moment % 3)
        wanted = kept + random.Random(moment).randint(1, 9)
        while process.poll() is None and kept < wanted:
            time.sleep(0.005)
            kept = len(journal.read_bytes().splitlines()) if journal.exists() else 0
        process.kill()
        assert process.wait() == -9
    assert 5 <= kept < 60
    assert start(broken, 2).wait() == 0
    assert (broken / "results.json").read_bytes() == (whole / "results.json").read_bytes()
    assert len(json.loads((whole / "results.json").read_text())["tasks"][TASK]["scores"]) == 60
    episodes = [open_dataset(folder / "saved", "evaluation").fingerprint for folder in (whole, broken)]
    assert episodes[0] == episodes[1]
