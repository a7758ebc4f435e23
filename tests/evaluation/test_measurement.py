"""Reference scores are measured on seeds of their own, with a bounded number of constant actions, once."""

import dataclasses

import numpy as np
import pytest
from absl import app

from experiments import reference_scores
from gato_jax.environments import EVALUATION_SEEDS, RECORDING_SEEDS, REFERENCE_SEEDS, load
from gato_jax.episodes import Continuous, Discrete, TaskSpec
from gato_jax.evaluation import (
    References,
    Score,
    add_references,
    find_references,
    gather_references,
    measure_references,
    measurement,
    read_table,
    reference_table,
)
from gato_jax.evaluation.constant_actions import MAX_CANDIDATES, candidate_actions
from gato_jax.evaluation.measurement import EpisodeResult, has_episodes, summarise
from gato_jax.evaluation.references import Cut, EpisodeTime
from gato_jax.experts.base import SearchEffort
from gato_jax.rollouts import RandomActor
from tests.evaluation.made_references import TASK, made_references

OTHER_TASK = "babyai/GoToLocalS5N2-v0"


def spec(**action) -> TaskSpec:
    return TaskSpec(suite="made", task="task", observation={"x": Continuous(shape=(1,))}, action=action)


def test_every_value_of_a_discrete_action_is_a_candidate():
    candidates = candidate_actions(spec(press=Discrete(n=18)))
    assert [int(action["press"]) for action in candidates.values()] == list(range(18))
    assert list(candidates)[:2] == ["press=0", "press=1"]


def test_zero_and_each_element_at_either_limit_are_candidates():
    candidates = candidate_actions(spec(move=Continuous(shape=(2,), low=-1.0, high=(1.0, 3.0))))
    assert {name: action["move"].tolist() for name, action in candidates.items()} == {
        "move=zero": [0, 0], "move=-1 at 0": [-1, 0], "move=+1 at 0": [1, 0], "move=-1 at 1": [0, -1],
        "move=+3 at 1": [0, 3],
    }  # fmt: skip


def test_several_keys_are_combined():
    candidates = candidate_actions(spec(move=Continuous(shape=(1,), low=-1.0, high=1.0), press=Discrete(n=2)))
    assert len(candidates) == 6 and candidates["move=-1 at 0, press=1"]["press"] == 1


@pytest.mark.parametrize("keys", [1, 8])
def test_many_candidates_are_bounded_and_zero_is_kept(keys):
    large = spec(**{f"joint{n:02d}": Continuous(shape=(38,), low=-1.0, high=1.0) for n in range(keys)})
    candidates = candidate_actions(large)
    assert len(candidates) == MAX_CANDIDATES
    first, *others = candidates.values()
    assert not any(value.any() for value in first.values())
    assert all(any(value.any() for value in action.values()) for action in others)
    assert list(candidates) == list(candidate_actions(large))  # the same draw each time


