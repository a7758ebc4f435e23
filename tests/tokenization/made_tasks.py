"""Synthetic tasks of every kind with random episodes, for tests of several packages."""

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, Provenance, TaskSpec, Text

SENTENCES = ("go to the red ball", "pick up the blue key", "Hello!", "a maple leaf", "What is your name?", "yes")

CONTROL = TaskSpec(
    suite="made", task="control",
    observation={"velocity": Continuous(shape=(2,)), "position": Continuous(shape=(3,))},
    action={"action": Continuous(shape=(2,), low=(-1.0, -2.0), high=(1.0, 2.0))},
)  # fmt: skip
GRID = TaskSpec(
    suite="made", task="grid",
    observation={"mission": Text(), "direction": Discrete(n=4), "image": Discrete(n=11, shape=(2, 2, 3))},
    action={"action": Discrete(n=7)},
    metric="success",
)  # fmt: skip
GAME = TaskSpec(
    suite="made", task="game", observation={"image": Image(height=80, width=64)}, action={"action": Discrete(n=18)}
)
ROBOT = TaskSpec(
    suite="made", task="robot",
    observation={
        "instruction": Text(),
        "camera/wrist": Image(height=32, width=16),
        "camera/front": Image(height=32, width=32),
        "joints": Continuous(shape=(3,)),
    },
    action={"gripper": Discrete(n=2), "arm": Continuous(shape=(3,), low=-0.5, high=0.5)},
    metric="success",
)  # fmt: skip
CAPTION = TaskSpec(
    suite="made", task="caption", observation={"image": Image(height=32, width=32)}, action={"caption": Text()}
)
DIALOGUE = TaskSpec(suite="made", task="dialogue", observation={}, action={"text": Text()})

ALL = (CONTROL, GRID, GAME, ROBOT, CAPTION, DIALOGUE)


def draw(modality: Modality, rng: np.random.Generator, steps: int) -> np.ndarray:
    """Return random values for `steps` timesteps."""
    match modality:
        case Text():
            return np.array([SENTENCES[i] for i in rng.integers(len(SENTENCES), size=steps)], object)
        case Image():
            return rng.integers(256, size=(steps, *modality.shape), dtype=np.uint8)
        case Discrete():
            return rng.integers(modality.n, size=(steps, *modality.shape), dtype=np.int32)
        case Continuous():
            low, high = (
                np.reshape(limit, np.shape(limit) and modality.shape) for limit in (modality.low, modality.high)
            )
            shape = (steps, *modality.shape)
            if np.isfinite(low).all() and np.isfinite(high).all():
                return rng.uniform(low, high, shape).astype(np.float32)
            return rng.normal(scale=3, size=shape).astype(np.float32)


def episode_of(spec: TaskSpec, observation: dict, action: dict, **fields) -> Episode:
    """Return an episode of these observations and actions, without rewards."""
    steps = len(next(iter({**observation, **action}.values())))
    at = np.arange(steps)
    return Episode(
        task=spec.name, observation=observation, action=action,
        reward=np.zeros(steps, np.float32), discount=np.ones(steps, np.float32),
        is_first=at == 0, is_last=at == steps - 1, is_terminal=at == steps - 1,
        provenance=Provenance(source="made for tests", licence="Apache-2.0", kind="synthetic"),
        **fields,
    )  # fmt: skip


def random_episode(spec: TaskSpec, seed: int, steps: int, **fields) -> Episode:
    """Return an episode of random observations and random actions."""
    rng = np.random.default_rng(seed)
    observation = {key: draw(modality, rng, steps) for key, modality in spec.observation.items()}
    action = {key: draw(modality, rng, steps) for key, modality in spec.action.items()}
    return episode_of(spec, observation, action, **fields)
