"""Random tasks with any mix of modalities and their random episodes, as pure functions of a seed."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Modality, TaskSpec, Text
from gato_jax.episodes.keys import nest
from tests.tokenization.made_tasks import episode_of

# As keys of one tree "a-b" comes behind everything in "a"; as strings it comes before "a/b".
KEYS = ("a", "B", "ab", "a-b", "camera", "camera 2", "z_1", "é", "_", "10", "9")
WORDS = (
    "go",
    "to",
    "the",
    "red",
    "ball",
    "pick",
    "up",
    "Hello,",
    "world!",
    "\n",
    "  ",
    "3.14",
    "naïve",
    "日本",
    "🍁",
    "\t",
)


@dataclasses.dataclass(frozen=True)
class RandomTask:
    """A task whose `observation` and `action` keep the nested structure that its spec flattens."""

    spec: TaskSpec
    observation: dict[str, Any]
    action: dict[str, Any]
    episode: Episode


@functools.cache
def random_task(seed: int) -> RandomTask:
    rng = np.random.default_rng(seed)
    observation = random_tree(rng, _random_observation, least=0)
    action = random_tree(rng, _random_action, least=int(not observation))
    spec = TaskSpec(suite="random", task=str(seed), observation=observation, action=action)
    if not observation and not any(isinstance(m, Text) or m.size for m in spec.action.values()):
        spec = dataclasses.replace(spec, action={**spec.action, "at least one token": Discrete(n=2)})
        action = nest(spec.action)
    return RandomTask(spec, observation, action, _random_episode(spec, rng))


def random_tree(rng: np.random.Generator, leaf, *, least: int, depth: int = 0) -> dict[str, Any]:
    keys = rng.choice(KEYS, size=rng.integers(least, 4 if depth == 0 else 3), replace=False).tolist()
    return {
        key: random_tree(rng, leaf, least=1, depth=depth + 1) if depth < 2 and rng.random() < 0.25 else leaf(rng)
        for key in keys
    }


def _random_shape(rng: np.random.Generator) -> tuple[int, ...]:
    if rng.random() < 0.05:
        return (2, 0)
    return tuple(rng.integers(1, 4, size=rng.integers(0, 3)).tolist())


def _random_observation(rng: np.random.Generator) -> Modality:
    match rng.integers(4):
        case 0:
            fit = str(rng.choice(["resize", "pad", "crop"]))
            if fit == "resize":
                height, width = (16 * rng.integers(1, 4, size=2)).tolist()
            else:
                height, width = rng.integers(16, 50, size=2).tolist()
            return Image(height=height, width=width, fit=fit)
        case 1:
            return Text()
        case 2:
            return Discrete(n=int(rng.choice([1, 2, 11, 1024])), shape=_random_shape(rng))
    return Continuous(shape=_random_shape(rng))


def _random_action(rng: np.random.Generator) -> Modality:
    match rng.integers(3):
        case 0:
            return Text()
        case 1:
            return Discrete(n=int(rng.choice([1, 2, 18, 1024])), shape=_random_shape(rng))
    shape = _random_shape(rng)
    low = rng.uniform(-9, 2, size=shape if rng.random() < 0.5 else ())
    high = low + rng.uniform(0.01, 9, size=np.shape(low))
    limits = [tuple(limit.ravel().tolist()) if np.ndim(limit) else float(limit) for limit in (low, high)]
    return Continuous(shape=shape, low=limits[0], high=limits[1])


def _random_episode(spec: TaskSpec, rng: np.random.Generator) -> Episode:
    steps, final = int(rng.integers(1, 6)), bool(rng.random() < 0.3)
    sides = ({key: _draw(m, rng, steps) for key, m in side.items()} for side in (spec.observation, spec.action))
    return episode_of(spec, *sides, final_observation=final)


def _draw(modality: Modality, rng: np.random.Generator, steps: int) -> np.ndarray:
    match modality:
        case Text():
            texts = [" ".join(rng.choice(WORDS, size=rng.integers(0, 9))) for _ in range(steps)]
            return np.array(texts if rng.random() < 0.5 else texts[:1] * steps, object)
        case Image():
            return rng.integers(256, size=(steps, *modality.shape), dtype=np.uint8)
        case Discrete():
            dtype = rng.choice(["int8", "uint8", "int32", "uint64"]) if modality.n <= 128 else "int64"
            return rng.integers(modality.n, size=(steps, *modality.shape)).astype(dtype)
        case Continuous():
            shape, dtype = (steps, *modality.shape), rng.choice(["float16", "float32", "float64"])
            low, high = (limit.reshape(modality.shape) for limit in modality.limits)
            if np.isfinite(low).all() and np.isfinite(high).all():
                return (low + rng.uniform(-0.1, 1.1, shape) * (high - low)).astype(dtype)  # some beyond the limits
            values = rng.normal(size=shape) * 10.0 ** rng.integers(-6, 5, size=shape)
            return np.where(rng.random(shape) < 0.1, 0, np.clip(values, -6e4, 6e4)).astype(dtype)
