"""A recording that is broken off goes on to the same bytes; seeds decide the episodes; nothing is replaced unasked."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from gato_jax.environments import RECORDING_SEEDS
from gato_jax.episodes import StoreError, open_dataset
from gato_jax.rollouts import (
    ActorFailure,
    Failure,
    RandomActor,
    Recording,
    RecordingError,
    record,
    record_all,
    require_finished,
)
from gato_jax.rollouts import session as session_module
from gato_jax.runtime import FolderInUseError, writer_lock
from tests.evaluation.made_environment import register_drift
from tests.rollouts.made_drift import Brittle, Drift, DyingActor, QuittingActor
from tests.tokenization.made_tasks import CONTROL


class Killed(BaseException):
    """Exception that stands for the death of the process."""


class MortalActor(RandomActor):
    """Dies at the episode of this seed."""

    dies_at: int | None = 7
    played: list[int] = []

    def reset(self, environments, seeds):
        if self.dies_at in seeds:
            raise Killed
        self.played.extend(seed for seed in seeds if seed is not None)
        super().reset(environments, seeds)


@pytest.fixture(autouse=True)
def drift(monkeypatch):
    register_drift(monkeypatch)
    monkeypatch.setattr(MortalActor, "played", [])


def planned(root: pathlib.Path, **changes) -> Recording:
    given = {"spec": CONTROL, "actor": "random", "seeds": range(3, 13), **changes}
    return Recording(root=root, **given)


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def broken_off(recording: Recording):
    with pytest.raises(Killed):
        record(recording, MortalActor, load=Drift)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The bytes of an unbroken recording."""
    root = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        register_drift(patch)
        record(planned(root), RandomActor, load=Drift)
    return contents(root)


@pytest.mark.parametrize("damage", ["none", "cut short", "flipped"])
def test_a_recording_that_is_broken_off_goes_on_to_the_same_bytes(tmp_path, whole, damage, monkeypatch):
    recording = planned(tmp_path)
    broken_off(recording)
    assert MortalActor.played == [3, 4, 5, 6] and not recording.directory.exists()
    journal = recording.work_folder / "episodes.tfrecord"
    content = journal.read_bytes()
    flipped = content[:-5] + bytes([content[-5] ^ 1]) + content[-4:]
    journal.write_bytes({"none": content, "cut short": content[:-5], "flipped": flipped}[damage])
    MortalActor.played.clear()
    monkeypatch.setattr(MortalActor, "dies_at", None)
    record(recording, MortalActor, load=Drift)
    assert MortalActor.played[0] == (7 if damage == "none" else 6) and len(MortalActor.played) < 8
    assert contents(tmp_path) == whole


@pytest.mark.parametrize("options", [{"environments": 3}, {"workers": 2}])
def test_the_dataset_is_the_same_however_it_is_played(tmp_path, whole, options):
    record(planned(tmp_path), RandomActor, load=Drift, **options)
    assert contents(tmp_path) == whole


def test_other_seeds_are_other_episodes_and_the_dataset_says_which(tmp_path, whole):
    first = open_dataset(record(planned(tmp_path / "a"), RandomActor, load=Drift))
    other = open_dataset(record(planned(tmp_path / "b", seeds=range(13, 23)), RandomActor, load=Drift))
    assert not set(first.index.digest.tolist()) & set(other.index.digest.tolist())
    described = json.loads((other.directory / "recording.json").read_text())
    assert (described["first_seed"], described["episodes"], described["actor"]) == (13, 10, "random")


def test_one_pool_records_several_datasets_each_as_if_alone(tmp_path, whole):
    recordings = [planned(tmp_path / "a"), planned(tmp_path / "b", seeds=range(20, 22))]
    ended = list(record_all(recordings, RandomActor, workers=2, load=Drift))
    assert sorted(recorded.recording.root.name for recorded in ended) == ["a", "b"]
    assert contents(tmp_path / "a") == whole
    kept = list(record_all(recordings, MortalActor, load=Drift))
    assert [(recorded.kept, recorded.failures) for recorded in kept] == [(True, ())] * 2 and not MortalActor.played


@pytest.mark.parametrize("options", [{}, {"environments": 3}, {"workers": 2}])
def test_an_error_costs_its_episode_and_the_other_tasks_go_on(tmp_path, whole, options):
    recordings = [planned(tmp_path / "a"), planned(tmp_path / "b", seeds=range(20, 22))]
    ended = {one.recording.root.name: one for one in record_all(recordings, RandomActor, load=Brittle, **options)}
    assert ended["a"].directory is None and isinstance(ended["a"].error, ZeroDivisionError)
    assert ended["a"].failures == (Failure(5, "ZeroDivisionError: the simulation is unstable"),)
    assert ended["b"].directory is not None and not ended["b"].failures
    with pytest.raises(ZeroDivisionError):
        record(recordings[0], RandomActor, load=Brittle, **options)
    MortalActor.played.clear()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(MortalActor, "dies_at", None)
        record(recordings[0], MortalActor, load=Drift)
    assert 5 in MortalActor.played and 3 not in MortalActor.played
    assert contents(tmp_path / "a") == whole


def test_a_dataset_without_the_few_that_failed_lists_them(tmp_path):
    (recorded,) = record_all([planned(tmp_path)], RandomActor, load=Brittle, max_failed=0.1)
    assert recorded.directory is not None
    assert open_dataset(recorded.directory).index.seed.tolist() == [3, 4, *range(6, 13)]
    assert json.loads((recorded.directory / "failed.json").read_text())[0]["seed"] == 5
    (again,) = record_all([planned(tmp_path)], RandomActor, load=Brittle, max_failed=0.1)
    assert again.kept and again.failures == recorded.failures


