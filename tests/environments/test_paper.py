"""The paper's tasks add up to its Table 1, and each says whether it runs here."""

import json
from collections import Counter

import pytest

from gato_jax.environments import MissingPackageError, load, registry, task_names
from gato_jax.environments.paper import accounting
from gato_jax.environments.paper.tasks import DOMAINS, HELD_OUT
from gato_jax.environments.suite import Suite
from tests.integration.conftest import gato

# Table 1, as printed.
CONTROL = {
    "DM Lab": 254, "ALE Atari": 51, "ALE Atari Extended": 28, "Sokoban": 1, "BabyAI": 46, "DM Control Suite": 30,
    "DM Control Suite Pixels": 28, "DM Control Suite Random Small": 26, "DM Control Suite Random Large": 26,
    "Meta-World": 45, "Procgen Benchmark": 16, "RGB Stacking simulator": 1, "RGB Stacking real robot": 1,
    "Modular RL": 38, "DM Manipulation Playground": 4, "Playroom": 1,
}  # fmt: skip
DATASETS = (
    "MassiveText", "M3W", "ALIGN", "MS-COCO Captions", "Conceptual Captions", "LTIP", "OKVQA", "VQAv2",
)  # fmt: skip
# The games on which the paper's agent reaches the human score, so that they are among its 51.
NAMED_GAMES = (
    "assault atlantis bank_heist battle_zone bowling crazy_climber defender fishing_derby gopher hero ice_hockey "
    "jamesbond kangaroo kung_fu_master name_this_game pong road_runner robotank tennis time_pilot up_n_down "
    "wizard_of_wor zaxxon"
)


@pytest.fixture(scope="module")
def tasks():
    return accounting.account()


def test_the_domains_add_up_to_table_1(tasks):
    assert sum(CONTROL.values()) == 596 and len(DATASETS) == 8 and len(tasks) == 604
    assert {domain.title: len(domain.tasks) for domain in DOMAINS.values()} == CONTROL | dict.fromkeys(DATASETS, 1)
    assert Counter(task.domain for task in tasks) == {key: len(domain.tasks) for key, domain in DOMAINS.items()}
    assert len({task.name for task in tasks}) == 604


def test_every_task_has_a_status_with_what_runs_or_the_reason(tasks):
    for task in (*tasks, *accounting.held_out()):
        assert (task.runs is None, bool(task.reason)) == (task.status == "unavailable",) * 2, task
        if task.status == "runnable":
            assert task.runs == task.name or task.runs == DOMAINS[task.domain].readers[task.name]
    assert "" not in {domain.why for domain in DOMAINS.values()}


def test_every_suite_of_the_registry_that_a_domain_names_has_its_tasks():
    suites, names = registry.suites(), set(task_names())
    for domain in DOMAINS.values():
        for task in (*domain.tasks, *domain.substitutes.values()):
            assert task.partition("/")[0] not in suites or task in names, task


def test_all_control_tasks_run_but_those_of_dm_lab_playroom_and_the_real_robot(tasks):
    control = [task for task in tasks if DOMAINS[task.domain].title in CONTROL]
    assert Counter(task.status for task in control)["runnable"] == 340
    assert {DOMAINS[task.domain].title for task in control if task.status != "runnable"} == {
        "DM Lab", "Playroom", "RGB Stacking real robot",
    }  # fmt: skip
    assert Counter(task.status for task in control if task.domain == "dm_lab")["substitute"] >= 12


def test_one_substitute_stands_for_one_task(tasks):
    used = [task.runs for task in tasks if task.runs and task.status != "runnable"]
    assert len(used) == len(set(used)) and not set(used) & set(HELD_OUT)


def test_the_held_out_tasks_are_not_among_the_604(tasks):
    assert not set(HELD_OUT) & {task.name for task in tasks}
    assert [task.status for task in accounting.held_out()] == ["runnable"] * 3 + ["unavailable"]


def test_the_choice_of_games_keeps_those_that_the_paper_names():
    atari, extended = (set(DOMAINS[key].tasks) for key in ("ale_atari", "ale_atari_extended"))
    assert {f"atari/{game}" for game in NAMED_GAMES.split()} <= atari
    assert {task.replace("atari_extended", "atari") for task in extended} <= atari


def test_the_lists_of_dm_control_are_the_suites_own_for_benchmarks():
    import dm_control.suite

    names = {f"{domain}/{task}" for domain, task in dm_control.suite.BENCHMARKING}
    state, pixels, small, large = (
        {task.partition("/")[2] for task in DOMAINS[f"dm_control{variant}"].tasks}
        for variant in ("", "_pixels", "_random_small", "_random_large")
    )
    assert pixels == names and state - names == {"dog/run", "dog/stand", "dog/walk"}
    assert names - state == {"cartpole/swingup"} and small == large < names


def test_a_missing_package_makes_its_tasks_unavailable(monkeypatch):
    monkeypatch.setattr(Suite, "missing", lambda suite: ["metaworld"] if suite.name == "meta_world" else [])
    of_meta_world = [task for task in accounting.account() if task.domain == "meta_world"]
    assert {(task.status, task.reason) for task in of_meta_world} == {("unavailable", "pip install metaworld")}
    with pytest.raises(MissingPackageError):
        load(of_meta_world[0].name)


def test_the_verb_prints_domains_and_writes_all_tasks(tasks, tmp_path):
    said = gato("tasks", "--paper", f"--json={tmp_path / 'accounting.json'}")
    assert said.status == 0 and not said.err
    written = json.loads((tmp_path / "accounting.json").read_text())
    assert [task["name"] for task in written["tasks"]] == [task.name for task in tasks]
    states = {"runnable", "substitute", "unavailable"}
    for domain in written["domains"]:
        assert domain["tasks"] == sum(domain[state] for state in states) == len(DOMAINS[domain["domain"]].tasks)
    total = [sum(domain[state] for domain in written["domains"]) for state in sorted(states)]
    assert ["total", "604", *map(str, total)] in [line.split() for line in said.out.splitlines()]
    assert [task["name"] for task in written["held_out"]] == list(HELD_OUT)


def test_the_verb_restricts_the_tasks_to_a_suite(tmp_path):
    gato("tasks", "--paper", "--suite=babyai", f"--json={tmp_path / 'accounting.json'}")
    written = json.loads((tmp_path / "accounting.json").read_text())
    assert [domain["domain"] for domain in written["domains"]] == ["babyai"] and len(written["tasks"]) == 46
