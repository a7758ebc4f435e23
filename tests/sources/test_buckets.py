"""Datasets and recordings in buckets are those of the folder that was uploaded."""

import numpy as np
import pytest

from gato_jax.batching import DatasetConfig, open_mixture
from gato_jax.episodes import list_datasets, open_dataset, write_dataset
from gato_jax.reports.provenance import describe_data
from gato_jax.runtime.paths import BucketError
from gato_jax.sources import SourceError, open_source, write_bridge_dataset
from gato_jax.sources.conversion import convert
from tests.runtime.made_bucket import upload_folder
from tests.sources.made_hdf5 import robomimic
from tests.tokenization.made_tasks import CONTROL, random_episode
from tests.training.made_run import TOKENIZATION


def require_equal(there, here):
    assert there.lengths.tolist() == here.lengths.tolist() and there.spec == here.spec
    for one, other in zip(there, here, strict=True):
        for key, values in other.observation.items():
            np.testing.assert_array_equal(one.observation[key], values)


@pytest.fixture
def recorded(tmp_path):
    """The folder of a dataset of our own."""
    episodes = [random_episode(CONTROL, seed, steps=6) for seed in range(2)]
    return write_dataset(tmp_path / "data", CONTROL, {"train": episodes})


def test_our_own_dataset(recorded, bucket, own_cache):
    root = upload_folder(recorded.parents[1], f"{bucket}/data")
    (address,) = list_datasets(root).values()
    dataset = open_dataset(address)
    assert str(address) == f"{bucket}/data/{recorded.parent.name}/1.0.0"
    assert dataset.fingerprint == open_dataset(recorded).fingerprint and not (own_cache / "buckets").exists()
    require_equal(dataset, open_dataset(recorded))


def test_a_mixture(recorded, bucket, own_cache):
    shared = {"tokenization": TOKENIZATION, "batch_size": 2, "context": 24, "seed": 0}
    places = recorded, upload_folder(recorded, f"{bucket}/set")
    mixtures = [
        open_mixture({"a": DatasetConfig(source=f"recorded:{place}", weight=1.0)}, **shared) for place in places
    ]
    assert len({mixture.records["a"].fingerprint for mixture in mixtures}) == 1
    (described,) = describe_data(mixtures[1])
    assert described["conversions"] == [] and not (own_cache / "buckets").exists()  # the records were in the cache


@pytest.mark.parametrize("kind", ["hdf5", "rlds"])
def test_recordings_of_others(kind, tmp_path, bucket, own_cache, arm_episode):
    if kind == "hdf5":
        (tmp_path / "lift").mkdir()
        here = robomimic(tmp_path / "lift" / "low_dim_v141.hdf5").parent
    else:
        here = write_bridge_dataset(tmp_path, {"train": [arm_episode(0)]}, control_rate_hz=25.0)
    address = "/".join([bucket, *here.relative_to(tmp_path).parts])
    upload_folder(here, address)
    require_equal(open_source(f"{kind}:{address}"), open_source(f"{kind}:{here}"))
    with pytest.raises(SourceError, match="gs://made/none"):
        open_source(f"{kind}:{bucket}/none")


def test_datasets_are_written_to_a_disk(recorded, bucket):
    remedy = (
        "--output is gs://made/data, expected a path on a disk. Write to a disk, then copy the folder to the bucket"
    )
    with pytest.raises(BucketError, match=remedy):
        write_dataset(f"{bucket}/data", CONTROL, {"train": []})
    with pytest.raises(BucketError, match=remedy):
        convert([open_dataset(recorded)], f"{bucket}/data")
