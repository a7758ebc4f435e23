"""Data and folders that cannot be used: one line that names them and the remedy, whichever verb meets them."""

import errno
import os
import shutil

import numpy as np
import pytest

from gato_jax.environments import MissingPackageError
from gato_jax.experts import expert
from tests.integration.conftest import DATASET, TASK, gato, train


@pytest.fixture
def own_data(collected, tmp_path):
    """A run's folder and a copy of the dataset in it, to be damaged."""
    dataset = tmp_path / "run" / "data" / DATASET / "1.0.0"
    shutil.copytree(collected[0] / "data" / DATASET / "1.0.0", dataset)
    return tmp_path / "run", dataset


def test_a_missing_dataset_names_the_nearest(workdir):
    source = f"--config.datasets.grid.source=recorded:{workdir}/data/{DATASET[:-1]}/1.0.0"
    assert f"no dataset; nearest in {workdir}/data: {DATASET}/1.0.0" in train(workdir, source).complaint()


def test_an_unknown_kind_of_source_names_the_nearest(workdir):
    said = train(workdir, "--config.datasets.grid.source=recoded:somewhere").complaint()
    assert "unknown kind 'recoded'; did you mean 'recorded'?" in said


def test_a_truncated_array_record_is_found_before_training(own_data):
    workdir, dataset = own_data
    [file] = dataset.glob("*.array_record*")
    os.truncate(file, file.stat().st_size // 2)
    said = train(workdir).complaint()
    assert str(file) in said and "truncated or changed" in said and "record it again" in said


def test_a_changed_array_record_is_found(own_data, own_cache):
    workdir, dataset = own_data
    [file] = dataset.glob("*.array_record*")
    content = bytearray(file.read_bytes())
    content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
    file.write_bytes(content)
    said = train(workdir).complaint()
    assert str(dataset) in said and "damaged" in said


@pytest.mark.parametrize("part", [0.0, 0.3, 0.5, 0.75, 0.999])
def test_a_flipped_sidecar_is_found(own_data, part):
    workdir, dataset = own_data
    file = dataset / "episode_index.npz"
    content = np.frombuffer(file.read_bytes(), np.uint8).copy()
    content[int(part * len(content)) :][:8] ^= 255
    file.write_bytes(content.tobytes())
    said = train(workdir).complaint()
    assert str(file) in said and "record the dataset again" in said


def test_an_existing_dataset_is_not_replaced_unless_asked_to(collected):
    said = gato("collect", f"--tasks={TASK}", "--episodes=1", f"--output={collected[0] / 'data'}").complaint()
    assert "already there" in said and "overwrite" in said


def test_all_datasets_are_checked_before_the_first_is_recorded(collected, tmp_path):
    output = tmp_path / "data"
    output.mkdir()
    (output / DATASET).symlink_to(collected[0] / "data" / DATASET)
    said = gato("collect", f"--tasks=babyai/GoToObj-v0,{TASK}", "--episodes=1", f"--output={output}").complaint()
    assert "already there" in said and [path.name for path in output.iterdir()] == [DATASET]


def test_a_recording_without_a_success_says_so(tmp_path):
    words = ["--tasks=babyai/PutNextLocal-v0", "--episodes=2", "--actor=random", "--successes_only"]
    said = gato("collect", *words, f"--output={tmp_path / 'data'}").complaint()
    assert "babyai/PutNextLocal-v0: no episode succeeded. Play more episodes, or remove --successes_only." in said


@pytest.mark.parametrize("words", [["collect", f"--tasks={TASK}", "--output={tmp}"], ["evaluate", "--workdir={run}"]])
def test_a_task_whose_package_is_missing_is_one_line(trained, tmp_path, monkeypatch, words):
    monkeypatch.setattr("gato_jax.environments.suite.Suite.missing", lambda suite: ["minigrid"])
    said = gato(*(word.format(tmp=tmp_path, run=trained) for word in words)).complaint()
    assert f"{TASK} does not run here: pip install minigrid" in said and not any(tmp_path.iterdir())


def test_an_expert_whose_package_is_missing_names_it(monkeypatch):
    monkeypatch.setattr("gato_jax.environments.suite.Suite.missing", lambda suite: ["metaworld"])
    with pytest.raises(MissingPackageError, match="meta_world/reach-v3 does not run here: pip install metaworld"):
        expert("meta_world/reach-v3")


@pytest.mark.parametrize("content", ["not json", "[1]"])
def test_scores_that_cannot_be_added_to_a_file_are_refused_before_the_agent_plays(trained, tmp_path, content):
    (tmp_path / "checkpoints").symlink_to(trained / "checkpoints")
    (tmp_path / "results.json").write_text(content)
    said = gato("evaluate", f"--workdir={tmp_path}", "--episodes=1").complaint()
    assert f"{tmp_path / 'results.json'} is " in said and "--json" in said
    assert not (tmp_path / "rollouts").exists()


def test_a_dataset_beyond_the_context_is_refused(workdir):
    assert (
        "a timestep of 156 tokens exceeds context 100; raise context"
        in train(workdir, "--config.context=100").complaint()
    )


@pytest.mark.parametrize(
    "change", ["seed=5", "batch_size=16", "context=200", "optimizer.ema_decay=0.9", "datasets.grid.weight=0.5"]
)
def test_a_folder_with_another_runs_checkpoint_is_refused(trained, change):
    before = {file: file.read_bytes() for file in trained.glob("*.json*")}
    said = train(trained, f"--config.{change}").complaint()
    name, value = change.split("=")
    assert (
        "holds another run's checkpoint: " in said and f"{name.removeprefix('datasets.grid.')}: {value} here, " in said
    )
    assert "name another --workdir" in said and before == {file: file.read_bytes() for file in trained.glob("*.json*")}


def test_a_file_is_no_run(tmp_path):
    (tmp_path / "agent.safetensors").write_text("")
    assert (
        "expected the folder of a run. It is a file"
        in gato("evaluate", f"--workdir={tmp_path}/agent.safetensors").complaint()
    )


def test_changed_data_are_refused_with_the_difference(trained, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(trained, run, symlinks=True)
    (run / "data").unlink()
    collect = ["collect", f"--tasks={TASK}", "--episodes=5", f"--output={run / 'data'}"]
    assert gato(*collect).status == 0
    said = train(run).complaint()
    assert "mixture.datasets.grid.data: '" in said and "mixture.datasets.grid.tokens: " in said


def test_a_task_that_the_agent_does_not_know_names_the_nearest(trained):
    before = sorted(trained.rglob("*"))
    known = gato("evaluate", f"--workdir={trained}", "--tasks=babyai/GoToRedBall-v0").complaint()
    assert f"the agent was not trained on 'babyai/GoToRedBall-v0'; nearest: {TASK}" in known
    unknown = gato("evaluate", f"--workdir={trained}", "--tasks=babyai/GoToRedBal-v0").complaint()
    assert "unknown task 'babyai/GoToRedBal-v0'; nearest: babyai/GoToRedBall-v0" in unknown
    assert sorted(trained.rglob("*")) == before  # nothing was played


@pytest.mark.parametrize(
    "words",
    [
        ["collect", f"--tasks={TASK}", "--episodes=1", "--output={file}"],
        ["train", "--config=tests/integration/tiny_config.py", "--workdir={file}"],
        ["evaluate", "--workdir={file}"],
        ["report", "--workdir={file}"],
        ["tasks", "--json={file}/tasks.json"],
    ],
    ids=lambda words: words[0],
)
def test_a_file_where_a_folder_should_be_is_one_line(words, tmp_path):
    file = tmp_path / "file"
    file.write_text("kept")
    said = gato(*(word.replace("{file}", str(file)) for word in words)).complaint()
    assert str(file) in said and file.read_text() == "kept"


def test_a_full_disk_at_the_result_is_one_line():
    assert gato("tasks", "--json=/dev/full").complaint() == (
        "gato tasks: the disk: No space left on device; free space or name another folder"
    )


def refuse(error: int):
    def write(*args, **kwargs):
        raise OSError(error, os.strerror(error), "/mnt/run")

    return write


@pytest.mark.parametrize(
    ("error", "remedy"),
    [
        (errno.ENOSPC, "free space or name another folder"),
        (errno.EDQUOT, "free space or name another folder"),
        (errno.EROFS, "name a path on a disk that can be written"),
        (errno.EACCES, "change its permissions or name another path"),
    ],
)
@pytest.mark.parametrize("where", ["numpy.save", "pathlib.Path.mkdir"])
def test_a_disk_that_refuses_is_one_line_with_the_remedy_of_its_error(
    workdir, own_cache, monkeypatch, where, error, remedy
):
    monkeypatch.setattr(where, refuse(error))
    assert train(workdir).complaint().endswith(f"/mnt/run: {os.strerror(error)}; {remedy}")


def test_a_full_disk_while_tokenizing_is_one_line(workdir, own_cache, monkeypatch):
    def pack(chunk):
        raise RuntimeError("write() failed: No space left on device; writing steps.array_record")  # as ArrayRecord does

    monkeypatch.setattr("gato_jax.batching.record_writer.pack", pack)
    assert "No space left on device; writing steps.array_record" in train(workdir).complaint()


def test_a_fault_of_ours_is_no_bad_input(monkeypatch):
    monkeypatch.setattr("gato_jax.verbs.tasks.tasks", lambda flag, argv: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        gato("tasks")
