"""`gato convert`: what it says and leaves; killed in the middle and run again; what is refused."""

import json
import signal
import time
from pathlib import Path

import psutil
import pytest

from gato_jax.episodes import open_dataset
from gato_jax.reports.provenance import read_conversions
from gato_jax.sources import opening
from tests.integration.conftest import finish, gato, start
from tests.sources.made_reader import DAMAGE, NAME, made_episode, open_made, write_recording

# A kind of source of these tests' own: made:FILE.
WITH_MADE = """
import sys
from gato_jax import cli
from gato_jax.sources import opening
from tests.sources.made_reader import open_made
opening.SELF_DESCRIBED["made"] = open_made
opening.KINDS += ("made",)
cli.main()
"""
IN_THIS_PROCESS = ("--beam.direct_running_mode=in_memory", "--beam.direct_num_workers=1")


@pytest.fixture(autouse=True)
def made_kind(monkeypatch):
    monkeypatch.setitem(opening.SELF_DESCRIBED, "made", open_made)
    monkeypatch.setattr(opening, "KINDS", (*opening.KINDS, "made"))


def contents(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def identity(file: Path) -> tuple[int, int]:
    """Another one where the file was written again."""
    return file.stat().st_ino, file.stat().st_mtime_ns


def test_what_it_says_and_leaves(tmp_path):
    damaged = {1: "nan", 4: "unreadable", 5: "nan"}
    file = write_recording(tmp_path / "made.json", train=30, test=2, damaged=damaged)
    words = ["convert", f"--source=made:{file}", f"--output={tmp_path / 'out'}", "--splits=train,test", "--deduplicate"]
    said = gato(*words, "--max_rejected=0.2", f"--json={tmp_path / 'json'}", *IN_THIS_PROCESS)
    directory = tmp_path / "out" / NAME / "1.0.0"
    steps = sum(open_dataset(directory, split).total_steps for split in ("train", "test"))
    episode = "laboratory/StackCubes: episode {} of split 'train'"
    assert said.status == 0 and said.out.splitlines() == [
        f"rejected: {episode.format(1)}: {DAMAGE['nan']}",
        f"rejected: StackCubes.h5, demo_4: {DAMAGE['unreadable']}",
        f"rejected: {episode.format(5)}: {DAMAGE['nan']}",
        f"2 rejected: {DAMAGE['nan']}",
        f"1 rejected: {DAMAGE['unreadable']}",
        "--deduplicate removed 1 episode",
        f"{NAME}: 28 episodes (26 train, 2 test), {steps} steps, 3 rejected, in {directory}",
    ]
    assert json.loads((tmp_path / "json").read_text()) == {
        "episodes": 28,
        "splits": {"train": 26, "test": 2},
        "steps": steps,
        "rejected": [
            {"where": episode.format(1), "reason": DAMAGE["nan"]},
            {"where": "StackCubes.h5, demo_4", "reason": DAMAGE["unreadable"]},
            {"where": episode.format(5), "reason": DAMAGE["nan"]},
        ],
        "left_out": [],
        "filtered": {"deduplicate": 1},
        "clipped": [],
        "dataset": str(directory),
    }


def test_it_selects_by_robot_and_workspace(tmp_path):
    file = write_recording(tmp_path / "made.json", train=4)
    words = ["convert", f"--source=made:{file}", f"--output={tmp_path / 'out'}", *IN_THIS_PROCESS]
    assert "its robot is not declared, not panda" in gato(*words, "--select=robot=panda").complaint()
    assert "a condition is 'colour=red'" in gato(*words, "--select=colour=red").complaint()
    inside = [number for number in range(4) if (made_episode(number).observation["joints"][:, 0] <= 1).all()]
    assert 0 < len(inside) < 4
    said = gato(*words, "--select=dof=3,workspace=joints/-9:1")
    assert said.status == 0 and f"--select removed {4 - len(inside)} episode" in said.out
    returns = open_dataset(tmp_path / "out" / NAME / "1.0.0").returns.tolist()
    assert returns == [made_episode(number).episode_return for number in inside]


def test_of_many_rejected_ten_are_listed_and_all_counted(tmp_path):
    file = write_recording(tmp_path / "made.json", train=30, damaged=dict.fromkeys(range(15), "nan"))
    words = ["convert", f"--source=made:{file}", f"--output={tmp_path / 'out'}", *IN_THIS_PROCESS]
    refused = gato(*words, f"--json={tmp_path / 'json'}")
    assert "15 of 30 episodes are rejected, expected at most a share of 0.1. The most frequent" in refused.complaint()
    lines = refused.out.splitlines()
    assert sum(line.startswith("rejected: ") for line in lines) == 10 and lines[-1] == f"15 rejected: {DAMAGE['nan']}"
    report = json.loads((tmp_path / "json").read_text())
    names = {"episodes", "splits", "steps", "rejected", "left_out", "filtered", "clipped", "dataset"}
    assert report.keys() == names and report["dataset"] is None and report["splits"] == {}
    assert report["episodes"] == report["steps"] == 0 and len(report["rejected"]) == 15
    assert report["rejected"][0]["reason"] == DAMAGE["nan"]
    said = gato(*words, "--max_rejected=0.5").out.splitlines()
    assert sum(line.startswith("rejected: ") for line in said) == 10 and f"15 rejected: {DAMAGE['nan']}" in said


def test_asked_for_again_it_is_kept_and_of_other_settings_refused(tmp_path):
    file = write_recording(tmp_path / "made.json", train=1)
    words = ["convert", f"--source=made:{file}", f"--output={tmp_path / 'out'}", *IN_THIS_PROCESS]
    directory = tmp_path / "out" / NAME / "1.0.0"
    assert gato(*words).out == f"{NAME}: 1 episode (1 train), 3 steps, 0 rejected, in {directory}\n"
    assert (
        gato(*words).out
        == f"{NAME}: 1 episode (1 train), 3 steps, 0 rejected, already converted, kept in {directory}\n"
    )
    refused = gato(*words, "--deduplicate").complaint()
    assert "1.0.0: exists already, made of other data or fields, or with other settings:" in refused
    assert (
        "filters.deduplicate: {} here, missing in conversion.json; choose another output, or replace it (--overwrite)"
        in refused
    )


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM], ids=lambda number: number.name)
def test_ended_in_the_middle_it_goes_on_to_the_same_bytes_and_no_worker_is_left(tmp_path, number):
    damaged = {7: "nan", 50: "unreadable"}
    file = write_recording(tmp_path / "made.json", train=60, damaged=damaged, seconds=0.1)
    words = ["convert", f"--source=made:{file}", "--shard_episodes=5"]
    process = start("-c", WITH_MADE, *words, f"--output={tmp_path / 'killed'}")
    work, deadline = tmp_path / "killed" / NAME / "1.0.0.converting", time.monotonic() + 150
    while len(finished := list((work / "convert").glob("*.json"))) < 2 and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    workers = psutil.Process(process.pid).children(recursive=True)
    assert workers
    process.send_signal(number)
    ended = finish(process)
    if number == signal.SIGKILL:
        assert ended.status == -signal.SIGKILL
    else:
        told = f"{number.name}: ended at once. The finished shards are kept in {tmp_path / 'killed'}. Run the same"
        assert ended.status == 0 and told in ended.err and "Traceback" not in ended.err, ended.err
    assert len(finished) < 12 and not (work.parent / "1.0.0").exists()
    assert not psutil.wait_procs(workers, timeout=60)[1]  # none is left
    done = [work / "dataset" / f"{entry.stem}.array_record" for entry in (work / "convert").glob("*.json")]
    kept = {identity(file) for file in done}
    assert 2 <= len(kept) < 12

    write_recording(file, train=60, damaged=damaged)  # the same, and quick to read
    said = gato(*words, f"--output={tmp_path / 'killed'}", *IN_THIS_PROCESS)
    whole = gato(*words, f"--output={tmp_path / 'whole'}", *IN_THIS_PROCESS)
    assert said.status == 0 and whole.out == said.out.replace(str(tmp_path / "killed"), str(tmp_path / "whole"))
    dataset = open_dataset(tmp_path / "killed" / NAME / "1.0.0")
    assert kept <= {identity(dataset.directory / name) for name in dataset.index.file.tolist()}
    assert contents(tmp_path / "killed") == contents(tmp_path / "whole")


