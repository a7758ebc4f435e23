"""A planner that searches an emulator from the live state before each decision, with its settings."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

from gato_jax.experts.search.emulator import Emulator
from gato_jax.experts.search.tree import Tree
from gato_jax.experts.search.width import Search, iw, rollout_iw

_SEARCHES: dict[str, Search] = {"iw": iw, "rollout_iw": rollout_iw}


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchSettings:
    """Settings of a planner.

    Attributes:
      search: The search, see `width`: `iw` or `rollout_iw`.
      frames: Number of frames to emulate for each decision.
      horizon: Number of decisions after which a path ends. Bytes that count time are new in every state, so that a
        path without an end would use up the frames.
      discount: Factor on the rewards of each further decision.
      life_cost: Cost of a lost life. The default exceeds what a search may gain in its horizon in almost all games.
      loss_factor: Factor on negative rewards.
      survival_reward: Reward of each decision that costs no life. Where no path has another reward, a small one makes
        the planner choose the path that was seen to survive longest, not any.
    """

    search: str = "rollout_iw"
    frames: int = 3000
    horizon: int = 15
    discount: float = 0.995
    life_cost: float = 50_000.0
    loss_factor: float = 1.0
    survival_reward: float = 0.0

    def __post_init__(self):
        if self.search not in _SEARCHES:
            raise ValueError(f"planner: search is {self.search!r}, expected one of {', '.join(_SEARCHES)}.")
        for name in ("frames", "horizon"):
            if getattr(self, name) < 1:
                raise ValueError(f"planner: {name} is {getattr(self, name)}, expected at least 1.")
        if not 0 < self.discount <= 1:
            raise ValueError(f"planner: discount is {self.discount}, expected a number above 0, up to 1.")

    def __str__(self) -> str:
        name = {"iw": "IW(1)", "rollout_iw": "Rollout-IW(1)"}[self.search]
        return f"{name}, {self.frames:,} frames a decision"


class SearchPlanner:
    """A chooser of actions that searches from each live state, and keeps the part of the tree that still applies.

    Args:
      emulator: The emulator to search in.
      settings: The search and the values of its outcomes.
      seed: Seed of the random numbers; the same states then lead to the same actions.

    Attributes:
      frames: Number of frames emulated so far.
      decisions: Number of decisions so far.
      kept: Number of decisions whose search began with the tree of the one before.
    """

    def __init__(self, emulator: Emulator, settings: SearchSettings, seed: int):
        self._emulator, self._settings, self._generator = emulator, settings, random.Random(seed)
        self._tree: Tree | None = None
        self.frames = self.decisions = self.kept = 0

    def choose(self, state: Any) -> int:
        """Return the action with the best value in a state; one of them at random if several have it."""
        if self._tree is not None and self._tree.moved(state):
            self.kept += 1
        else:
            self._tree = Tree(self._emulator, self._generator, state)
        tree, settings, before = self._tree, self._settings, self._tree.frames
        _SEARCHES[settings.search](tree, settings.frames, settings.horizon)
        self.decisions += 1
        self.frames += tree.frames - before
        tree.evaluate(
            discount=settings.discount,
            life_cost=settings.life_cost,
            loss_factor=settings.loss_factor,
            survival_reward=settings.survival_reward,
        )
        values = {action: child.value for action, child in sorted(tree.root.children.items())}
        best = max(values.values())
        return self._generator.choice([action for action, value in values.items() if value == best])
