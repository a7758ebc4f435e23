"""The 1-nearest-neighbour baseline: an actor that plays the action of the most similar recorded observation.

It learns nothing, so an agent that does not beat it has at best memorised its data. It stands for the baseline Retrieve
and Play of REGENT (arXiv 2412.04759), with normalised observations in place of the features of a pretrained network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.episodes import Discrete, Episode, EpisodeDataset, Image, TaskSpec, Text
from gato_jax.episodes.differences import require_same
from gato_jax.rollouts.actor import Action, Actor, ActorFailure

MAX_STEPS = 50_000  # recorded steps of a task that are searched
IMAGE_SIDE = 16  # pixels
_CHUNK = 4096  # recorded steps whose distances are computed at once, so that the differences stay in the cache


class NearestNeighbourError(ValueError):
    """A task without recordings that can be retrieved; the message names the task and the remedy."""


class NearestNeighbourActor(Actor):
    """An actor that retrieves the recorded step whose observation is closest to the present one, and takes its action.

    It has no memory: the action follows from the observation alone, and of equally close steps the first is taken. See
    `Retrieval` for the distance. The recordings of a task are read when it is first played.

    Args:
      datasets: {task: its recordings}.
    """

    def __init__(self, datasets: Mapping[str, EpisodeDataset]):
        self._datasets, self._retrievals = dict(datasets), dict[str, Retrieval]()
        self._tasks: list[str] = []

    def reset(self, environments: Sequence[Environment], seeds: Sequence[int | None]) -> None:
        """Begin new episodes in some of the slots.

        Raises:
          NearestNeighbourError: A task has no recordings, or they have another TaskSpec.
        """
        self._tasks = [environment.task_spec.name for environment in environments]
        for environment, seed in zip(environments, seeds, strict=True):
            if seed is not None and environment.task_spec.name not in self._retrievals:
                self.require_task(environment.task_spec)
                dataset = self._datasets[environment.task_spec.name]
                self._retrievals[environment.task_spec.name] = Retrieval(dataset.spec, _first_steps(dataset))

    def require_task(self, spec: TaskSpec):
        """Check that the actor can play a task.

        Raises:
          NearestNeighbourError: The task has no recordings, or they have another TaskSpec.
        """
        if spec.name not in self._datasets:
            known = ", ".join(self._datasets) or "none"
            raise NearestNeighbourError(
                f"there are no recordings of {spec.name}, only of {known}. Record the task with `gato collect`."
            )
        require_same(
            spec.to_json(), self._datasets[spec.name].spec.to_json(), holder="the recordings",
            problem=f"{spec.name}: the recordings have another TaskSpec", error=NearestNeighbourError,
            remedy="Record the task again.",
        )  # fmt: skip

    def act(self, timesteps: Sequence[dm_env.TimeStep | None]) -> list[Action | ActorFailure]:
        return [
            {} if timestep is None else self._retrievals[self._tasks[slot]].action(timestep.observation)
            for slot, timestep in enumerate(timesteps)
        ]

    def describe(self, task: str) -> str:
        return f"1-nearest neighbour among recordings {self._datasets[task].fingerprint}"


class Retrieval:
    """The recorded steps of one task, searched by their observations.

    Each observation key has equal weight. The distance of a key is the mean over its elements of: the squared
    difference in standard deviations of the recordings, for continuous values; whether they differ, for discrete ones.
    Images are reduced to at most 16x16 pixels by averaging, and have one standard deviation for all pixels. The
    distance of two texts is the share of their words that only one of them has. Elements that are constant in the
    recordings do not count.

    Args:
      spec: The task.
      episodes: Its recordings, at least one.
    """

    def __init__(self, spec: TaskSpec, episodes: Sequence[Episode]):
        steps = [episode.acting_steps for episode in episodes]
        self._keys: list[_Key] = []
        for key, modality in sorted(spec.observation.items()):
            kind = _Words if isinstance(modality, Text) else _Symbols if isinstance(modality, Discrete) else _Numbers
            values = [episode.observation[key][:count] for episode, count in zip(episodes, steps, strict=True)]
            self._keys.append(kind(key, np.concatenate(values), image=isinstance(modality, Image)))
        self._actions = {
            key: np.concatenate([episode.action[key][:count] for episode, count in zip(episodes, steps, strict=True)])
            for key in spec.action
        }

    def action(self, observation: Mapping[str, Any]) -> Action:
        """Return the action of the closest recorded step."""
        index = int(np.argmin(self.distances(observation)))
        return {key: np.array(values[index]) for key, values in self._actions.items()}

    def distances(self, observation: Mapping[str, Any]) -> np.ndarray:
        """Return the distance of an observation to each recorded step, float32 (N,)."""
        return np.add.reduce([key.distances(observation[key.name]) for key in self._keys])


class _Key:
    """The recorded values of one observation key, with N steps."""

    def __init__(self, name: str, values: np.ndarray, *, image: bool):
        self.name = name

    def distances(self, value: Any) -> np.ndarray:
        raise NotImplementedError


class _Numbers(_Key):
    """Continuous values or images, as standardised features float32 (N, F)."""

    def __init__(self, name: str, values: np.ndarray, *, image: bool):
        super().__init__(name, values, image=image)
        self._image = image
        features = self._features(values)
        self._mean, deviations = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        scale = np.full_like(deviations, np.sqrt(np.mean(deviations**2))) if image else deviations
        self._varies = deviations > 1e-6 * np.maximum(1.0, np.abs(self._mean))
        self._scale = np.where(self._varies, scale, 1.0)
        self._recorded = self._standardise(features)

    def distances(self, value: Any) -> np.ndarray:
        wanted = self._standardise(self._features(np.asarray(value)[None]))
        found = np.zeros(len(self._recorded), np.float32)
        for start in range(0, len(found), _CHUNK):
            difference = self._recorded[start : start + _CHUNK] - wanted
            # Not a matrix product, whose rounding may depend on the number of cores.
            found[start : start + _CHUNK] = np.einsum("nf,nf->n", difference, difference)  # step, feature
        return found / max(1, wanted.shape[1])

    def _features(self, values: np.ndarray) -> np.ndarray:
        values = downsample(values, IMAGE_SIDE) if self._image else values
        return values.reshape(len(values), -1).astype(np.float32)

    def _standardise(self, features: np.ndarray) -> np.ndarray:
        return ((features - self._mean) / self._scale)[:, self._varies].astype(np.float32)


class _Symbols(_Key):
    """Discrete values, (N, F)."""

    def __init__(self, name: str, values: np.ndarray, *, image: bool):
        super().__init__(name, values, image=image)
        recorded = values.reshape(len(values), -1)
        self._varies = (recorded != recorded[0]).any(axis=0)
        self._recorded = np.ascontiguousarray(recorded[:, self._varies])

    def distances(self, value: Any) -> np.ndarray:
        wanted = np.asarray(value).reshape(-1)[self._varies]
        count = np.count_nonzero(self._recorded != wanted, axis=1)
        return (count / max(1, len(wanted))).astype(np.float32)


class _Words(_Key):
    """Texts, as the set of words of each different one and its index at each step."""

    def __init__(self, name: str, values: np.ndarray, *, image: bool):
        super().__init__(name, values, image=image)
        different, self._index = np.unique(values.astype(str), return_inverse=True)
        self._different = [set(text.lower().split()) for text in different.tolist()]

    def distances(self, value: Any) -> np.ndarray:
        words = set(str(value).lower().split())
        shares = [len(words ^ other) / max(1, len(words | other)) for other in self._different]
        return np.array(shares, np.float32)[self._index]


def downsample(images: np.ndarray, side: int) -> np.ndarray:
    """Return the means of the tiles of images (N, height, width, C), float32 (N, at most side, at most side, C)."""
    reduced = images.astype(np.float32)
    for axis in (1, 2):
        length = images.shape[axis]
        edges = np.linspace(0, length, min(side, length) + 1).astype(int)
        sums = np.add.reduceat(reduced, edges[:-1], axis=axis)
        counts = np.diff(edges).astype(np.float32)
        reduced = sums / np.expand_dims(counts, tuple(other for other in range(images.ndim) if other != axis))
    return reduced


def _first_steps(dataset: EpisodeDataset) -> list[Episode]:
    """Return the first episodes of a dataset, as many as have at most MAX_STEPS steps together, but at least one."""
    count = max(1, int(np.searchsorted(np.cumsum(dataset.acting_lengths), MAX_STEPS, side="right")))
    return [dataset[position] for position in range(min(count, len(dataset)))]
