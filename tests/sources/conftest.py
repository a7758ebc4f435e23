"""Fixtures: episodes of a simulated arm, LeRobot datasets, a made-up recording, and conversion without Beam."""

import numpy as np
import pytest

from gato_jax.episodes import Episode, Provenance
from tests.sources.made_lerobot import unpack
from tests.sources.made_reader import open_made, write_recording

PROVENANCE = Provenance(
    source="gymnasium-robotics 1.4.2", licence="MIT", kind="simulated", equipment="simulated Fetch", agent="scripted"
)


def make_arm_episode(seed: int = 0, acting_steps: int = 6, provenance: Provenance = PROVENANCE) -> Episode:
    random, steps = np.random.default_rng(seed), acting_steps + 1
    last = np.arange(steps) == acting_steps
    y, x = np.mgrid[0:64, 0:64]
    smooth = np.stack([(y * 3 + t * 5 + seed) % 256 for t in range(steps)])[..., None] + np.stack([x, 2 * x, 0 * x], -1)
    front = (smooth % 200).astype(np.uint8)
    return Episode(
        task="fetch/pick_and_place",
        observation={
            "image_0": front,
            "image_1": front[:, ::-1],
            "instruction": np.array(["put the red block in the bowl"] * steps, dtype=object),
            "state": random.normal(size=(steps, 7)).astype(np.float32),
        },
        action={"action": random.uniform(-0.05, 0.05, (steps, 7)).astype(np.float32)},
        reward=(np.arange(steps) == acting_steps - 1).astype(np.float32),
        discount=np.ones(steps, np.float32),
        is_first=np.arange(steps) == 0,
        is_last=last,
        is_terminal=last,
        provenance=provenance,
        final_observation=True,
        success=True,
        seed=seed,
    )


@pytest.fixture(scope="session")
def arm_episode():
    """Return a function (seed, acting_steps, provenance) -> Episode with a final observation."""
    return make_arm_episode


@pytest.fixture
def v2(tmp_path):
    """Return the folder of a LeRobot dataset of v2.1 with videos."""
    return unpack("v2_1_video", tmp_path)


@pytest.fixture
def v3(tmp_path):
    """Return the folder of a LeRobot dataset of v3.0 with videos."""
    return unpack("v3_0_video", tmp_path)


@pytest.fixture
def made(tmp_path):
    """Return a reader of ten training episodes, three in a shard."""
    return open_made(write_recording(tmp_path / "made.json", train=10))


@pytest.fixture
def without_beam(monkeypatch):
    """Process shards in a loop instead of with Beam, which needs a third of a second for each run."""

    def run_here(work, kind, shards, options):
        for shard in shards:
            work(shard)

    monkeypatch.setattr("gato_jax.sources.conversion.pipeline.run_on_beam", run_here)
