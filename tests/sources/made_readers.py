"""Reader of random episodes of any task, for tests."""

import dataclasses
from collections.abc import Callable

import numpy as np

from gato_jax.episodes import Episode, TaskSpec
from tests.tokenization.made_tasks import random_episode


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class MadeEpisodes:
    """Reader of `count` random episodes of 3 to 7 steps.

    Attributes:
      texts: instructions, assigned to the episodes in turn.
      change: maps number and episode to the episode to return.
    """

    spec: TaskSpec
    count: int
    seed: int = 0
    texts: tuple[str, ...] = ()
    change: Callable[[int, Episode], Episode] = lambda number, episode: episode
    split: str = "train"

    @property
    def lengths(self):
        return np.arange(self.count) % 5 + 3

    @property
    def fingerprint(self):
        return f"made{self.seed}-{self.count}"

    def __len__(self):
        return self.count

    def __getitem__(self, position):
        number = range(self.count)[position]
        episode = random_episode(self.spec, self.seed + number, int(self.lengths[number]))
        if self.texts:
            texts = np.full(len(episode), self.texts[number % len(self.texts)], object)
            episode = dataclasses.replace(episode, observation={**episode.observation, "instruction": texts})
        return self.change(number, episode)

    def __iter__(self):
        return (self[position] for position in range(self.count))
