"""A recording on Apache Beam is that of one process to the byte; its finished shards outlive a kill."""

import json
import pathlib

import pytest

from gato_jax.episodes import open_dataset
from gato_jax.rollouts import RandomActor, Recording, record, record_on_beam
from gato_jax.rollouts.shards import ShardError, plan_shards, play_shard
from gato_jax.runtime import beam
from tests.evaluation.made_environment import register_drift
from tests.rollouts.made_drift import Brittle, Drift, QuittingActor
from tests.tokenization.made_tasks import CONTROL


@pytest.fixture(autouse=True)
def drift(monkeypatch):
    register_drift(monkeypatch)


def planned(root: pathlib.Path, **changes) -> Recording:
    return Recording(root=root, spec=CONTROL, actor="random", **{"seeds": range(3, 13), **changes})


def contents(folder: pathlib.Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def run_here(work, name, elements, options):
    for element in elements:
        work(element)


@pytest.fixture
def without_beam(monkeypatch):
    """Play the shards in a loop instead of with Beam, whose import takes seconds."""
    monkeypatch.setattr(beam, "run_pipeline", run_here)
    monkeypatch.setattr(beam, "check_options", lambda options: None)


def test_on_beam_the_datasets_are_those_of_one_process(tmp_path):
    record(planned(tmp_path / "a"), RandomActor, load=Drift)
    record(planned(tmp_path / "b", seeds=range(2)), RandomActor, load=Drift)
    recordings = [planned(tmp_path / "beam" / "a"), planned(tmp_path / "beam" / "b", seeds=range(2))]
    ended = list(record_on_beam(recordings, RandomActor, shard_episodes=6, load=Drift))  # three shards
    assert [recorded.directory for recorded in ended] == [recording.directory for recording in recordings]
    for name in ("a", "b"):
        assert contents(tmp_path / "beam" / name) == contents(tmp_path / name)
    assert [again.kept for again in record_on_beam(recordings, RandomActor, load=Drift)] == [True, True]


@pytest.mark.parametrize("on_beam", [True, False])
def test_after_a_kill_only_the_unfinished_shards_are_played(tmp_path, monkeypatch, without_beam, on_beam):
    class Killed(BaseException):
        """Exception that stands for the death of the process."""

    class Listed(RandomActor):
        dies_at: int | None = 9
        played: list[int] = []

        def reset(self, environments, seeds):
            if self.dies_at in seeds:
                raise Killed
            self.played.extend(seeds)
            super().reset(environments, seeds)

    recording = planned(tmp_path / "broken")
    with pytest.raises(Killed):
        list(record_on_beam([recording], Listed, shard_episodes=3, load=Drift))
    assert not recording.directory.exists()
    assert Listed.played == [3, 4, 5, 6, 7, 8]
    Listed.played.clear()
    monkeypatch.setattr(Listed, "dies_at", None)
    if on_beam:
        (recorded,) = record_on_beam([recording], Listed, shard_episodes=2, load=Drift)
        assert recorded.directory is not None
    else:
        record(recording, Listed, load=Drift)
    assert Listed.played == [9, 10, 11, 12]
    record(planned(tmp_path / "whole"), RandomActor, load=Drift)
    assert contents(tmp_path / "broken") == contents(tmp_path / "whole")


def test_failed_episodes_are_listed(tmp_path, without_beam):
    (recorded,) = record_on_beam([planned(tmp_path)], QuittingActor, shard_episodes=4, load=Brittle)
    assert recorded.directory is None
    assert [(failure.seed, failure.reason) for failure in recorded.failures] == [
        (4, "the actor gave up (no idea)"), (5, "the actor gave up (no idea)"),
    ]  # fmt: skip
    (again,) = record_on_beam([planned(tmp_path, min_return=-100.0)], QuittingActor, load=Brittle)
    assert again.directory is not None and not again.failures and 4 not in open_dataset(again.directory).index.seed
    (broken,) = record_on_beam([planned(tmp_path / "b")], RandomActor, load=Brittle, max_failed=0.1)
    assert [failure.reason for failure in broken.failures] == ["ZeroDivisionError: the simulation is unstable"]
    assert broken.directory is not None and len(open_dataset(broken.directory)) == 9


def test_a_worker_that_differs_records_nothing(tmp_path):
    recording = planned(tmp_path)
    (shard,) = plan_shards(recording, [3, 4], 10)
    with pytest.raises(ShardError, match="missing here. Choose an --output that all workers of Beam see"):
        play_shard(shard, RandomActor, Drift)
    recording.work_folder.mkdir(parents=True)
    shard.settings["packages"] = ["made 2.0"]
    with pytest.raises(ShardError, match="this worker would record with other settings"):
        play_shard(shard, RandomActor, Drift)
    assert json.dumps(shard.settings) and not shard.is_finished
