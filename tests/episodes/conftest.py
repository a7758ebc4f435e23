"""Episodes to write: any task, any length, from a seed."""

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, TaskSpec, Text

PROVENANCE = Provenance(
    source="tests 1.0", licence="MIT", kind="simulated", collector="pytest", equipment="none", agent="random"
)


def _values(random: np.random.Generator, modality: Modality, steps: int) -> np.ndarray:
    match modality:
        case Text():
            words = ["", "pick up the cube", "naïve 机器人 🤖", "line\nbreak\0null"]
            return np.array([words[i] for i in random.integers(0, len(words), steps)], dtype=object)
        case Image():
            return random.integers(0, 256, (steps, *modality.shape), dtype=np.uint8)
        case Discrete():
            return random.integers(0, modality.n, (steps, *modality.shape), dtype=np.int64)
        case Continuous():
            return random.normal(size=(steps, *modality.shape)).astype(np.float32)


def _episode(spec: TaskSpec, seed: int = 0, steps: int = 5, **fields) -> Episode:
    random = np.random.default_rng(seed)
    last = np.arange(steps) == steps - 1
    return Episode(
        task=spec.name,
        observation={key: _values(random, modality, steps) for key, modality in spec.observation.items()},
        action={key: _values(random, modality, steps) for key, modality in spec.action.items()},
        reward=random.normal(size=steps).astype(np.float32),
        discount=np.ones(steps, np.float32),
        is_first=np.arange(steps) == 0,
        is_last=last,
        is_terminal=last,
        **{"provenance": PROVENANCE, "seed": seed} | fields,
    )


@pytest.fixture(scope="session")
def make_episode():
    """A function (spec, seed, steps, **fields) -> Episode."""
    return _episode


@pytest.fixture(scope="session")
def spec() -> TaskSpec:
    """Every modality at once, with nested keys and a count of channels that PNG does not know."""
    return TaskSpec(
        suite="babyai",
        task="GoToRedBall-v0",
        observation={
            "camera/front": Image(height=8, width=12),
            "camera/stack": Image(height=6, width=6, channels=12),
            "depth": Image(height=5, width=7, channels=1),
            "mission": Text(),
            "state/joints": Continuous(shape=(2, 3)),
            "state/time": Continuous(shape=()),
            "cell": Discrete(n=9, shape=(4,)),
        },
        action={"button": Discrete(n=3), "torque": Continuous(shape=(2,), low=-1.0, high=1.0), "say": Text()},
        metric="success",
        control_rate_hz=5.0,
        instructions=("go to the red ball",),
    )
