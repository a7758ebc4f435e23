"""A few mutations of one format of each reader: each gives the exact values, or a named rejection or omission."""

from pathlib import Path

import pytest

from tests.sources.mutations.worker import list_faults, run_here

# Their mutations take milliseconds, and other tests import their libraries as well.
_FORMATS = (
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


@pytest.mark.parametrize("name", _FORMATS)
def test_a_few_mutations_give_exact_values_or_named_reasons(name: str, tmp_path: Path):
    assert list_faults(name, run_here(name, range(2), tmp_path)) == []
