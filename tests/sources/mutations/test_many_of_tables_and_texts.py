"""Many mutations of LeRobot, Parquet, RLDS, texts and captioned images: the formats that the other file lacks."""

import pytest

from tests.sources.mutations.test_many_of_hdf5_and_rosbags import MODULES_HERE as MODULES_THERE
from tests.sources.mutations.worker import MODULES, SEEDS, list_faults, run_apart


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", [name for name, module in MODULES.items() if module not in MODULES_THERE])
def test_many_mutations_give_exact_values_or_named_reasons(name: str):
    assert list_faults(name, run_apart(name, SEEDS)) == []
