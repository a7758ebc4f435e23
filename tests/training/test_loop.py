"""The same run again, stopped, killed, in the wrong folder, on a full disk: the same numbers or one clear error."""

import dataclasses
import errno
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax.numpy as jnp
import numpy as np
import pytest

from gato_jax.batching import write_records
from gato_jax.checkpoints import CheckpointError, CheckpointStore, DamagedCheckpointError, set_aside_damaged
from gato_jax.runtime.paths import as_path
from gato_jax.tokenization import ContractError, Tokenization
from gato_jax.training import NonFiniteLossError, program, read_config, train
from gato_jax.training.metrics import MetricsLog
from tests.checkpoints.made_checkpoint import flip, largest_file
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.made_run import MODEL, TOKENIZATION, made_config, made_mixture

CONFIG = made_config()
ROOT = pathlib.Path(__file__).parents[2]


def metrics_of(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    timings = ("seconds", "tokens_per_second")
    return [{key: value for key, value in line.items() if key not in timings} for line in lines]


@pytest.fixture(scope="module")
def straight(data, tmp_path_factory):
    """The folder of a run of fifty steps without a break."""
    workdir = tmp_path_factory.mktemp("straight")
    train(CONFIG, made_mixture(data, CONFIG), workdir)
    return workdir


@pytest.fixture(scope="module")
def stopped(data, tmp_path_factory):
    """The folder of the same run, stopped after 25 steps."""
    workdir = tmp_path_factory.mktemp("stopped")
    train(CONFIG, made_mixture(data, CONFIG), workdir, stop_after=25)
    return workdir


def test_it_learns(straight):
    losses = [line["loss"] for line in metrics_of(straight)]
    assert [line["step"] for line in metrics_of(straight)] == list(range(1, 51))
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.5


def test_a_line_of_metrics_has_all_that_a_report_reads(straight):
    line = json.loads((straight / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(line) == {
        "step", "loss", "gradient_norm", "learning_rate", "tokens_per_second", "tokens", "seconds",
        "loss/control", "loss/game",
    }  # fmt: skip
    assert line["tokens"] == 50 * 8 * 24


def test_the_same_seed_gives_the_same_losses_to_the_last_digit(straight, data, tmp_path):
    again = train(CONFIG, made_mixture(data, CONFIG), tmp_path)
    assert metrics_of(tmp_path) == metrics_of(straight)
    assert again["loss"] == metrics_of(straight)[-1]["loss"]


def test_a_stop_in_the_middle_changes_no_digit(straight, stopped, data):
    assert [line["step"] for line in metrics_of(stopped)] == list(range(1, 26))
    train(CONFIG, made_mixture(data, CONFIG), stopped)
    assert metrics_of(stopped) == metrics_of(straight)


def test_a_finished_run_has_nothing_left_to_do(straight, data):
    before = metrics_of(straight)
    assert train(CONFIG, made_mixture(data, CONFIG), straight)["step"] == 50
    assert metrics_of(straight) == before


def test_a_killed_run_goes_on_from_its_last_checkpoint_with_the_same_numbers(data, tmp_path):
    """All three runs in a process of their own, as a person runs them."""
    how = {"cwd": ROOT, "stderr": subprocess.PIPE}
    straight, killed = tmp_path / "straight", tmp_path / "killed"
    commands = {
        run: [sys.executable, "-m", "tests.training.made_run", str(data), str(run)] for run in (straight, killed)
    }
    subprocess.run(commands[straight], check=True, timeout=300, **how)
    process = subprocess.Popen(commands[killed], **how)
    try:
        deadline = time.monotonic() + 200
        while not (killed / "checkpoints" / "20").exists():
            assert process.poll() is None and time.monotonic() < deadline, process.communicate()[1][-2000:]
            time.sleep(0.005)
    finally:
        process.send_signal(signal.SIGKILL)
        process.communicate()
    assert process.returncode == -signal.SIGKILL
    subprocess.run(commands[killed], check=True, timeout=300, **how)
    assert metrics_of(killed) == metrics_of(straight)


def test_metrics_torn_by_a_crash_are_repaired(tmp_path):
    lines = [json.dumps({"step": step, "loss": 1.0, "seconds": 2.0}) for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')
    log = MetricsLog(tmp_path, [], CONFIG, first_step=2)
    assert log.close()["step"] == 2
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    "changes, said",
    [
        ({"seed": 4}, "another run's checkpoint:\n  seed: 4 here, 3 in its checkpoint\nname another --workdir"),
        ({"batch_size": 16}, "batch_size: 16 here, 8 in"),
        ({"context": 32}, "context: 32 here, 24 in"),
        ({"steps": 60}, "steps: 60 here, 50 in"),
        (
            {"model": dataclasses.replace(MODEL, layers=2)},
            "another model's checkpoint:\n  layers: 2 here, 1 in its checkpoint\nname another --workdir",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_runs_folder_is_refused(straight, data, changes, said):
    config = made_config(**changes)
    with pytest.raises(CheckpointError, match=f"(?s){straight} holds .*{said}"):
        train(config, made_mixture(data, config), straight)


def test_a_folder_trained_on_other_data_is_refused(straight, tmp_path):
    episodes = [random_episode(CONTROL, seed, steps=6) for seed in range(5)]
    write_records(tmp_path / "control", CONTROL, episodes, "other data", TOKENIZATION)
    with pytest.raises(CheckpointError, match="mixture.datasets.control.data: 'other data' here"):
        train(CONFIG, made_mixture(tmp_path, CONFIG), straight)


def test_a_model_for_another_tokenization_than_the_datas_is_refused(data, tmp_path):
    config = made_config(model=dataclasses.replace(MODEL, tokenization=Tokenization(mu=50.0)))
    with pytest.raises(ContractError, match="tokenization.mu"):
        train(config, made_mixture(data, config), tmp_path)


def test_a_file_where_the_workdir_should_be_is_one_clear_error(data, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=f"{tmp_path}/file.*name another --workdir"):
        train(CONFIG, made_mixture(data, CONFIG), tmp_path / "file")


def test_a_full_disk_is_one_clear_error(data, tmp_path, monkeypatch):
    def no_space(self, *args, **kwargs):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    mixture = made_mixture(data, CONFIG)
    store = CheckpointStore(tmp_path)
    monkeypatch.setattr(type(store._manager), "save", no_space)
    with pytest.raises(CheckpointError, match="No space left on device; free space and run again"):
        train(CONFIG, mixture, tmp_path)


@pytest.mark.parametrize("name", ["loss", "gradient_norm"])
def test_a_loss_or_gradient_that_is_not_finite_stops_the_run_before_it_is_saved(data, tmp_path, monkeypatch, name):
    def step_13_fails(state, batch, key):
        metrics = {"loss": 1.0, "gradient_norm": 1.0, "sums": np.ones(2), "counts": np.ones(2)}
        metrics[name] = jnp.where(state.step == 12, jnp.nan, 1.0)
        return state._replace(step=state.step + 1), metrics

    monkeypatch.setattr(program, "make_train_step", lambda *args, **settings: step_13_fails)
    with pytest.raises(NonFiniteLossError, match="nan.* at step 13; lower the learning rate"):
        train(CONFIG, made_mixture(data, CONFIG), tmp_path)
    assert CheckpointStore(tmp_path).latest_step() == 10


def test_a_run_that_goes_back_from_a_damaged_checkpoint_has_the_same_numbers(straight, data, tmp_path):
    run = shutil.copytree(straight, tmp_path / "run")
    flip(largest_file(run / "checkpoints" / "50" / "optimizer"), 777)
    with pytest.raises(DamagedCheckpointError, match="checkpoints/50 cannot be restored: optimizer/.* --on_damage"):
        train(CONFIG, made_mixture(data, CONFIG), run)
    assert set_aside_damaged(run) == 40
    train(CONFIG, made_mixture(data, CONFIG), run)
    assert metrics_of(run) == metrics_of(straight) and read_config(run) == CONFIG
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["40", "50", "50.damaged"]


def test_a_run_in_a_bucket_is_continued_with_the_same_numbers(straight, data, bucket):
    workdir = as_path(f"{bucket}/runs/mine")
    for stop in (6, 12):
        train(CONFIG, made_mixture(data, CONFIG), workdir, stop_after=stop)
    assert metrics_of(workdir) == metrics_of(straight)[:12]
    assert sorted(int(step.name) for step in (workdir / "checkpoints").iterdir()) == [10, 12]  # `keep` is 2
    events = sorted((workdir / "tensorboard").iterdir())
    assert len(events) == 2 and all(b"gradient_norm" in file.read_bytes() for file in events)
    assert CheckpointStore(workdir, read_only=True).restore_agent().step == 12
    manifest = workdir / "checkpoints" / "12" / "params" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    assert set_aside_damaged(workdir) == 10
    assert CheckpointStore(workdir, read_only=True).restore_agent().step == 10


def test_checkpoints_are_written_to_no_other_bucket(data):
    with pytest.raises(CheckpointError, match="--workdir is s3://made/run, expected a folder or an address gs://"):
        train(CONFIG, made_mixture(data, CONFIG), as_path("s3://made/run"))
