"""The same run again, stopped, killed, in the wrong folder, on a full disk: the same numbers or one clear error."""

import dataclasses
import errno
import itertools
import json
import os
import pathlib
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
import types
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
import pytest
from tensorboardX.proto import event_pb2

from gato_jax.batching import write_records
from gato_jax.checkpoints import CheckpointError, CheckpointStore, DamagedCheckpointError, set_aside_damaged
from gato_jax.model import ComputeConfig
from gato_jax.reports.inspection import inspect_row
from gato_jax.runtime import FolderInUseError, interruptible
from gato_jax.runtime.paths import as_path
from gato_jax.tokenization import ContractError, Tokenization
from gato_jax.training import (
    CheckpointsConfig,
    ConfigError,
    NonFiniteLossError,
    choose_start,
    from_scratch,
    hold_run,
    loop,
    program,
    read_config,
    train,
)
from gato_jax.training.metrics import MetricsLog
from gato_jax.training.step import make_train_step
from tests.checkpoints.made_checkpoint import flip, largest_file
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.made_run import MODEL, TOKENIZATION, made_config, made_mixture

pytestmark = pytest.mark.usefixtures("shared_programs")

CONFIG = made_config()
ROOT = pathlib.Path(__file__).parents[2]


def metrics_of(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    timings = ("seconds", "tokens_per_second")
    return [{key: value for key, value in line.items() if key not in timings} for line in lines]


@pytest.fixture(scope="module")
def straight(data, shared_programs, tmp_path_factory):
    """The folder of a run of thirty steps without a break."""
    workdir = tmp_path_factory.mktemp("straight")
    train(CONFIG, made_mixture(data, CONFIG), workdir)
    return workdir


@pytest.fixture(scope="module")
def stopped(data, shared_programs, tmp_path_factory):
    """The folder of the same run, stopped after 15 steps."""
    workdir = tmp_path_factory.mktemp("stopped")
    train(CONFIG, made_mixture(data, CONFIG), workdir, stop_after=15)
    return workdir


def test_it_learns(straight):
    losses = [line["loss"] for line in metrics_of(straight)]
    assert [line["step"] for line in metrics_of(straight)] == list(range(1, 31))
    assert np.mean(losses[-10:]) < np.mean(losses[:5]) - 0.5


def test_a_line_of_metrics_has_all_that_a_report_reads(straight):
    line = json.loads((straight / "metrics.jsonl").read_text().splitlines()[-1])
    assert set(line) == {
        "step", "loss", "gradient_norm", "update_norm", "parameter_norm", "skipped_steps", "learning_rate",
        "tokens_per_second", "tokens", "seconds", "loss/control", "loss/game",
    }  # fmt: skip
    assert line["tokens"] == 30 * 8 * 24


def test_the_same_seed_gives_the_same_losses_to_the_last_digit(straight, data, tmp_path):
    again = train(CONFIG, made_mixture(data, CONFIG), tmp_path)
    assert metrics_of(tmp_path) == metrics_of(straight)
    assert again["loss"] == metrics_of(straight)[-1]["loss"]


def test_a_stop_in_the_middle_changes_no_digit(straight, stopped, data):
    assert [line["step"] for line in metrics_of(stopped)] == list(range(1, 16))
    train(CONFIG, made_mixture(data, CONFIG), stopped)
    assert metrics_of(stopped) == metrics_of(straight)


def test_a_finished_run_has_nothing_left_to_do(straight, data):
    before = metrics_of(straight)
    assert train(CONFIG, made_mixture(data, CONFIG), straight)["step"] == 30
    assert metrics_of(straight) == before


def test_metrics_torn_by_a_crash_are_repaired(tmp_path):
    lines = [json.dumps({"step": step, "loss": 1.0, "seconds": 2.0}) for step in (1, 2, 3)]
    (tmp_path / "metrics.jsonl").write_text("\n".join(lines) + '\n{"step": 4, "lo')
    log = MetricsLog(tmp_path, [], CONFIG, 2)
    assert log.close()["step"] == 2
    assert [line["step"] for line in metrics_of(tmp_path)] == [1, 2]


@pytest.mark.parametrize(
    "changes, said",
    [
        (
            {"seed": 4},
            "another run's checkpoint:\n  seed: 4 here, 3 in its checkpoint\nname another --workdir.*init_from",
        ),
        ({"batch_size": 16}, "batch_size: 16 here, 8 in"),
        ({"context": 32}, "context: 32 here, 24 in"),
        ({"steps": 20}, "been trained to step 30: steps is 20, expected at least that. Set more steps"),
        (
            {"optimizer": dataclasses.replace(CONFIG.optimizer, ema_decay=0.9)},
            "optimizer.ema_decay: 0.9 here, None in",
        ),
        ({"init_from": "runs/other"}, "init_from: 'runs/other' here, None in its checkpoint"),
        (
            {"model": dataclasses.replace(MODEL, layers=2)},
            "another model's checkpoint:\n  layers: 2 here, 1 in its checkpoint\nname another --workdir",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_another_runs_folder_is_refused(straight, data, changes, said):
    config = made_config(**changes)
    with pytest.raises(CheckpointError, match=f"(?s){straight} (holds|has) .*{said}"):
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


def test_a_finished_run_can_be_extended_and_says_so(straight, data, tmp_path, caplog):
    """The rows of the first steps are those of the longer run; only the learning rate schedule was another."""
    shutil.copytree(straight, tmp_path / "run")
    rate = dataclasses.replace(CONFIG.optimizer, peak_learning_rate=1e-3, clip_norm=0.5)
    longer = made_config(steps=35, optimizer=rate)
    with caplog.at_level("INFO"):
        train(longer, made_mixture(data, longer), tmp_path / "run")
    assert [line["step"] for line in metrics_of(tmp_path / "run")] == list(range(1, 36))
    assert metrics_of(tmp_path / "run")[:30] == metrics_of(straight)
    for said in ("goes on from step 30 with other settings", "steps: 35, was 30", "clip_norm: 0.5, was 1.0"):
        assert said in caplog.text
    store = CheckpointStore(tmp_path / "run", read_only=True)
    [start] = store.about(35)["run"]["history"]
    assert start["step"] == 30 and start["changes"]["optimizer.peak_learning_rate"] == [3e-3, 1e-3]
    caplog.clear()
    train(longer, made_mixture(data, longer), tmp_path / "run")
    assert "other settings" not in caplog.text


@pytest.mark.slow
def test_a_longer_run_has_the_same_rows_in_the_steps_before(straight, data, tmp_path):
    """With a constant learning rate, a run that is extended is the run that was long from the beginning."""
    constant = dataclasses.replace(CONFIG.optimizer, schedule="constant")
    for name, all_steps in (("long", [20]), ("extended", [12, 20])):
        for steps in all_steps:
            config = made_config(steps=steps, optimizer=constant, checkpoints=CheckpointsConfig(every=5))
            train(config, made_mixture(data, config), tmp_path / name)
    assert metrics_of(tmp_path / "long") == metrics_of(tmp_path / "extended")


def test_a_run_begins_with_the_params_of_another_one(straight, data, tmp_path):
    config = made_config(seed=4, init_from=str(straight))
    train(config, made_mixture(data, config), tmp_path, start=choose_start(config, tmp_path), stop_after=6)
    assert metrics_of(tmp_path)[0]["loss"] < metrics_of(straight)[0]["loss"] - 0.5
    origin = CheckpointStore(tmp_path, read_only=True).about(6)["run"]["init_from"]
    assert origin["source"] == str(straight) and origin["step"] == 30
    assert choose_start(config, tmp_path) is from_scratch  # the folder goes on, and needs the other run no longer
    other = made_config(model=dataclasses.replace(MODEL, layers=2), init_from=str(straight))
    with pytest.raises(CheckpointError, match=f"init_from is {straight}, an agent of another model:\n  layers: 2 here"):
        choose_start(other, tmp_path / "other")


@pytest.fixture
def hears_sigint():
    """For tests that run in the background, where a shell has its jobs ignore SIGINT."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def train_until_signal(config, mixture, workdir, monkeypatch, at: int, number: int, stop_after: int):
    """Train in this process, which gets a signal after step `at` and heeds it after the next one."""
    steps = itertools.count(CheckpointStore(workdir).latest_step() or 0)
    with interruptible("") as interruption, hold_run(workdir), monkeypatch.context() as patch:

        def ask(value, *, now):
            if next(steps) + 1 == at:
                os.kill(os.getpid(), number)
                while not interruption.requested:
                    time.sleep(0.01)
            return value

        patch.setattr(loop, "any_process", ask)
        return train(config, mixture, workdir, interruption=interruption, stop_after=stop_after)


@pytest.mark.usefixtures("hears_sigint")
def test_a_signal_saves_the_present_step_and_the_lines_are_those_of_an_unbroken_run(data, tmp_path, monkeypatch):
    """The steps are between two lines and two checkpoints, and two of them within one line."""
    config = made_config(log_every=5, checkpoints=CheckpointsConfig(every=10))
    mixture = made_mixture(data, config)
    train(config, mixture, tmp_path / "straight", stop_after=15)
    for at, number in ((6, signal.SIGTERM), (8, signal.SIGINT), (12, signal.SIGTERM)):
        result = train_until_signal(config, mixture, tmp_path / "run", monkeypatch, at, number, stop_after=15)
        assert (result["interrupted"], result["step"]) == (signal.Signals(number).name, at + 1)
        assert CheckpointStore(tmp_path / "run", read_only=True).latest_step() == at + 1
    assert train(config, mixture, tmp_path / "run", stop_after=15)["interrupted"] is None
    assert metrics_of(tmp_path / "run") == metrics_of(tmp_path / "straight")
    assert [line["step"] for line in metrics_of(tmp_path / "run")] == [5, 10, 15]


def test_two_runs_cannot_write_one_folder(data, tmp_path):
    with hold_run(tmp_path), pytest.raises(FolderInUseError, match="is writing there"):
        train(CONFIG, made_mixture(data, CONFIG), tmp_path)


def test_a_run_goes_on_with_its_blocks_stacked_and_unstacked(straight, data, tmp_path):
    for stop, scan in ((2, True), (3, False), (4, True)):
        config = dataclasses.replace(CONFIG, compute=ComputeConfig(scan=scan))
        train(config, made_mixture(data, config), tmp_path / "run", stop_after=stop)
    found, expected = (
        [line["loss"] for line in metrics_of(folder) if line["step"] <= 4] for folder in (tmp_path / "run", straight)
    )
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def poisoned(bad_steps: Sequence[int]):
    """The real training step, with weights of infinity for the targets of the given steps."""

    def make(graph, optimizer, *, loss_weights, **settings):
        real = make_train_step(graph, optimizer, loss_weights=[*loss_weights, np.inf], **settings)

        def train_step(state, batch, key):
            bad = jnp.isin(state.step, jnp.asarray(bad_steps))
            ids = jnp.where(bad, jnp.int32(len(loss_weights)), batch.dataset_ids)
            after, metrics = real(state, batch.replace(dataset_ids=ids), key)
            known = {name: metrics[name][: len(loss_weights)] for name in ("sums", "counts")}
            return after, {**metrics, **known}

        return train_step

    return make


def test_a_step_that_is_not_finite_is_skipped_counted_and_listed(data, tmp_path, monkeypatch):
    monkeypatch.setattr(program, "make_train_step", poisoned([3, 9, 10]))
    config = made_config(steps=16, log_every=2, checkpoints=CheckpointsConfig(every=2))
    mixture = made_mixture(data, config)
    train(config, mixture, tmp_path / "run", stop_after=12)
    assert CheckpointStore(tmp_path / "run", read_only=True).steps() == [8, 12]  # none right after the skipped step 9
    train(config, mixture, tmp_path / "run")
    lines = metrics_of(tmp_path / "run")
    assert [line["skipped_steps"] for line in lines] == [0, 1, 0, 0, 1, 1, 0, 0]
    assert all(np.isfinite(value) for line in lines for value in line.values())
    skipped = [json.loads(line) for line in (tmp_path / "run" / "skipped_steps.jsonl").read_text().splitlines()]
    assert [line["step"] for line in skipped] == [4, 10, 11]
    for row in skipped[0]["rows"]:
        shown = inspect_row(mixture, row["row"])
        assert shown.dataset == row["dataset"] and {token.episode for token in shown.tokens} == set(row["episodes"])
    assert [row["row"] for row in skipped[0]["rows"]] == list(range(24, 32))


@pytest.mark.slow
def test_a_run_whose_loss_stays_infinite_ends_and_goes_on_as_its_message_says(data, tmp_path):
    config = made_config(checkpoints=CheckpointsConfig(every=4))
    mixture = made_mixture(data, config)
    train(config, mixture, tmp_path / "run", stop_after=8)
    steep = dataclasses.replace(config.optimizer, peak_learning_rate=1e25, schedule="constant")
    with pytest.raises(NonFiniteLossError) as caught:
        train(dataclasses.replace(config, optimizer=steep), mixture, tmp_path / "run", command="gato train")
    message = str(caught.value)
    assert "5 steps in a row were not finite" in message and "gato inspect --row=" in message
    found = re.search(r"last good checkpoint is (\S+);.*go on from there: (.*)gato train --config", message)
    assert found is not None, message
    good, remove = found.groups()
    assert pathlib.Path(good) == tmp_path / "run" / "checkpoints" / "8"
    subprocess.run(remove + "true", shell=True, check=True)
    result = train(config, mixture, tmp_path / "run", stop_after=20)
    assert result["step"] == 20 and np.isfinite(result["loss"])
    assert metrics_of(tmp_path / "run")[-1]["skipped_steps"] == 0


@pytest.mark.parametrize("seen", [0, 3])
def test_tensorboard_has_the_lines_of_metrics_once_each(straight, data, tmp_path, seen):
    """A process that was killed wrote events of steps that are done again, and lacks others."""
    shutil.copytree(straight, tmp_path / "run")
    [events] = (tmp_path / "run" / "tensorboard").iterdir()
    events.rename(events.with_name("events.out.tfevents.1.killed"))
    if not seen:
        events.with_name("events.out.tfevents.1.killed").write_bytes(b"")
    train(CONFIG, made_mixture(data, CONFIG), tmp_path / "run")
    found = scalars(tmp_path / "run" / "tensorboard")
    for name in ("loss", "update_norm", "parameter_norm", "loss/game"):
        lines = [(line["step"], np.float32(line[name])) for line in metrics_of(straight) if name in line]
        assert found[name] == lines
    assert any(name.startswith("first_batch/row_") for name in found) and "seconds" not in found


def scalars(folder: pathlib.Path) -> dict[str, list[tuple[int, float]]]:
    """{tag: (step, value) of each event} of all event files of a folder."""
    found: dict[str, list] = {}
    for file in folder.iterdir():
        content = file.read_bytes()
        while content:
            (size,) = struct.unpack("<Q", content[:8])
            event = getattr(event_pb2, "Event").FromString(content[12 : 12 + size])  # noqa: B009 (made when it is imported)
            for value in event.summary.value:
                found.setdefault(value.tag, []).append((event.step, np.float32(value.simple_value)))
            content = content[16 + size :]
    return found


def test_wandb_is_asked_for_only_where_it_is_installed(data, tmp_path, monkeypatch):
    config = made_config(wandb="gato")
    with pytest.raises(ConfigError, match="wandb is 'gato', and the package wandb is not installed. Run pip install"):
        train(config, made_mixture(data, config), tmp_path)
    logged = []
    run = types.SimpleNamespace(
        url="https://wandb.test/run", log=lambda values, step: logged.append(step), finish=lambda: logged.append("end")
    )
    module = types.SimpleNamespace(init=lambda **settings: run, __spec__=object())
    monkeypatch.setitem(sys.modules, "wandb", module)
    train(config, made_mixture(data, config), tmp_path, stop_after=6)
    assert logged == [1, 2, 3, 4, 5, 6, "end"]


def test_a_run_that_goes_back_from_a_damaged_checkpoint_has_the_same_numbers(straight, data, tmp_path):
    run = shutil.copytree(straight, tmp_path / "run")
    flip(largest_file(run / "checkpoints" / "30" / "optimizer"), 777)
    with pytest.raises(DamagedCheckpointError, match="checkpoints/30 cannot be restored: optimizer/.* --on_damage"):
        train(CONFIG, made_mixture(data, CONFIG), run)
    assert set_aside_damaged(run) == 20
    train(CONFIG, made_mixture(data, CONFIG), run)
    assert metrics_of(run) == metrics_of(straight) and read_config(run) == CONFIG
    assert sorted(path.name for path in (run / "checkpoints").iterdir()) == ["20", "30", "30.damaged"]


def test_a_run_in_a_bucket_is_continued_with_the_same_numbers(straight, data, bucket):
    workdir = as_path(f"{bucket}/runs/mine")
    for stop in (6, 12):
        train(CONFIG, made_mixture(data, CONFIG), workdir, stop_after=stop)
    assert metrics_of(workdir) == metrics_of(straight)[:12]
    assert sorted(int(step.name) for step in (workdir / "checkpoints").iterdir()) == [10, 12]  # `keep` is 2
    events = sorted((workdir / "tensorboard").iterdir())
    assert len(events) == 1 and events[0].read_bytes().count(b"gradient_norm") == 12
    assert CheckpointStore(workdir, read_only=True).restore_agent().step == 12
    manifest = workdir / "checkpoints" / "12" / "params" / "manifest.ocdbt"
    manifest.write_bytes(manifest.read_bytes()[:-1])
    assert set_aside_damaged(workdir) == 10
    assert CheckpointStore(workdir, read_only=True).restore_agent().step == 10


def test_checkpoints_are_written_to_no_other_bucket(data):
    with pytest.raises(CheckpointError, match="--workdir is s3://made/run, expected a folder or an address gs://"):
        train(CONFIG, made_mixture(data, CONFIG), as_path("s3://made/run"))
