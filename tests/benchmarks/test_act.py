"""The benchmark of `act`: its cases at a tiny size, its ratios, and the file of results."""

import json

import pytest

from benchmarks import act
from benchmarks.act_cases import CPU, GPU, STEPS, tiny
from benchmarks.measuring_process import MeasurementError


class Made:
    """A process with given seconds of each step, one list for each round."""

    def __init__(self, name, *rounds):
        self.name, self.rounds, self.ready = name, list(rounds), {"ready": True}

    def measure(self):
        if not self.rounds:
            raise MeasurementError(f"{self.name}: the process ended: gone")
        return {"seconds": self.rounds.pop(0)}


@pytest.fixture
def record(tmp_path):
    return act.Record(act.arguments([f"--output={tmp_path / 'results.json'}"]))


def test_ratios_are_of_rounds_and_the_fastest_pytorch(record):
    ours = Made("79m control, batch 1, rope", [1.0, 1.0, 4.0], [3.0, 3.0])
    other = Made("79m control, batch 16, rope", [1.0], [1.0])
    eager, compiled = (
        Made(f"PyTorch 79m control, batch 1, {kind}", *rounds)
        for kind, rounds in (("eager", [[9.0], [6.0]]), ("compiled", [[2.0], [7.0]]))
    )
    for _ in range(2):
        for process in (ours, other, eager, compiled):
            record.add(process, process.measure())
    assert record.ratios()[ours.name] == 2.0  # the median of 2 / 1 and 6 / 3
    assert other.name not in record.ratios()
    found = json.loads(record._given.output.read_text())["cases"][ours.name]["milliseconds"]
    assert (found["median"], found["steps"]) == (3000.0, 5) and found["p99"] > 3900


def test_failures_are_in_the_file(record):
    record.fail("gone", "gone: the process ended")
    assert json.loads(record._given.output.read_text())["failed"] == {"gone": "gone: the process ended"}


def test_names_tell_all_cases_apart():
    for cases in (CPU, GPU):
        assert len({case.name for case in cases}) == len(cases)
    assert {(case.step, case.batch) for case in GPU} == {(step, batch) for step in STEPS for batch in (1, 16, 64)}
    assert {case.method for case in GPU} == {"while", "unrolled", "one_pass"}


@pytest.mark.parametrize("number", [0, 3], ids=["while", "one_pass"])
def test_a_tiny_case_is_measured(number):
    from benchmarks.act_worker import prepare

    measure, facts = prepare(tiny(GPU[number]), steps=3)
    found = measure()
    assert len(found["seconds"]) == 3 and min(found["seconds"]) > 0 and found["bandwidth_limit_seconds"] > 0
    assert facts["runs"] == (7 if number == 0 else 1) and facts["cache_bytes"] > 0


@pytest.mark.slow
def test_all_cases_run_at_a_tiny_size(tmp_path):
    output = tmp_path / "results.json"
    assert act.main(["--tiny", "--steps=2", "--rounds=2", "--limit=500", f"--output={output}"]) == 0
    found = json.loads(output.read_text())
    assert not found["failed"] and set(found["cases"]) == {tiny(case).name for case in GPU}