@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_conversion_with_one_line(tmp_path):
    file = write_recording(tmp_path / "made.json", train=60, seconds=0.15)
    words = ["convert", f"--source=made:{file}", "--shard_episodes=5", f"--output={tmp_path / 'out'}"]
    process = start("-c", WITH_MADE, *words)
    work, deadline = tmp_path / "out" / NAME / "1.0.0.converting", time.monotonic() + 150
    while not list((work / "convert").glob("*.json")) and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    children = psutil.Process(process.pid).children(recursive=True)
    workers = [child for child in children if "gato_jax.runtime.beam.worker" in child.cmdline()]
    workers[0].kill()
    complaint = finish(process).complaint()
    assert complaint.startswith("gato convert: a worker process was killed or crashed, perhaps because the memory was")
    log = Path(complaint.rpartition(" are in ")[2].removesuffix("."))
    assert "Worker subprocess exited with return code" in log.read_text()
    assert not psutil.wait_procs(children, timeout=60)[1]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--output={tmp}/out"], "--source is missing"),
        (["--source=made:{file}"], "--output is missing"),
        (["--source=made:{file}", "--output={tmp}/out", "--splits="], "--splits is missing"),
        (["--source=mode:{file}", "--output={tmp}/out"], "unknown kind 'mode'; did you mean 'made'?"),
        (["--source=made:{file}", "--output={tmp}/out", "--splits=train,train"], "expected one or more, each once"),
        (["--source=made:{file}", "--output={tmp}/out", "--fields={tmp}/none"], "none: cannot be read as fields"),
        (
            ["--source=made:{file}", "--output={tmp}/out", "--expert_share=80"],
            "expected a share of the expert's return",
        ),
        (["--source=made:{file}", "--output={tmp}/out", "--max_rejected=-1"], "max_rejected"),
        (["--source=made:{file}", "--output={tmp}/out", "--max_rejected=10"], "max_rejected"),
        (["--source=made:{file}", "--output={tmp}/out", "--file_format=csv"], "one of <array_record|tfrecord>"),
        (["--source=made:{file}", "--output={tmp}/out", "--beam.runer=Flink"], "Apache Beam has no option runer"),
        (["--source=made:{file}", "--output={tmp}/out", "--beam.runner=Flonk"], "Unexpected pipeline runner: Flonk"),
        (["--source=made:{file}", "--output={tmp}/out", "--beam.runner=DataflowRunner"], "Apache Beam: "),
        (["--source=made:{file}", "--output={file}/out"], "cannot be written"),
        (["--source=hdf5:{tmp}/none/a.hdf5", "--output={tmp}/out"], "{tmp}/none/a.hdf5 does not exist, but {tmp} does"),
        (["--source=made:{file}", "--output={tmp}/out", "--sucess_only"], "success_only"),
    ],
)
def test_what_cannot_be_is_one_line(words, said, tmp_path):
    file = write_recording(tmp_path / "made.json")
    words = [word.replace("{tmp}", str(tmp_path)).replace("{file}", str(file)) for word in words]
    complaint = gato("convert", *words).complaint()
    assert said.replace("{tmp}", str(tmp_path)) in complaint and list(tmp_path.iterdir()) == [file]


def test_a_conversion_says_where_it_read_from(tmp_path, monkeypatch):
    write_recording(tmp_path / "made.json", train=6)
    monkeypatch.chdir(tmp_path)
    assert gato("convert", "--source=made:made.json", "--output=one", *IN_THIS_PROCESS).status == 0
    assert gato("convert", f"--source=recorded:one/{NAME}/1.0.0", "--output=two", *IN_THIS_PROCESS).status == 0
    first, second = read_conversions(tmp_path / "two" / NAME / "1.0.0")
    assert (first.folder, second.folder) == tuple(str(tmp_path / name / NAME / "1.0.0") for name in ("two", "one"))
    assert not first.missing and not second.missing
