"""Mutated recordings of every format: each gives the exact values, or a named rejection or omission."""

import os
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.sources.mutations.harness import Outcome
from tests.sources.mutations.worker import MODULES, run_apart, run_here

FEW = 2
MANY = int(os.environ.get("GATO_MUTATIONS", "1000"))
# One format of each reader, whose mutations take milliseconds and whose libraries other tests import as well.
FAST = (
    "aloha",
    "parquet_rows",
    "lerobot_v2_image",
    "mcap",
    "minari_arrow",
    "rlds_array_record",
    "documents",
    "webdataset",
    "vqa",
)


def _faults(name: str, outcomes: Iterable[tuple[int, Outcome]]) -> list[str]:
    return [f"{name}, seed {seed}: {one.done}: {one.fault}" for seed, one in outcomes if one.fault is not None]


@pytest.mark.parametrize("name", FAST)
def test_a_few_mutations_give_exact_values_or_named_reasons(name: str, tmp_path: Path):
    assert _faults(name, run_here(name, range(FEW), tmp_path)) == []


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", MODULES)
def test_many_mutations_give_exact_values_or_named_reasons(name: str):
    """In all, these are more than 10,000 mutations; the worker ends with neither a crash nor a hang."""
    assert _faults(name, run_apart(name, range(MANY))) == []
