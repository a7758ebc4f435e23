"""The jobs of an experiment: done once, gone on with, ended together, with their memory watched."""

import json
import pathlib
import signal
import sys
import time

import psutil
import pytest

from experiments import stages as stages_module
from experiments.stages import Job, JobError, Stages
from tests.integration.conftest import finish, start


def job(name: str, code: str) -> Job:
    return Job(name, [sys.executable, "-c", code])


def note(file: pathlib.Path, line: str, then: str = "pass") -> str:
    return f"import os, sys, time; open({str(file)!r}, 'a').write(f'{line}\\n'); {then}"


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def wait_for(condition, seconds: float = 20):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def pids_in(file: pathlib.Path) -> list[int]:
    return [int(line) for line in file.read_text().splitlines()] if file.exists() else []


def test_jobs_run_once_and_their_seconds_are_kept(tmp_path):
    ran = tmp_path / "ran"
    jobs = [job(name, note(ran, name)) for name in ("a", "b", "c")]
    Stages(tmp_path).run("first", jobs, side_by_side=2)
    assert sorted(ran.read_text().split()) == ["a", "b", "c"]
    again = Stages(tmp_path)
    assert sorted(again.done) == ["a", "b", "c"] and again.seconds["first"] > 0
    again.run("first", jobs)
    assert sorted(ran.read_text().split()) == ["a", "b", "c"] and again.seconds == Stages(tmp_path).seconds


def test_a_failed_job_says_its_last_line_and_the_next_run_goes_on(tmp_path):
    ran, stages = tmp_path / "ran", Stages(tmp_path)
    fails = "print('the cause', flush=True); print(file=sys.stderr); sys.exit(2)"
    broken = job("record b/c", note(ran, "b", fails))
    with pytest.raises(JobError, match="record b/c stopped with status 2: the cause .log: .*record_b__c.txt") as error:
        stages.run("record", [job("a", note(ran, "a")), broken, job("d", note(ran, "d"))])
    assert error.value.status == 2 and ran.read_text().split() == ["a", "b"]
    mended = [job("a", note(ran, "a")), job("record b/c", note(ran, "b")), job("d", note(ran, "d"))]
    Stages(tmp_path).run("record", mended)
    assert ran.read_text().split() == ["a", "b", "b", "d"]


def test_a_job_that_ended_in_order_before_it_was_done_is_run_again(tmp_path):
    made = tmp_path / "made"
    ends = Job("make", [sys.executable, "-c", "print('ended by SIGTERM')"], is_done=made.exists)
    with pytest.raises(JobError, match="make stopped with status 0: ended by SIGTERM"):
        Stages(tmp_path).run("make", [ends, job("other", "pass")])
    Stages(tmp_path).run(
        "make", [Job("make", [sys.executable, "-c", f"open({str(made)!r}, 'w')"], is_done=made.exists)]
    )
    assert "make" in Stages(tmp_path).done


def test_what_runs_beside_a_failed_job_is_ended_even_if_it_will_not(tmp_path, monkeypatch):
    monkeypatch.setattr(stages_module, "_GRACE_SECONDS", 0.3)
    pids = tmp_path / "pids"
    deaf = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + note(
        pids, "{os.getpid()}", "time.sleep(600)"
    )
    fails = f"import os, time\nwhile not os.path.exists({str(pids)!r}): time.sleep(0.02)\nraise SystemExit(1)"
    with pytest.raises(JobError):
        Stages(tmp_path).run("both", [job("deaf", deaf), job("fails", fails)], side_by_side=2)
    assert len(pids_in(pids)) == 1 and all(map(gone, pids_in(pids)))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda number: number.name)
@pytest.mark.parametrize("count", [1, 2], ids=["one job", "two jobs"])
def test_a_stage_that_is_ended_ends_its_jobs(tmp_path, number, count):
    pids = tmp_path / "pids"
    sleep = [sys.executable, "-c", note(pids, "{os.getpid()}", "time.sleep(600)")]
    code = (
        "import pathlib; from experiments.stages import Job, Stages; "
        f"jobs = [Job(str(i), {sleep!r}) for i in range({count})]; "
        f"Stages(pathlib.Path({str(tmp_path)!r})).run('sleep', jobs, side_by_side=2)"
    )
    process = start("-c", code)
    wait_for(lambda: len(pids_in(pids)) == count)
    process.send_signal(number)
    assert finish(process, 20).status != 0
    wait_for(lambda: all(map(gone, pids_in(pids))))


def test_sigterm_is_itself_again_after_a_stage(tmp_path):
    before = signal.getsignal(signal.SIGTERM)
    Stages(tmp_path).run("one", [job("a", "pass")])
    assert signal.getsignal(signal.SIGTERM) == before


def test_the_peak_memory_grows_with_what_a_job_holds(tmp_path):
    # In a process of its own: what this one holds changes with the tests before.
    peaks = []
    for held in (0, 300 << 20):
        hold = [sys.executable, "-c", f"import time; held = b'x' * {held}; time.sleep(1)"]
        code = (
            "import pathlib; from experiments.stages import Job, Stages; "
            f"stages = Stages(pathlib.Path({str(tmp_path / str(held))!r})); stages.run('hold', [Job('hold', {hold!r})])"
        )
        assert finish(start("-c", code)).status == 0
        peaks.append(Stages(tmp_path / str(held)).peak_memory_bytes)
    assert 0 < peaks[0] and 290 << 20 < peaks[1] - peaks[0] < 310 << 20


def test_progress_is_written_whole_or_not_at_all(tmp_path):
    Stages(tmp_path).run("one", [job("a", "pass")])
    (tmp_path / "progress.json.partial").write_text('{"done": ["a", ')  # killed as it wrote
    assert Stages(tmp_path).done == ["a"]
    assert json.loads((tmp_path / "progress.json").read_text())["done"] == ["a"]
