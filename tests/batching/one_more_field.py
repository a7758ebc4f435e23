"""Check that one more per-token field goes where the others go; test_fields.py declares it and runs this.

python -m tests.batching.one_more_field FOLDER
"""

import math
import pathlib
import sys

import numpy as np

from gato_jax.batching import Budgets, Loader, Mixture, parquet, read_rows, write_records
from gato_jax.batching.chunks import pack, unpack
from gato_jax.planning import make_plan, parse_topology
from gato_jax.tokenization import Contract, Layout, Tokenization
from gato_jax.training.program import batch_shapes
from gato_jax.training.sharding import make_mesh, place_batch
from tests.planning.made_plan import config
from tests.tokenization.made_tasks import CONTROL, random_episode

DEFAULT, PADDING = 7, -2


def check_storage(folder: pathlib.Path, row):
    """The field's values come back from a record and from Parquet, under its own column."""
    np.testing.assert_array_equal(unpack(pack(row)).novelty, row.novelty)
    metadata = {"contract": Contract.of(Tokenization(), [CONTROL]).to_json(), "patch_shape": [0, 0, 0]}
    written = parquet.write_rows(folder, "train", [parquet.Row(0, 0, 3, row)], metadata)
    (read,) = read_rows(written.files[0].parent)
    np.testing.assert_array_equal(read.novelty, row.novelty)
    assert read.novelty.dtype == unpack(pack(row)).novelty.dtype == np.int16
    assert parquet.COLUMNS["novelty"] == "how new a token is"


def check_batches(folder: pathlib.Path, episodes):
    """A batch that is loaded from records has the field, on the devices too, and the planner counts its bytes."""
    records = write_records(folder / "records", CONTROL, episodes, "one", Tokenization())
    run, budgets = config(context=32), Budgets(patches=16, targets=256)
    sampling = {"window": 1, "pieces": 1, "prompt_share": 0.0}
    mixture = Mixture.uniform({"one": records}, batch_size=run.batch_size, context=run.context, seed=0, **sampling)
    batch = next(Loader(mixture, steps=1, budgets=budgets))
    assert batch.novelty.shape == (8, 32) and batch.novelty.dtype == np.int16
    assert set(batch.novelty[batch.segment_ids > 0]) == {DEFAULT}
    assert set(batch.novelty[batch.segment_ids == 0]) == {PADDING}
    shapes, placed = batch_shapes(run, 1, budgets), place_batch(make_mesh(run.mesh), batch)
    assert shapes.novelty.shape == placed.novelty.shape and shapes.novelty.dtype == placed.novelty.dtype == np.int16
    assert shapes.action_range is placed.action_range is None
    planned = make_plan(run, parse_topology("h100:1")).plan.host.batch
    assert planned == sum(math.prod(array.shape) * array.dtype.itemsize for array in vars(batch).values())


def main(folder: pathlib.Path):
    episodes = [random_episode(CONTROL, seed, steps) for seed, steps in enumerate((3, 5))]
    row = Layout(CONTROL, Tokenization()).encode(episodes[0])
    assert row.novelty.dtype == np.int16 and set(row.novelty) == {DEFAULT}
    check_storage(folder, row.replace(novelty=np.arange(len(row), dtype=np.int16)))
    check_batches(folder, episodes)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]))
