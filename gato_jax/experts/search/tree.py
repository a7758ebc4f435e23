"""The tree of the states that a search has emulated, which is kept from one decision to the next."""

from __future__ import annotations

import dataclasses
import random
from typing import Any

import numpy as np

from gato_jax.experts.search.emulator import Emulator


@dataclasses.dataclass(slots=True, eq=False)
class Node:
    """A state, with the result of the decision that led to it, and the nodes that decisions led to from it.

    Attributes:
      state: State of the emulator; None if the node is closed.
      features: Numbers of its features.
      fingerprint: Bytes by which duplicates are found.
      depth: Number of decisions since the first root of the tree.
      reward: Sum of the rewards of the decision.
      lost_life: The decision cost a life.
      closed: No decision follows: the episode is over, a life was lost, or the node is a duplicate.
      original: An earlier sibling with the same fingerprint, whose future is that of this node, too; None without one.
      children: {action: node}.
      value: Discounted sum of the best rewards from this decision on, as of the last call of `Tree.evaluate`.
      search: Number of the last search that visited the node.
      open: In that search, the actions whose nodes are worth another visit.
    """

    state: Any
    features: np.ndarray
    fingerprint: bytes
    depth: int = 0
    reward: float = 0.0
    lost_life: bool = False
    closed: bool = False
    original: Node | None = None
    children: dict[int, Node] = dataclasses.field(default_factory=dict)
    value: float = 0.0
    search: int = 0
    open: list[int] = dataclasses.field(default_factory=list)


class Tree:
    """The states that were emulated from a root.

    Args:
      emulator: The emulator, which nothing else may use as long as the tree grows.
      generator: Source of the random numbers of the emulator and of the search.
      state: State of the root.

    Attributes:
      root: State in which an action is to be chosen.
      frames: Number of frames that were emulated since the tree began.
    """

    def __init__(self, emulator: Emulator, generator: random.Random, state: Any):
        self.emulator, self.generator, self.frames = emulator, generator, 0
        emulator.restore(state)
        self.root = self._emulated = self._node(state)

    def moved(self, state: Any) -> bool:
        """Make the child of the root that has this state the new root, and return True; return False if none has."""
        for child in self.root.children.values():
            if not child.closed and self.emulator.same(child.state, state):
                self.root = child
                return True
        return False

    def child(self, node: Node, action: int) -> Node:
        """Return the node to which an action leads; emulate it if it is new."""
        if action not in node.children:
            node.children[action] = self._emulate(node, action)
        return node.children[action]

    def _emulate(self, node: Node, action: int) -> Node:
        if self._emulated is not node:
            self.emulator.restore(node.state)
        transition = self.emulator.step(action, self.generator)
        self.frames += transition.frames
        child = self._emulated = self._node(None)
        child.depth, child.reward, child.lost_life = node.depth + 1, transition.reward, transition.lost_life
        siblings = node.children.values()
        child.original = next((one for one in siblings if one.fingerprint == child.fingerprint), None)
        child.closed = transition.terminated or transition.lost_life or child.original is not None
        if not child.closed:
            child.state = self.emulator.clone()
        return child

    def _node(self, state: Any) -> Node:
        return Node(state, self.emulator.features(), self.emulator.fingerprint())

    def nodes(self) -> list[Node]:
        """Return the root and all nodes below it, in the order of their depth."""
        found = [self.root]
        for node in found:  # which grows
            found.extend(node.children.values())
        return found

    def evaluate(self, *, discount: float, life_cost: float, loss_factor: float, survival_reward: float = 0.0) -> None:
        """Set the value of all nodes.

        Args:
          discount: Factor on the rewards of each further decision.
          life_cost: Cost of a lost life.
          loss_factor: Factor on negative rewards.
          survival_reward: Reward of each decision that costs no life.
        """
        for node in reversed(self.nodes()):  # all nodes of a depth after those below them, so originals have a future
            reward = node.reward if node.reward >= 0 else loss_factor * node.reward
            reward += -life_cost if node.lost_life else survival_reward
            children = (node.original or node).children
            future = max((child.value for child in children.values()), default=0.0)
            node.value = reward + discount * future
