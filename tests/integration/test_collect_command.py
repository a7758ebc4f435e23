"""`gato collect`: another seed gives other episodes; ended in any way, it goes on to the same bytes."""

import json
import signal
import time

import psutil
import pytest

from gato_jax.episodes import open_dataset
from tests.integration.conftest import DATASET, ROOT, TASK, finish, gato, start


def words(output, episodes: int, *more) -> list[str]:
    return ["collect", f"--tasks={TASK}", f"--episodes={episodes}", f"--output={output}", *more]


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


@pytest.mark.parametrize(
    "number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)], ids=["SIGKILL", "SIGTERM"]
)
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


@pytest.mark.slow
def test_killed_five_times_it_ends_with_the_episodes_of_an_unbroken_run(tmp_path):
    """A hundred episodes of two tasks by two workers, killed five times, against one process without a break."""
    names = ("dm_control/cartpole/swingup", "dm_control/cartpole/balance")
    command = ["collect", f"--tasks={','.join(names)}", "--episodes=50", "--actor=random"]
    kills, done = 0, 0
    while kills < 5:
        process = start("-m", "gato_jax.cli", *command, f"--output={tmp_path / 'killed'}", "--workers=2")
        deadline = time.monotonic() + 300
        while recorded_bytes(tmp_path / "killed") <= done:
            assert process.poll() is None and time.monotonic() < deadline, finish(process)
            time.sleep(0.02)
        family = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        assert finish(process).status == -signal.SIGKILL
        assert not psutil.wait_procs(family, timeout=60)[1]
        kills, done = kills + 1, recorded_bytes(tmp_path / "killed")
    assert gato(*command, f"--output={tmp_path / 'killed'}", "--workers=2").status == 0
    assert gato(*command, f"--output={tmp_path / 'whole'}", "--workers=0").status == 0
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")
    assert len(open_dataset(tmp_path / "whole" / "dm_control__cartpole__swingup")) == 50


def recorded_bytes(root) -> int:
    """The size of all episodes that are kept so far below a folder, finished datasets included."""
    files = [*root.glob("*/*.recording/episodes.tfrecord"), *root.glob("*/1.0.0/*.array_record*")]
    return sum(file.stat().st_size for file in files)


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


def test_a_recipe_gives_what_no_flag_does(tmp_path):
    recipe = f"--config={ROOT}/configs/collect/babyai.py"
    said = gato("collect", recipe, f"--tasks={TASK}", "--episodes=2", f"--output={tmp_path}", "--json", tmp_path / "j")
    assert said.status == 0, said
    assert set(json.loads((tmp_path / "j").read_text())["tasks"]) == {TASK}
    described = json.loads((tmp_path / DATASET / "1.0.0" / "recording.json").read_text())
    assert (described["episodes"], described["successes_only"]) == (2, True)
    for words, message in [
        (["--config.recording.tasks=()"], "--config.recording.tasks is empty: no expert plays a task of the domain"),
        (["--config.recording.speed=3"], "--config.recording has the key 'speed', expected some of tasks, episodes"),
    ]:
        refused = gato("collect", recipe, *words, f"--output={tmp_path}")
        assert refused.status == 2 and message in refused.err, refused


def test_a_failing_task_is_listed_and_the_others_are_recorded(tmp_path, monkeypatch):
    from gato_jax.rollouts import RandomActor

    reset, other = RandomActor.reset, "babyai/GoToObj-v0"

    def fail_in_one_task(actor, environments, seeds):
        if environments[0].task_spec.name == TASK:
            raise ArithmeticError("unstable")
        reset(actor, environments, seeds)

    monkeypatch.setattr(RandomActor, "reset", fail_in_one_task)
    command = ["collect", f"--tasks={TASK},{other}", "--episodes=2", "--actor=random", f"--output={tmp_path / 'data'}"]
    said = gato(*command, "--max_failed=0.5", f"--json={tmp_path / 'json'}")
    assert f"failed: {TASK}, seed 0: ArithmeticError: unstable" in said.out
    assert f"the datasets of 1 of 2 tasks were not written: {TASK}, seed 0: Arithm" in said.complaint()
    report = json.loads((tmp_path / "json").read_text())
    assert list(report["tasks"]) == [other] and report["tasks"][other]["failed"] == []
    failed = [{"seed": seed, "reason": "ArithmeticError: unstable"} for seed in (0, 1)]
    assert report["unfinished"] == {TASK: {"failed": failed, "error": "unstable"}}


def test_a_randomised_recording_lists_what_was_drawn_and_is_no_other_one(tmp_path):
    config = ["--actor=random", f"--config={ROOT}/configs/randomisation.py"]
    task = ["collect", "--tasks=modular_rl/hopper_5", "--episodes=2", f"--output={tmp_path}"]
    assert gato(*task, *config).status == 0
    drawn = [
        json.loads(episode.provenance.variation)
        for episode in open_dataset(tmp_path / "modular_rl__hopper_5" / "1.0.0")
    ]
    assert [set(values) for values in drawn] == [
        {"masses", "friction", "damping", "gear", "action_delay", "observation_noise"}
    ] * 2
    assert drawn[0] != drawn[1] and 0.8 <= drawn[0]["masses"]["torso"] <= 1.2
    other = gato(*task, *config, "--config.randomisation.masses=(0.5, 2.0)")
    assert other.status == 2 and "randomisation.masses: [0.5, 2.0] here, [0.8, 1.2] in recording.json" in other.err
    for words, message in [
        (["--tasks=babyai/GoToObj-v0"], "babyai/GoToObj-v0 cannot be randomised: it has no MuJoCo model"),
        (["--config.randomisation.gear=(2, 1)"], "gear is (2.0, 1.0), expected the lower and upper end"),
        (["--config.steps=5"], "--config has the keys ['randomisation', 'steps']"),
    ]:
        refused = gato(*task, *config, *words)
        assert refused.status == 2 and message in refused.err, refused
