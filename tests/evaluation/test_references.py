"""Entries of reference scores: what is valid, their version, and the tables that hold them."""

import dataclasses
import json

import pytest

from gato_jax.environments import registry, status, suites, task_names, task_spec
from gato_jax.environments.suites.atari import TASKS as ATARI_GAMES
from gato_jax.evaluation import (
    MissingReferencesError,
    References,
    ReferencesError,
    Score,
    find_references,
    read_table,
    reference_table,
    task_list,
    write_table,
)  # fmt: skip
from gato_jax.evaluation.reference_table import look_up
from gato_jax.evaluation.references import Cut, DecisionCost, hash_spec, installed_version
from gato_jax.experts import expert_names
from tests.evaluation.made_references import TASK, made_references
from tests.integration.conftest import ROOT

COMMITTED = read_table()
PUBLISHED = json.loads((ROOT / "third_party" / "dqn_zoo" / "atari_random_human.json").read_text())


def test_an_entry_survives_json():
    entry = made_references(human=3.5, published_random=1.0)
    assert References.from_json(json.loads(json.dumps(entry.to_json()))) == entry
    without_expert = made_references(expert=None)
    assert References.from_json(without_expert.to_json()) == without_expert
    cut = made_references(expert_cut=Cut(steps=9, episodes=1), expert_decision=DecisionCost(frames=3.0, seconds=0.1))
    assert References.from_json(json.loads(json.dumps(cut.to_json()))) == cut and not cut.has_scale
    untimed = made_references(expert_time=None)  # as earlier versions wrote it
    assert "expert_time" not in untimed.to_json() and References.from_json(untimed.to_json()) == untimed


@pytest.mark.parametrize(
    "change, message",
    [
        ({"spec_hash": "xyz"}, "spec_hash is 'xyz', expected 8 hex digits"),
        ({"packages": ["minigrid"]}, "packages is .*'minigrid'"),
        ({"random": {"mean": 1.0, "std": 0.0, "episodes": 0}}, "episodes"),
        ({"random": {"mean": float("nan"), "std": 0.0, "episodes": 1}}, "nan"),
        ({"random": {"mean": 1.0}}, "std"),
        ({"unknown": 1}, "unknown"),
        ({"expert_cut": {"steps": 4500, "episodes": 0}}, "expected numbers of 1 or more"),
        ({"expert_decision": {"frames": 3000.0, "seconds": -1.0}}, "expected numbers of 0 or more"),
        ({"expert_time": {"seconds": 1.0, "cpu_seconds": -1.0, "cores": 2}}, "expected times of 0 or more"),
    ],
)
def test_an_entry_that_is_not_valid_is_refused_with_its_line(tmp_path, change, message):
    path = tmp_path / "table.jsonl"
    path.write_text(json.dumps(made_references().to_json() | change) + "\n")
    with pytest.raises(ReferencesError, match=rf"table.jsonl, line 1.*{message}"):
        read_table(path)


def test_a_table_is_sorted_with_one_task_a_line(tmp_path):
    entries = {task: made_references(task=task) for task in ("b/b", "a/a")}
    write_table(entries, tmp_path / "table.jsonl")
    assert [json.loads(line)["task"] for line in (tmp_path / "table.jsonl").read_text().splitlines()] == ["a/a", "b/b"]
    assert read_table(tmp_path / "table.jsonl") == entries
    assert [path.name for path in tmp_path.iterdir()] == ["table.jsonl"]


def test_the_committed_table_is_asked_first_and_then_the_workdir(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_table, "COMMITTED", tmp_path / "committed.jsonl")
    measured = made_references()
    with pytest.raises(MissingReferencesError, match=f"no reference scores of {TASK}: no table has them"):
        find_references(TASK, tmp_path)
    write_table({TASK: measured}, tmp_path / reference_table.MEASURED)
    assert find_references(TASK, tmp_path) == measured
    committed = made_references(random=Score(mean=0.5, std=0.0, episodes=20))  # as many episodes
    write_table({TASK: committed}, tmp_path / "committed.jsonl")
    assert find_references(TASK, tmp_path) == committed


