"""A small emulator in plain Python: a player in a grid, with rewards, pits and actions that may slip."""

import random

import numpy as np

from gato_jax.experts.search import Emulator, Transition

MOVES = ((0, 1), (0, -1), (1, 0), (-1, 0), (0, 1), (0, 0))
RIGHT, LEFT, DOWN, UP, HOP, WAIT = range(6)  # a hop leads to the right, too
FRAMES = 4


class Grid(Emulator[tuple[int, int]]):
    """A grid whose state is (row, column); the features are the row and the column.

    Args:
      size: Rows and columns.
      rewards: {(row, column): reward of each decision that ends there}.
      pits: Places that cost a life.
      slip: Probability that a decision waits instead.
    """

    decision_steps = 1
    actions = 6

    def __init__(self, size=(9, 9), *, rewards=None, pits=(), slip=0.0):
        self.size, self.rewards, self.pits, self.slip = size, rewards or {}, pits, slip
        self.feature_count = sum(size)
        self.place = (0, 0)
        self.visits = []

    def read(self, live):
        return live

    def clone(self):
        return self.place

    def restore(self, state):
        self.place = state

    def step(self, action, generator: random.Random):
        slipped = generator.random() < self.slip
        move = (0, 0) if slipped else MOVES[action]
        self.place = tuple(
            min(max(at + by, 0), size - 1) for at, by, size in zip(self.place, move, self.size, strict=True)
        )
        self.visits.append(self.place)
        lost = self.place in self.pits
        return Transition(self.rewards.get(self.place, 0.0), FRAMES, lost_life=lost)

    def features(self):
        return np.array([self.place[0], self.size[0] + self.place[1]])

    def fingerprint(self):
        return bytes(self.place)

    def same(self, first, second):
        return first == second
