"""`gato collect`: another seed gives other episodes; ended in any way, it goes on to the same bytes."""

import json
import signal
import time

import psutil
import pytest

from gato_jax.episodes import open_dataset
from tests.integration.conftest import DATASET, TASK, finish, gato, start


def words(output, episodes: int, *more) -> list[str]:
    return ["collect", f"--tasks={TASK}", f"--episodes={episodes}", f"--output={output}", *more]


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_ended_in_the_middle_it_goes_on_to_the_same_bytes_and_no_worker_is_left(tmp_path, number):
    process = start("-m", "gato_jax.cli", *words(tmp_path / "ended", 10**5, "--workers=1"))
    journal = tmp_path / "ended" / DATASET / "1.0.0.recording" / "episodes.tfrecord"
    deadline = time.monotonic() + 150
    while not (journal.exists() and journal.stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline, finish(process)
        time.sleep(0.02)
    family = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(number)
    ended = finish(process)
    if number == signal.SIGKILL:
        assert ended.status == -signal.SIGKILL
    else:
        told = f"SIGTERM: ended at once. The finished episodes are kept in {tmp_path / 'ended'}. Run the same command"
        assert ended.status == 0 and told in ended.err and "Traceback" not in ended.err, ended.err
    assert not psutil.wait_procs(family, timeout=60)[1]
    assert gato(*words(tmp_path / "ended", 6)).status == 0
    assert gato(*words(tmp_path / "whole", 6)).status == 0
    assert contents(tmp_path / "ended") == contents(tmp_path / "whole")


def test_another_seed_gives_other_episodes(collected, tmp_path):
    said = gato(*words(tmp_path / "data", 3, "--seed=4", f"--json={tmp_path / 'json'}"))
    assert said.out == f"{TASK}: 3 episodes of seeds 4 to 6, in {tmp_path / 'data' / DATASET / '1.0.0'}\n", said
    assert json.loads((tmp_path / "json").read_text())["tasks"][TASK]["seeds"] == [4, 6]
    first, other = (open_dataset(root / "data" / DATASET / "1.0.0") for root in (collected[0], tmp_path))
    assert not set(first.index.digest.tolist()) & set(other.index.digest.tolist())
    assert [episode.seed for episode in other] == [4, 5, 6]
    origins = tmp_path / "origins.json"
    assert (
        gato("provenance", f"--data={other.directory}", f"--output={tmp_path / 'prov'}", f"--json={origins}").status
        == 0
    )
    [dataset] = json.loads(origins.read_text())["datasets"]
    assert (dataset["recording"]["first_seed"], dataset["recording"]["episodes"]) == (4, 3)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--seed=-1"], "--seed is -1, expected 0 to 999998 for 2 episodes, as the seeds from 1000000 on are kept"),
        (["--seed=999999"], "--seed is 999999, expected 0 to 999998"),
        (["--seed=x"], "--seed"),
    ],
)
def test_a_seed_of_another_purpose_is_refused(tmp_path, arguments, complaint):
    assert complaint in gato(*words(tmp_path / "data", 2, *arguments)).complaint()
    assert not (tmp_path / "data").exists()


def test_the_same_command_keeps_what_is_finished(collected):
    said = gato(*words(collected[0] / "data", 4))
    directory = collected[0] / "data" / DATASET / "1.0.0"
    assert said.out == f"{TASK}: 4 episodes of seeds 0 to 3, already recorded, kept in {directory}\n"


def test_with_overwrite_a_command_that_was_interrupted_goes_on_with_its_unfinished_task(tmp_path, monkeypatch):
    other, played = "babyai/GoToObj-v0", []
    command = ["collect", f"--tasks={TASK},{other}", "--episodes=2", "--overwrite", "--actor=random"]
    command.append(f"--output={tmp_path / 'data'}")
    from gato_jax.rollouts import RandomActor

    reset = RandomActor.reset

    def die_in_the_last_episode(actor, environments, seeds):
        played.append(environments[0].task_spec.name)
        if len(played) == 4:
            raise KeyboardInterrupt
        reset(actor, environments, seeds)

    monkeypatch.setattr(RandomActor, "reset", die_in_the_last_episode)
    assert gato(*command).status == 130
    assert gato(*command).status == 0 and played[4:] == [other]
    assert gato(*command).status == 0 and played[5:] == [TASK, TASK, other, other]
