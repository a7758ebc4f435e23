"""Many mutations of HDF5, MCAP, rosbag2 and Minari. Two files of tests let two workers run them at the same time."""

import pytest

from tests.sources.mutations.worker import MODULES, SEEDS, list_faults, run_apart

MODULES_HERE = ("hdf5_formats", "hdf5_several_formats", "mcap_formats", "rosbag2_formats", "minari_formats")


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if module in MODULES_HERE])
def test_many_mutations_give_exact_values_or_named_reasons(name: str):
    assert list_faults(name, run_apart(name, SEEDS)) == []
