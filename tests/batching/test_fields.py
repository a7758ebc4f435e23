"""The table of fields: what it says of today's, and that one line adds another everywhere."""

import os
import pathlib
import shutil
import subprocess
import sys

import numpy as np
import pytest

from gato_jax.batching.batch import HOST_ONLY, Batch, batch_specs
from gato_jax.tokenization.fields import PER_PATCH, PER_TOKEN, PerToken

ROOT = pathlib.Path(__file__).parents[2]
NEW = 'PerToken(dtype=np.int16, columns={"novelty": "how new a token is"}, default=7, padding=-2)'


def test_one_line_adds_a_field_to_sequences_batches_records_parquet_devices_and_plans(tmp_path):
    shutil.copytree(ROOT / "gato_jax", tmp_path / "gato_jax", ignore=shutil.ignore_patterns("__pycache__"))
    for folder in ("tests", "third_party"):
        (tmp_path / folder).symlink_to(ROOT / folder)
    table = tmp_path / "gato_jax/tokenization/fields.py"
    text, line = table.read_text(), "    patches: Annotated["
    assert text.count(line) == 1
    table.write_text(text.replace(line, f"    novelty: Annotated[Array, {NEW}]\n{line}"))
    (tmp_path / "work").mkdir()
    command = [sys.executable, "-m", "tests.batching.one_more_field", tmp_path / "work"]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "XLA_FLAGS": ""}
    run = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_todays_fields():
    assert list(PER_TOKEN) == [
        "token_ids", "target_ids", "loss_mask", "local_position", "segment_ids", "prompt_mask", "action_range",
        "episode_ids",
    ]  # fmt: skip
    assert list(PER_PATCH) == ["patches", "patch_slots", "patch_intervals"]
    assert set(HOST_ONLY) == {"prompt_mask", "action_range", "episode_ids"}
    specs = batch_specs(rows=6, context=10, pools=2, patch=4, patch_budget=5)
    assert specs.keys() == Batch.__dataclass_fields__.keys()
    assert specs["action_range"] == ((6, 10, 2), np.int32, 0) and specs["episode_ids"] == ((6, 10), np.int32, -1)
    assert specs["patches"] == ((2, 5, 4, 4, 3), np.uint8, 0) and specs["patch_slots"] == ((2, 5), np.int32, 30)


def test_a_field_that_cannot_be_stored_or_restored_is_refused():
    with pytest.raises(ValueError, match=r"columns are \['one'\], expected 2 for shape \(2,\). Name one for each"):
        PerToken(dtype=np.int32, shape=(2,), columns={"one": "only"})
    with pytest.raises(ValueError, match="default is None, expected a value. Give one, or name columns to store"):
        PerToken(dtype=np.int32)
