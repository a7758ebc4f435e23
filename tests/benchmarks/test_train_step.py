"""The benchmark of the training step: its processes, their limits, the file of results, each case at a tiny size."""

import argparse
import json
import os
import subprocess
import sys
import textwrap

import pytest

from benchmarks import train_step
from benchmarks.measuring_process import MeasurementError, MeasuringProcess, prepare_all
from benchmarks.train_step_cases import CPU, GPU, tiny

PATIENT = 120.0  # seconds, for a loaded machine


def process(code: str) -> MeasuringProcess:
    return MeasuringProcess("made", [sys.executable, "-c", textwrap.dedent(code)])


def test_a_process_waits_until_it_is_told():
    made = process(
        """
        import sys
        print("a library says something")
        print('{"ready": true}', flush=True)
        for number, line in enumerate(sys.stdin):
            print('{"number": %d}' % number, flush=True)
        """
    )
    prepare_all([made], parallel=2, seconds=PATIENT)
    assert made.ready == {"ready": True} and made.failure is None
    assert [made.measure(PATIENT), made.measure(PATIENT)] == [{"number": 0}, {"number": 1}]
    made.stop()


def test_a_process_that_ends_or_takes_too_long_is_a_failure_with_its_reason():
    hanging, ending = process("import time; time.sleep(600)"), process("raise SystemExit('out of memory')")
    hanging.prepare(0.01)
    ending.prepare(PATIENT)
    assert hanging.failure == "not prepared within 0 s" and ending.failure == "the process ended: out of memory"
    with pytest.raises(MeasurementError, match="made: the process ended: out of memory"):
        ending.measure(PATIENT)
    late = process("print('{}', flush=True); import time; time.sleep(600)")
    late.prepare(PATIENT)
    with pytest.raises(MeasurementError, match="made: not measured within 0 s"):
        late.measure(0.01)


class Made:
    """A process with given speeds, one for each round."""

    def __init__(self, name, *rates, model="79m"):
        self.name, self.rates, self.stopped = name, list(rates), False
        self.ready = {"ready": True, "model": model, "flops_per_token": 10}

    def measure(self, seconds):
        assert seconds <= 45
        if not self.rates:
            raise MeasurementError(f"{self.name}: the process ended: gone")
        return {"tokens_per_second": self.rates.pop(0), "seconds_per_step": 0.5}

    def stop(self):
        self.stopped = True


@pytest.fixture
def given(tmp_path, monkeypatch) -> argparse.Namespace:
    monkeypatch.setattr(train_step, "matrix_product", lambda: 1000.0)
    return train_step.arguments(["--rounds=2", "--limit=45", f"--output={tmp_path / 'results.json'}"])


def test_ratios_are_of_rounds_and_the_fastest_pytorch(given):
    ours, eager = Made("79m rope", 30.0, 90.0), Made("PyTorch 79m, eager", 10.0, 90.0)
    compiled = Made("PyTorch 79m, compiled", 20.0, 30.0)
    record = train_step.Record(given)
    train_step._measure([ours, eager, compiled], record, given, started=train_step.time.monotonic())
    assert record.ratios() == {"79m rope": 1.25}  # the median of 30/20 and 90/90
    assert ours.stopped and eager.stopped
    found = json.loads(given.output.read_text())["cases"]["79m rope"]
    assert (found["tokens_per_second"], found["share_of_peak"], len(found["rounds"])) == (90.0, 0.9, 2)


def test_the_file_is_written_after_each_measurement_and_failures_are_in_it(given):
    record = train_step.Record(given)
    record.add(Made("first"), {"tokens_per_second": 1.0, "seconds_per_step": 1.0})
    assert set(json.loads(given.output.read_text())["cases"]) == {"first"}
    train_step._measure([Made("gone"), Made("next", 5.0, 6.0)], record, given, started=train_step.time.monotonic())
    found = json.loads(given.output.read_text())
    assert found["failed"] == {"gone": "gone: the process ended: gone"} and set(found["cases"]) == {"first", "next"}


def test_a_case_over_its_limit_is_noted_and_the_next_one_is_measured(given):
    slow, fast = process("print('{}', flush=True); import time; time.sleep(600)"), Made("next", 5.0, 6.0)
    slow.name = "slow"
    slow.prepare(PATIENT)
    given.limit = 0.5
    record = train_step.Record(given)
    train_step._measure([slow, fast], record, given, started=train_step.time.monotonic())
    found = json.loads(given.output.read_text())
    assert found["failed"] == {"slow": "slow: not measured within 0 s"}
    assert len(found["cases"]["next"]["rounds"]) == given.rounds and "slow" not in found["cases"]


def test_a_spent_budget_leaves_the_rest_out(given):
    record = train_step.Record(given)
    train_step._measure([Made("late", 1.0)], record, given, started=train_step.time.monotonic() - 2 * given.budget)
    assert "the budget of 86400 s is spent" in record.failed["late"]


def test_names_tell_all_cases_apart_and_the_largest_is_last():
    for cases in (CPU, GPU):
        assert len({case.name for case in cases}) == len(cases)
    assert "blockwise, text" in GPU[-1].name and GPU[-1].compute.get("remat") is None
    assert {case.model for case in map(tiny, GPU)} == {"tiny"}


def test_a_tiny_case_is_measured_from_the_same_state_each_time():
    from benchmarks.train_step_worker import prepare

    measure, facts = prepare(tiny(next(case for case in GPU if case.rows == "gato")), steps=2)
    first, second = measure(), measure()
    assert first["loss_last"] < first["loss_first"] == second["loss_first"]
    assert first["tokens_per_second"] > 0 and facts["patches"] > 0 and facts["compile_seconds"] > 0
    assert 0.2 < facts["targets"] / (2 * 64) < 0.4


def test_limits_of_a_device():
    from benchmarks.device_limits import prepare_device

    found = prepare_device(scale=32)()
    assert set(found["look_up_gradient_milliseconds"]) == {
        f"{table} {dtype}" for table in ("token", "local position") for dtype in ("bfloat16", "float32")
    }
    assert found["product_flops_per_second"] > 0 and found["copy_bytes_per_second"] > 0


@pytest.mark.slow
def test_all_cases_of_a_gpu_run_at_a_tiny_size(tmp_path):
    output, profile = tmp_path / "results.json", tmp_path / "profile"
    command = [sys.executable, "-m", "benchmarks.train_step", "--device=gpu", "--tiny", "--steps=1", "--limit=300"]
    command += [f"--output={output}", f"--profile={profile}", "--prepare_limit=500", "--budget=3000"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_cpu_use_fusion_emitters=false"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(output.read_text())
    assert not found["failed"]
    assert set(found["cases"]) == {train_step.DEVICE, *(case.name for case in map(tiny, GPU))}
    command = [sys.executable, "-m", "benchmarks.read_profile", str(profile)]
    read = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert read.returncode == 0 and read.stdout.count("ms in all") == len(found["cases"]) - 1, read.stderr