def test_the_death_of_a_worker_costs_its_episode(tmp_path):
    (recorded,) = record_all([planned(tmp_path, seeds=range(3, 8))], DyingActor, load=Drift, workers=2, max_failed=0.4)
    assert sorted(failure.seed for failure in recorded.failures) == [4, 5]
    assert "the worker process died, its exit code is 7" in recorded.failures[0].reason
    assert recorded.directory is not None and len(open_dataset(recorded.directory)) == 3


def test_after_too_many_failures_the_rest_of_a_task_is_not_begun(tmp_path, monkeypatch):
    monkeypatch.setattr(QuittingActor, "quits_at", range(3, 13))
    (recorded,) = record_all([planned(tmp_path)], QuittingActor, load=Drift, max_failed=0.2)
    assert [failure.seed for failure in recorded.failures] == [3, 4, 5] and recorded.directory is None
    with pytest.raises(ActorFailure, match="seed 3: the actor gave up"):
        require_finished([recorded])
    with pytest.raises(RecordingError, match="the datasets of 2 of 2 tasks were not written: made/control, seed 3: "):
        require_finished([recorded, recorded])


def test_only_episodes_of_the_wanted_return_are_kept(tmp_path):
    returns = open_dataset(record(planned(tmp_path / "all"), RandomActor, load=Drift)).returns
    least = float(np.median(returns))
    directory = record(planned(tmp_path / "best", min_return=least), RandomActor, load=Drift)
    assert open_dataset(directory).returns.tolist() == [value for value in returns if value >= least]
    assert json.loads((directory / "recording.json").read_text())["min_return"] == least
    with pytest.raises(StoreError, match="min_return: missing here, .* in recording.json"):
        record(planned(tmp_path / "best"), RandomActor, load=Drift)
    with pytest.raises(StoreError, match="no episode passes the filters, among them a return of at least 1e.06"):
        record(planned(tmp_path / "none", min_return=1e6), RandomActor, load=Drift)


@pytest.mark.parametrize("seeds", [range(0), range(-1, 3), range(0, 10, 2), range(RECORDING_SEEDS[-1], 1_000_001)])
def test_seeds_of_other_purposes_are_refused(tmp_path, seeds):
    with pytest.raises(ValueError, match="expected consecutive seeds from 0 to 999999. Later ones are kept for eval"):
        planned(tmp_path, seeds=seeds)


def test_a_finished_dataset_is_kept_or_replaced_when_asked(tmp_path):
    recording = planned(tmp_path)
    record(recording, RandomActor, load=Drift)
    assert recording.is_finished
    record(recording, MortalActor, load=Drift)
    assert not MortalActor.played
    for change in ({"seeds": range(13, 23)}, {"actor": "another"}, {"successes_only": True}, {"seeds": range(3, 12)}):
        with pytest.raises(StoreError, match="already there, recorded with other settings") as refusal:
            record(planned(tmp_path, **change), RandomActor, load=Drift)
        assert "here," in str(refusal.value) and "--overwrite" in str(refusal.value)
    directory = record(planned(tmp_path, seeds=range(20, 22)), RandomActor, overwrite=True, load=Drift)
    assert open_dataset(directory).index.seed.tolist() == [20, 21]


def test_an_unfinished_recording_goes_on_with_more_or_fewer_episodes_and_not_with_other_settings(tmp_path):
    broken_off(planned(tmp_path))
    with pytest.raises(StoreError, match="unfinished recording with other settings") as refusal:
        record(planned(tmp_path, seeds=range(4, 14)), RandomActor, load=Drift)
    assert "first_seed: 4 here, 3 in recording.json" in str(refusal.value)
    MortalActor.played.clear()
    record(planned(tmp_path, seeds=range(3, 6)), MortalActor, load=Drift)
    assert not MortalActor.played
    broken_off(planned(tmp_path / "other"))
    directory = record(planned(tmp_path / "other", actor="another"), RandomActor, overwrite=True, load=Drift)
    assert open_dataset(directory).index.seed.tolist() == list(range(3, 13))


def test_episodes_that_were_given_up_are_left_out_when_that_is_asked_for_later(tmp_path):
    recording = planned(tmp_path)
    with pytest.raises(ActorFailure, match="seed 4: the actor gave up .*--successes_only"):
        record(recording, QuittingActor, load=Drift)
    recording = dataclasses.replace(recording, successes_only=True)
    dataset = open_dataset(record(recording, QuittingActor, load=Drift))
    assert dataset.index.seed.tolist() == [3, 7, 9, 11]  # odd ones succeed
    with pytest.raises(StoreError, match="no episode succeeded. Play more episodes, or remove --successes_only"):
        record(planned(tmp_path / "other", seeds=range(4, 5), successes_only=True), QuittingActor, load=Drift)


def test_a_recording_has_one_writer(tmp_path):
    recording = planned(tmp_path)
    with writer_lock(recording.work_folder), pytest.raises(FolderInUseError, match="process .* is writing there"):
        record(recording, RandomActor, load=Drift)


def test_a_recording_that_another_process_finishes_meanwhile_is_refused(tmp_path, monkeypatch):
    """The other one, with other seeds, ends between the look at the folder and the lock on it."""
    locked = session_module.locked_work

    def overtaken(folder):
        monkeypatch.setattr(session_module, "locked_work", locked)
        record(planned(tmp_path, seeds=range(3)), RandomActor, load=Drift)
        return locked(folder)

    monkeypatch.setattr(session_module, "locked_work", overtaken)
    with pytest.raises(StoreError, match="already there, recorded with other settings"):
        record(planned(tmp_path, seeds=range(4, 6)), RandomActor, load=Drift)
    assert open_dataset(planned(tmp_path).directory).index.seed.tolist() == [0, 1, 2]
