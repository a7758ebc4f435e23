"""Networks distilled from experts: the loop, its journal, the file of a policy, and the expert that plays with it."""

import functools
import itertools
import json
import os
import subprocess
import sys

import numpy as np
import pytest
from safetensors.numpy import save_file

from gato_jax.environments import REFERENCE_SEEDS, UnknownTaskError, load
from gato_jax.experts import ExpertActor, NoExpertError, expert
from gato_jax.experts.distillation import EXPERTS, DistilledPolicy, PolicyFile, PolicyFileError, dagger
from gato_jax.experts.distillation.labels import LabelJournal, LabelledEpisode
from gato_jax.experts.distillation.policy import DistillationError, StateOfPixels, network_inputs
from gato_jax.experts.distillation.policy_file import KEY
from gato_jax.experts.registry import teacher
from gato_jax.rollouts import RandomActor, play

TASK = "dm_control/point_mass/easy"
TINY = dagger.Distillation(
    task=TASK, rounds=2, episodes=2, steps=60, hidden=(32, 32), modes=2, updates=300, batch_size=128, scored=1
)


class Killed(BaseException):
    """Death of the process between two episodes."""


@pytest.fixture(scope="module")
def distilled(tmp_path_factory):
    folder = tmp_path_factory.mktemp("distilled")
    return folder / dagger.POLICY, dagger.distill(TINY, folder)


def scores(make_actor, seeds=REFERENCE_SEEDS[:2], task=TASK):
    return [episode.score for episode in play(make_actor, itertools.product([task], seeds))]


def player(policy):
    return ExpertActor(make_expert=functools.partial(dagger._policy_expert, policy))


def test_the_network_plays_better_than_random(distilled):
    _, policy = distilled
    assert policy.about.labels == 2 * 2 * 60 / 2 and len(policy.about.scores) == 1
    assert np.mean(scores(functools.partial(player, policy))) > 5 * np.mean(scores(RandomActor))


def test_a_distillation_that_is_killed_ends_with_the_same_file(distilled, tmp_path, monkeypatch):
    journal_add, left = LabelJournal.add, itertools.cycle([1, 0])

    def add_and_die(self, seed, episode):
        journal_add(self, seed, episode)
        if not next(left):
            raise Killed

    monkeypatch.setattr(LabelJournal, "add", add_and_die)
    for _ in range(2):
        with pytest.raises(Killed):
            dagger.distill(TINY, tmp_path)
        with (tmp_path / "labels.tfrecord").open("ab") as labels:
            labels.write(b"half of a record")
    monkeypatch.undo()
    dagger.distill(TINY, tmp_path)
    assert (tmp_path / dagger.POLICY).read_bytes() == distilled[0].read_bytes()


@pytest.mark.slow
def test_workers_do_not_change_the_labels(distilled, tmp_path):
    one_round = dagger.Distillation(**{**vars(TINY), "rounds": 1, "updates": 1})
    dagger.distill(one_round, tmp_path, workers=2)
    sizes = {"inputs": 4, "outputs": 2}
    first = dagger._seeds(TINY, range(1))
    with LabelJournal(tmp_path / "labels.tfrecord", **sizes) as here:
        with LabelJournal(distilled[0].parent / "labels.tfrecord", **sizes) as there:
            for seed in first:
                np.testing.assert_array_equal(here[seed].labels, there[seed].labels)
                np.testing.assert_array_equal(here[seed].inputs, there[seed].inputs)


def test_labels_are_the_teachers_while_the_network_plays(distilled):
    _, policy = distilled
    actor = dagger.Labeller(teacher, policy, teacher_share=0.0)
    environment = load(TASK)
    environment.seed(7)
    timestep = environment.reset()
    actor.reset([environment], [7])
    learner = DistilledPolicy("point_mass/easy", policy)
    learner.reset(environment, 7)
    for _ in range(5):
        (label,) = actor.act([timestep])
        executed = actor.perturb(0, label)
        np.testing.assert_array_equal(executed["action"], learner.act(environment, timestep)["action"])
        assert not np.array_equal(executed["action"], label["action"])
        timestep = environment.step(executed)


def test_an_episode_that_the_teacher_gave_up_stays_in_the_journal(tmp_path):
    sizes = {"inputs": 3, "outputs": 1}
    empty = LabelledEpisode(
        inputs=np.zeros((0, 3), np.float32), labels=np.zeros((0, 1), np.float32), score=float("nan")
    )
    with LabelJournal(tmp_path / "labels", **sizes) as journal:
        journal.add(5, empty)
    with LabelJournal(tmp_path / "labels", **sizes) as journal:
        assert 5 in journal and journal[5].inputs.shape == (0, 3)