@pytest.mark.parametrize("change", [{"packages": ("minigrid 0.0.1",)}, {"spec_hash": "00000000"}])
def test_scores_of_another_version_are_not_used(tmp_path, monkeypatch, change):
    monkeypatch.setattr(reference_table, "COMMITTED", tmp_path / "committed.jsonl")
    entry = made_references(**change)
    write_table({TASK: entry}, tmp_path / "committed.jsonl")
    with pytest.raises(MissingReferencesError) as caught:
        find_references(TASK)
    assert entry.version in str(caught.value) and f"installed is {installed_version(TASK)}" in str(caught.value)
    assert "gato evaluate --measure_references" in str(caught.value)


def test_a_variant_has_the_scores_of_its_suite_and_says_so(tmp_path, monkeypatch):
    babyai = suites()["babyai"]
    variant = dataclasses.replace(babyai, name="babyai_pixels", scores_of="babyai")
    monkeypatch.setitem(registry._SUITES, "babyai_pixels", variant)
    monkeypatch.setattr(reference_table, "COMMITTED", tmp_path / "committed.jsonl")
    write_table({TASK: made_references()}, tmp_path / "committed.jsonl")
    task = TASK.replace("babyai/", "babyai_pixels/")
    entry = find_references(task)
    assert (
        entry == made_references(task=task, scores_of=TASK) == look_up(read_table(tmp_path / "committed.jsonl"), task)
    )
    monkeypatch.setattr(task_list, "read_table", lambda: {TASK: made_references()})
    [row] = task_list.describe_tasks([task])
    assert row["score_source"].startswith(f"{TASK}; minigrid ") and row["installed_version"]
    with pytest.raises(MissingReferencesError, match="no reference scores of babyai/GoToObj-v0"):
        find_references("babyai_pixels/GoToObj-v0")
    own = made_references(task=task, spec_hash=hash_spec(task_spec(task)))
    write_table({TASK: made_references(), task: own}, tmp_path / "committed.jsonl")
    assert find_references(task) == own


@pytest.mark.parametrize("expert, has_scale", [(2.0, True), (1.0, False), (0.5, False)])
def test_a_scale_needs_an_expert_that_beats_random_play(expert, has_scale):
    entry = made_references(random=Score(mean=1.0, std=0.0, episodes=4))
    assert dataclasses.replace(entry, expert=Score(mean=expert, std=0.0, episodes=4)).has_scale == has_scale
    assert not dataclasses.replace(entry, expert=None).has_scale


def test_the_committed_table_holds_runnable_tasks_with_their_experts():
    assert len(COMMITTED) > 0 and set(COMMITTED) <= set(task_names())
    lines = reference_table.COMMITTED.read_text().splitlines()
    assert [json.loads(line)["task"] for line in lines] == sorted(COMMITTED)
    assert (
        reference_table.COMMITTED.stat().st_size < 600_000
    )  # all tasks: about 700 lines, one for each, so that a change shows in a diff
    for task, entry in COMMITTED.items():
        assert status(task)[0] == "runnable" and entry.metric in ("return", "success")
        # An expert that is newer than the entry is measured by the next run of experiments/reference_scores.py.
        assert (entry.expert is not None) == (entry.expert_agent is not None)
        assert entry.expert is None or task in expert_names()
        assert entry.packages and entry.constant_candidates <= 18 and f"--tasks={task}" in entry.command.split()
        if entry.metric == "success":
            assert all(0 <= score.mean <= 1 for score in (entry.random, entry.constant, entry.expert) if score)


@pytest.mark.parametrize("suite", ["babyai", "fetch", "meta_world"])
def test_the_committed_table_is_of_the_installed_version(suite):
    for task, entry in COMMITTED.items():
        if task.startswith(f"{suite}/"):
            assert entry.version == installed_version(task)


def test_published_scores_are_those_of_their_source():
    assert len(PUBLISHED) == 57 and set(PUBLISHED) <= set(ATARI_GAMES)
    for task, entry in COMMITTED.items():
        suite, _, game = task.partition("/")
        published = PUBLISHED.get(game) if suite == "atari" else None
        assert (entry.published_random, entry.human) == (
            (published["random"], published["human"]) if published else (None, None)
        )


def test_a_line_that_is_no_entry_names_the_file_the_line_and_the_remedy(tmp_path):
    table = tmp_path / "reference_scores.jsonl"
    table.write_text('{"task": "suite/task"}\n')
    with pytest.raises(ReferencesError, match=r"line 1: references lacks .*[^.]\. Delete the line and measure"):
        read_table(table)
