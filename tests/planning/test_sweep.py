import pytest

from gato_jax.planning import Grid, PlanError, describe_sweep, fastest, make_plan, parse_topology, sweep
from tests.planning.made_plan import LARGE

H100 = parse_topology("h100:8")


@pytest.fixture(scope="module")
def rows():
    grid = Grid.around(LARGE, H100, batches=[512, 12], fsdps=[1, 4])
    assert len(grid) == 12
    return list(sweep(LARGE, H100, None, grid))


def test_each_point_is_a_plan(rows):
    assert [(row.batch, row.fsdp, row.remat) for row in rows[:4]] == [
        (512, 1, "none"), (512, 1, "dots"), (512, 1, "full"), (512, 4, "none"),
    ]  # fmt: skip
    plan = make_plan(LARGE, H100).plan
    assert rows[0].hbm_bytes_per_device == plan.hbm_bytes_per_device and rows[0].fits == plan.fits
    assert rows[0].collective_bytes == plan.collectives.bytes


def test_what_cannot_be_is_a_line_too(rows):
    assert all("batch_size is 12, expected a multiple of 8" in row.refused and not row.fits for row in rows[6:])


def test_remat_is_paid_for_and_spreading_saves_memory(rows):
    """Two gathers of params in 16 bits send what an all-reduce of float32 gradients sends beyond a reduce-scatter."""
    none, dots, full, spread = rows[:4]
    assert none.again == dots.again == 0 < full.again < 0.3
    assert dots.expected_tokens_per_second > full.expected_tokens_per_second
    assert spread.collective_bytes == pytest.approx(none.collective_bytes, rel=1e-6)
    assert spread.hbm_bytes_per_device < none.hbm_bytes_per_device


def test_the_pick_is_the_fastest_that_fits(rows):
    picked = fastest(rows)
    assert picked is not None and (picked.fsdp, picked.remat) == (4, "dots")  # each updates a quarter of the params
    assert fastest([row for row in rows if not row.fits]) is None
    table = describe_sweep(rows).splitlines()
    starred = [line for line in table if line.startswith("*")]
    assert len(starred) == 1 and "512     4 dots" in starred[0] and "yes" in starred[0]
    assert sum("not possible: batch_size is 12" in line for line in table) == 6


def test_a_grid_has_defaults():
    grid = Grid.around(LARGE, H100)
    assert (grid.batches, grid.fsdps, grid.remats) == ((512,), (1, 4, 8), ("none", "dots", "full"))


@pytest.mark.parametrize(
    "given, said",
    [
        ({"remats": ["some"]}, "--remats is some, expected some of none, dots, full"),
        ({"fsdps": [0]}, "--fsdps is 0, expected a positive number"),
        ({"batches": [-8]}, "--batches is -8, expected a positive number"),
    ],
)
def test_a_grid_that_is_none_is_refused(given, said):
    with pytest.raises(PlanError, match=said):
        Grid.around(LARGE, H100, **given)