@pytest.fixture
def played(monkeypatch):
    """All (kind, action or None, seeds) that were played. Constant action n returns n and scores a tenth of n // 2."""
    calls = []

    def constant(environment, action, seeds, bar):
        calls.append(("constant", int(action["action"]), list(seeds)))
        return [EpisodeResult(int(action["action"]) // 2 / 10, float(action["action"]))] * len(seeds)

    def play_all(make_actor, environment, seeds, bar):
        assert make_actor is RandomActor
        calls.append(("random", None, list(seeds)))
        return [EpisodeResult(0.25)] * len(seeds)

    def play_expert(environment, seeds, max_steps, bar):
        calls.append(("expert", None, list(seeds)))
        return [EpisodeResult(0.875)] * len(seeds), 1, SearchEffort(decisions=10 * len(seeds), frames=3000 * len(seeds))

    monkeypatch.setattr(measurement, "_play_constant", constant)
    monkeypatch.setattr(measurement, "_play_all", play_all)
    monkeypatch.setattr(measurement, "_play_expert", play_expert)
    return calls


def test_the_best_constant_actions_of_the_screening_are_played_in_full(played):
    entry = measure_references(TASK, episodes=4, expert_episodes=6, command="by hand")
    screened = [(action, len(seeds)) for kind, action, seeds in played if kind == "constant"]
    assert screened == [*((action, 1) for action in range(7)), (6, 4), (5, 4)]  # 5 and 4 have equal scores
    assert (entry.constant.mean, entry.constant_action, entry.constant_candidates) == (0.3, "action=6", 7)
    assert (entry.random.mean, entry.random.std, entry.random.episodes) == (0.25, 0.0, 4)
    assert entry.expert is not None and (entry.expert.mean, entry.expert.episodes) == (0.875, 6)
    assert entry.command == "by hand"


def test_seeds_of_references_are_neither_recorded_nor_evaluated_and_screening_has_its_own(played):
    measure_references(TASK, episodes=30, command="")
    full = [seeds for _, _, seeds in played if len(seeds) == 30]
    screening = {seeds[0] for _, _, seeds in played if len(seeds) == 1}
    assert all(seeds == list(REFERENCE_SEEDS[:30]) for seeds in full) and len(full) == 4
    assert len(screening) == 1 and not screening & set(full[0])
    assert not (set(full[0]) | screening) & (set(RECORDING_SEEDS) | set(EVALUATION_SEEDS))


def test_short_episodes_are_the_beginnings_of_whole_ones():
    action = {"action": np.asarray(2)}
    whole, short = load(TASK), load(TASK)
    short.max_steps = 5
    for environment in (whole, short):
        environment.seed(3)
    beginning = [whole.reset(), *(whole.step(action) for _ in range(5))]
    cut_off = [short.reset(), *(short.step(action) for _ in range(5))]
    for one, other in zip(beginning, cut_off, strict=True):
        np.testing.assert_array_equal(one.observation["image"], other.observation["image"])
        assert one.reward == other.reward
    assert cut_off[-1].last() and cut_off[-1].discount == 1 and not cut_off[-2].last()
    assert short.success == whole.success is not None


def test_a_task_is_measured_by_playing_it():
    entry = measure_references(TASK, episodes=2, command="")
    assert entry.expert is not None and entry.expert.mean > 0.5 > entry.random.mean >= 0
    assert entry.constant.episodes == 2 and np.isfinite(entry.constant.mean)
    assert entry.expert_time is not None and 0 < entry.expert_time.cpu_seconds and 0 < entry.expert_time.seconds < 60
    assert entry.expert.measures == {"success": 1.0} and entry.random.measures["success"] < 1.0
    assert References.from_json(entry.to_json()) == entry


def test_measures_are_means_over_all_episodes_also_those_that_were_given_up():
    results = [EpisodeResult(2.0, 2.0, {"success": 1.0}), EpisodeResult(), EpisodeResult(1.0, 1.0, {"success": 0.0})]
    assert summarise(results) == Score(mean=1.0, std=1.0, episodes=3, measures={"success": 0.333333})
    assert summarise([EpisodeResult(2.0)]).measures == {}


def test_the_expert_is_left_out_if_no_episode_of_it_is_wanted(played, tmp_path):
    entry = measure_references(TASK, episodes=4, expert_episodes=0, command="")
    assert entry.expert is None and {kind for kind, _, _ in played} == {"random", "constant"}
    path = tmp_path / "table.jsonl"
    reference_scores.measure_missing([TASK], path, episodes=4, expert_episodes=0)
    assert read_table(path)[TASK].expert is None and read_table(path)[TASK].command.endswith("--expert_episodes=0")
    played.clear()
    reference_scores.measure_missing([TASK], path, episodes=4, expert_episodes=0)
    assert not played
    reference_scores.measure_missing([TASK], path, episodes=4)
    assert [kind for kind, _, _ in played] == ["expert"]


def test_episodes_of_an_expert_that_a_limit_cuts_off_are_told_from_whole_ones():
    environment, bar = load(TASK), measurement.tqdm(disable=True)
    limit, seeds = environment.max_steps, REFERENCE_SEEDS[:6]
    results, none_cut, effort = measurement._play_expert(environment, seeds, None, bar)
    whole = [result.score for result in results]
    assert none_cut == 0 and effort is None and min(whole) > 0
    results_of_six_steps, cut, _ = measurement._play_expert(environment, seeds, 6, bar)
    scores = [result.score for result in results_of_six_steps]
    assert 0 < cut < 6 and cut == scores.count(0.0) and set(scores) <= {0.0, *whole} and environment.max_steps == limit
    assert measurement._play_expert(environment, seeds, limit, bar)[:2] == (results, 0)


def test_the_cut_and_the_cost_of_decisions_stand_beside_the_score(played):
    entry = measure_references(TASK, episodes=4, expert_episodes=2, expert_steps=100, command="")
    assert entry.expert_cut == Cut(steps=100, episodes=1) and not entry.has_scale
    assert entry.expert_decision is not None and entry.expert_decision.frames == 300
    assert has_episodes(entry, "expert", 2, 100) and has_episodes(entry, "expert", 2, 50)
    assert not has_episodes(entry, "expert", 2, 200) and not has_episodes(entry, "expert", 2)
    whole = made_references(expert=Score(mean=99.0, std=0.0, episodes=1))
    combined = entry.combined_with(whole)
    assert (combined.expert, combined.expert_cut, combined.expert_decision) == (whole.expert, None, None)
    assert combined.has_scale


def test_planners_of_atari_are_cut_off_and_scripts_are_not():
    assert reference_scores.plan_of("atari/ms_pacman").expert_steps == 4500
    assert reference_scores.plan_of("atari/gopher").expert_steps is None
    plan = reference_scores.plan_of("atari/ms_pacman", expert_episodes=1)
    assert (plan.random, plan.expert) == (20, 1)
    entry = made_references(task="atari/ms_pacman", expert_time=EpisodeTime(seconds=7.0, cpu_seconds=70.0, cores=2))
    assert plan.missing_seconds(None) == plan.total_seconds > plan.missing_seconds(entry) == 70.0


def test_missing_references_are_measured_only_when_asked(played, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(reference_table, "COMMITTED", tmp_path / "none.jsonl")
    assert gather_references([TASK], tmp_path) == {TASK: None} and not played
    assert f"no reference scores of {TASK}" in caplog.text and "--measure_references" in caplog.text
    measured = gather_references([TASK], tmp_path, measure_episodes=3)
    plays = len(played)
    assert plays and gather_references([TASK], tmp_path, measure_episodes=3) == measured
    assert gather_references([TASK], tmp_path) == measured and len(played) == plays
    assert read_table(tmp_path / reference_table.MEASURED) == measured


def test_a_measurement_that_is_broken_off_goes_on_with_what_is_missing(tmp_path, monkeypatch):
    path, tasks = tmp_path / "table.jsonl", [TASK, OTHER_TASK]
    measured = []

    def measure(task, **settings):
        measured.append(task)
        if len(measured) == 2:
            raise KeyboardInterrupt
        return made_references(task=task, spec_hash=installed_hash(task))

    monkeypatch.setattr(reference_scores, "measure_references", measure)
    with pytest.raises(KeyboardInterrupt):
        reference_scores.measure_missing(tasks, path)
    assert list(read_table(path)) == [TASK]
    reference_scores.measure_missing(tasks, path)
    assert measured == [TASK, OTHER_TASK, OTHER_TASK] and set(read_table(path)) == set(tasks)
    reference_scores.measure_missing(tasks, path)
    assert len(measured) == 3


def test_a_task_that_fails_is_named_after_the_others_are_measured(tmp_path, monkeypatch):
    def measure(task, **settings):
        if task == TASK:
            raise ValueError("no ball")
        return made_references(task=task)

    monkeypatch.setattr(reference_scores, "measure_references", measure)
    with pytest.raises(reference_scores.MeasurementError, match=f"1 of 2 tasks .*: {TASK} .*no ball"):
        reference_scores.measure_missing([TASK, OTHER_TASK], tmp_path / "table.jsonl")
    assert list(read_table(tmp_path / "table.jsonl")) == [OTHER_TASK]


def test_short_tasks_come_first_and_those_without_scores_before_all(tmp_path, monkeypatch):
    path, order = tmp_path / "table.jsonl", []
    tasks = ["dm_control/reacher/easy", OTHER_TASK, TASK]
    reference_table.write_table({TASK: few_episodes()}, path)
    monkeypatch.setattr(
        reference_scores,
        "measure_references",
        lambda task, **settings: order.append(task) or made_references(task=task),
    )
    reference_scores.measure_missing(tasks, path)
    assert order == [OTHER_TASK, "dm_control/reacher/easy", TASK]
    order.clear()
    reference_scores.measure_missing(["atari/adventure", "atari/pong"], tmp_path / "other.jsonl")
    assert order == ["atari/pong", "atari/adventure"]  # there is a human score of Pong


def test_scores_of_enough_episodes_are_kept(played):
    known = made_references(random=few_episodes().random, command="before")
    entry = measure_references(TASK, episodes=20, command="now", known=known)
    assert [kind for kind, _, _ in played] == ["random"] and entry.random.mean == 0.25
    assert (entry.constant, entry.expert, entry.command) == (known.constant, known.expert, "before; now")
    assert measure_references(TASK, episodes=20, command="again", known=entry) == entry and len(played) == 1


@pytest.mark.parametrize("change", [{"expert_agent": "an earlier expert"}, {"expert_time": None}])
def test_another_expert_and_one_without_a_time_are_measured_again(played, tmp_path, change):
    path = tmp_path / "table.jsonl"
    reference_table.write_table({TASK: made_references(**change)}, path)
    reference_scores.measure_missing([TASK], path, episodes=4)
    entry = read_table(path)[TASK]
    assert [(kind, len(seeds)) for kind, _, seeds in played] == [("expert", 4)] and entry.expert_time is not None
    if "expert_agent" in change:  # its score of twenty episodes is of no use
        assert entry.expert is not None and entry.expert.episodes == 4


@pytest.mark.parametrize("workers", [1, 2])
def test_after_the_given_hours_no_task_is_begun(tmp_path, workers):
    reference_scores.measure_missing([TASK], tmp_path / "table.jsonl", hours=0.0, workers=workers)
    assert not (tmp_path / "table.jsonl").exists()


def test_another_version_is_measured_again_over_no_fewer_episodes(tmp_path, monkeypatch):
    path, calls = tmp_path / "table.jsonl", []
    reference_table.write_table({TASK: made_references(packages=("minigrid 0.0.1",))}, path)
    monkeypatch.setattr(
        reference_scores, "measure_references", lambda task, **settings: calls.append(settings) or made_references()
    )
    reference_scores.measure_missing([TASK], path, episodes=4)
    assert read_table(path) == {TASK: made_references()}
    assert calls[0]["episodes"] == calls[0]["expert_episodes"] == 20


def few_episodes(**changes):
    few = Score(mean=0.0, std=0.0, episodes=4)
    return made_references(random=few, constant=few, expert=few, command="of four", **changes)


def test_a_score_never_gives_way_to_one_of_fewer_episodes(tmp_path, monkeypatch):
    monkeypatch.setattr(reference_table, "COMMITTED", tmp_path / "committed.jsonl")
    path = tmp_path / reference_table.MEASURED
    other_version = made_references(packages=("minigrid 0.0.1",))
    for entry in (other_version, made_references(), few_episodes()):
        add_references(entry, path)
    assert find_references(TASK, tmp_path) == made_references()
    assert len(path.read_text().splitlines()) == 2  # the other version is kept, too
    reference_table.write_table({TASK: few_episodes()}, reference_table.COMMITTED)
    assert find_references(TASK, tmp_path) == made_references()
    more = Score(mean=99.0, std=1.0, episodes=50)
    add_references(made_references(random=few_episodes().random, expert=more), path)
    combined = find_references(TASK, tmp_path)
    assert (combined.random.episodes, combined.expert) == (20, more)


def test_a_table_keeps_scores_of_more_episodes_than_are_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "table.jsonl"
    reference_table.write_table({TASK: dataclasses.replace(made_references(), random=few_episodes().random)}, path)
    monkeypatch.setattr(reference_scores, "measure_references", lambda task, **settings: made_of(settings["episodes"]))
    reference_scores.measure_missing([TASK], path, episodes=6)
    entry = read_table(path)[TASK]
    assert entry.expert is not None and (entry.random.episodes, entry.expert.episodes) == (6, 20)


def test_a_table_that_was_measured_elsewhere_is_merged(tmp_path):
    path, other = tmp_path / "table.jsonl", tmp_path / "other.jsonl"
    new = made_references(random=Score(mean=1.0, std=0.0, episodes=50), expert=Score(mean=60.0, std=0.0, episodes=20))
    reference_table.write_table({TASK: made_references()}, path)
    reference_table.write_table({TASK: new, OTHER_TASK: made_references(task=OTHER_TASK, spec_hash="00000000")}, other)
    reference_scores.merge(other, path)  # an entry of a version that is not installed is left out
    assert read_table(path) == {TASK: made_references(random=new.random, expert=new.expert)}
    for old, held in ((other, path), (path, other)):  # the score of the present expert stays
        reference_table.write_table({TASK: dataclasses.replace(new, expert_agent="an earlier expert")}, old)
        reference_table.write_table({TASK: made_references()}, held)
        reference_scores.merge(other, path)
        entry = read_table(path)[TASK]
        assert (entry.random, entry.expert) == (new.random, made_references().expert)
    with pytest.raises(app.UsageError, match="none.jsonl: no such file"):
        reference_scores.merge(tmp_path / "none.jsonl", path)


def test_long_episodes_of_planners_are_fewer():
    assert reference_scores.plan_of("dm_control_random_small/humanoid/run").expert == 5
    assert reference_scores.plan_of("dm_control/cheetah/run").expert == 20


def made_of(episodes: int):
    score = Score(mean=1.0, std=0.0, episodes=episodes)
    return made_references(random=score, constant=score, expert=score)


def installed_hash(task):
    return measurement.hash_spec(load(task).task_spec)


def test_a_measurement_of_more_episodes_is_asked_for(tmp_path, monkeypatch):
    path = tmp_path / "table.jsonl"
    reference_table.write_table({TASK: made_references()}, path)
    calls = []
    monkeypatch.setattr(
        reference_scores, "measure_references", lambda task, **settings: calls.append(settings) or made_references()
    )
    reference_scores.measure_missing([TASK], path, episodes=20)
    assert not calls
    reference_scores.measure_missing([TASK], path, episodes=21)
    assert calls[0]["episodes"] == calls[0]["expert_episodes"] == 21
