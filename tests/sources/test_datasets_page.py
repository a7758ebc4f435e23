"""Test that docs/datasets.md agrees with the tables in the code."""

import importlib.util
from pathlib import Path

_SPEC = importlib.util.spec_from_file_location("list_datasets", Path(__file__).parents[2] / "docs/list_datasets.py")
list_datasets = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(list_datasets)


def test_the_page_of_datasets_is_not_stale():
    assert list_datasets.PAGE.read_text() == list_datasets.page(), "run python docs/list_datasets.py"