def test_a_policy_needs_no_jax(distilled):
    code = (
        "import sys; from gato_jax.experts.distillation import PolicyFile, DistilledPolicy;"
        f"PolicyFile.read(__import__('pathlib').Path({str(distilled[0])!r}));"
        "print([name for name in ('jax', 'optax', 'mujoco') if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=os.environ)
    assert said.stdout.strip() == "[]", said.stderr


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path, policy: path.unlink(), "is missing"),
        (lambda path, policy: path.write_bytes(path.read_bytes()[:-100]), "is damaged or no safetensors file"),
        (lambda path, policy: save_file(dict(policy.params), path), "has no metadata 'gato_jax_expert'"),
        (lambda path, policy: save_file(dict(policy.params), path, {KEY: "{"}), "are no JSON"),
        (lambda path, policy: save_file(dict(policy.params), path, {KEY: "{}"}), "schema"),
        (lambda path, policy: rewrite(path, policy, hidden=(8, 32)), r"tensor layers\..*expected float32 of"),
        (lambda path, policy: rewrite(path, policy, hidden=(32,)), "its tensors are"),
        (lambda path, policy: rewrite(path, policy, schema=2), "schema is 2, expected 1"),
    ],
)
def test_a_bad_file_is_refused_by_name(distilled, tmp_path, damage, message):
    source, policy = distilled
    path = tmp_path / "bad.safetensors"
    path.write_bytes(source.read_bytes())
    damage(path, policy)
    with pytest.raises(PolicyFileError, match=message) as refused:
        PolicyFile.read(path)
    assert "bad.safetensors" in str(refused.value)


def rewrite(path, policy, **changed):
    about = json.loads(json.dumps(vars(policy.about))) | changed
    save_file(dict(policy.params), path, {KEY: json.dumps(about)})


def test_a_policy_is_refused_for_another_task(distilled):
    _, policy = distilled
    with pytest.raises(PolicyFileError, match=f"its task is {TASK}, expected dm_control/reacher/easy"):
        DistilledPolicy("reacher/easy", policy).reset(load("dm_control/reacher/easy"), 0)
    with pytest.raises(PolicyFileError, match="size of the observation 'velocity' is 3, expected 2"):
        network_inputs({"position": np.zeros(2), "velocity": np.zeros(3)}, policy.about.observation, ())


@pytest.mark.parametrize(
    ("task", "error", "message"),
    [
        ("dm_control/point_mas/easy", UnknownTaskError, "nearest"),
        ("dm_control/dog/walk", NoExpertError, "no expert for"),
        ("babyai/GoToLocal-v0", DistillationError, "expected a vector of numbers"),
    ],
)
def test_a_task_that_cannot_be_distilled_is_refused(tmp_path, task, error, message):
    with pytest.raises(error, match=message):
        dagger.distill(dagger.Distillation(task=task), tmp_path)
    assert not list(tmp_path.iterdir())


def test_other_settings_are_refused_in_the_same_folder(distilled):
    source, _ = distilled
    with pytest.raises(DistillationError, match="rounds: 3 here, 2 in run.json"):
        dagger.distill(dagger.Distillation(**{**vars(TINY), "rounds": 3}), source.parent)
    with pytest.raises(DistillationError, match="rounds"):
        dagger.Distillation(task=TASK, rounds=0)


def test_more_samples_are_for_planners_only():
    plain, rich = (dagger._teacher(factor, TASK) for factor in (1, 3))
    assert rich.plan.budget.samples == 3 * plain.plan.budget.samples
    with pytest.raises(DistillationError, match="teacher_samples is 3, expected 1 for meta_world/reach-v3"):
        dagger._teacher(3, "meta_world/reach-v3")


def test_an_action_that_a_planner_holds_is_no_label():
    assert dagger._steps_between_decisions(teacher(TASK)) == 2  # it plans at every second step
    assert dagger._steps_between_decisions(teacher("meta_world/reach-v3")) == 1


def test_angles_may_turn_several_times():
    sizes = {"position": 1, "velocity": 1}
    once, twice = (
        network_inputs({"position": np.array([turn]), "velocity": np.array([2.0])}, sizes, ("position",))
        for turn in (1.0, 1.0 + 4 * np.pi)
    )
    np.testing.assert_allclose(once, [np.sin(1.0), np.cos(1.0), 2.0], rtol=1e-6)
    np.testing.assert_allclose(once, twice, rtol=1e-5)
    with pytest.raises(DistillationError, match="angles is angle, expected observations of dm_control/point_mass/easy"):
        dagger._describe(dagger.Distillation(task=TASK, angles=("angle",)))


@pytest.mark.parametrize("name", sorted(EXPERTS))
def test_a_committed_network_belongs_to_its_task(name):
    policy = PolicyFile.read(EXPERTS[name].file)
    assert policy.about.task.partition("/")[2] == name.partition("/")[2]
    assert f"--task={policy.about.task} " in policy.about.command
    assert EXPERTS[name].file.stat().st_size < 2**20
    assert isinstance(expert(name), DistilledPolicy) and not isinstance(teacher(name), DistilledPolicy)


def test_a_task_from_pixels_is_played_from_its_state(distilled):
    _, policy = distilled
    environment, seen = load("dm_control_pixels/point_mass/easy"), load(TASK)
    for one in (environment, seen):
        one.seed(3)
    blind, sighted = StateOfPixels("point_mass/easy", policy), DistilledPolicy("point_mass/easy", policy)
    timestep, state = environment.reset(), seen.reset()
    blind.reset(environment, 3)
    sighted.reset(seen, 3)
    np.testing.assert_array_equal(blind.act(environment, timestep)["action"], sighted.act(seen, state)["action"])
