"""Width-based searches: a state is explored further only if it has a feature that the search has not seen before.

A search is a function that makes a tree grow until a number of frames is emulated, or no state is left to explore.
Nodes that a tree has kept from an earlier decision cost no frames.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

import numpy as np

from gato_jax.experts.search.tree import Node, Tree

_UNSEEN = np.iinfo(np.int32).max

Search = Callable[[Tree, int, int], None]


def iw(tree: Tree, frames: int, horizon: int) -> None:
    """Search breadth-first, and prune states without a new feature: IW(1) (Lipovetzky et al., IJCAI 2015).

    Args:
      tree: Tree to explore.
      frames: Number of frames to emulate; the last decision may exceed it.
      horizon: Number of decisions after which a path ends.
    """
    end, actions = tree.frames + frames, list(range(tree.emulator.actions))
    seen = np.zeros(tree.emulator.feature_count, bool)
    seen[tree.root.features] = True
    queue = deque([tree.root])
    while queue:
        node = queue.popleft()
        tree.generator.shuffle(actions)  # or the first ones would always find the new features
        for action in actions:
            if tree.frames >= end and action not in node.children:
                return
            child = tree.child(node, action)
            if not child.closed and not seen[child.features].all():
                seen[child.features] = True
                if child.depth - tree.root.depth < horizon:
                    queue.append(child)


def rollout_iw(tree: Tree, frames: int, horizon: int) -> None:
    """Search by random rollouts, which end at states without a new feature: Rollout-IW(1) (arXiv 1801.03354).

    A feature is new if no state had it at the same or a smaller depth. Unlike `iw`, the search sees distant states
    after a few rollouts.

    Args:
      tree: Tree to explore.
      frames: Number of frames to emulate; the last decision may exceed it.
      horizon: Number of decisions after which a path ends.
    """
    _Rollouts(tree, tree.frames + frames, horizon).run()


class _Rollouts:
    """One search by rollouts.

    Args:
      tree: Tree to explore.
      end: Number of frames of the tree at which the search ends.
      horizon: Number of decisions after which a path ends.
    """

    def __init__(self, tree: Tree, end: int, horizon: int):
        self._tree, self._end, self._horizon = tree, end, horizon
        self._search = tree.root.search + 1  # larger than that of any node below the root
        self._depth_of_feature = np.full(tree.emulator.feature_count, _UNSEEN, np.int32)

    def run(self) -> None:
        root = self._tree.root
        self._begin(root)
        self._depth_of_feature[root.features] = 0
        while root.open and self._tree.frames < self._end:
            self._rollout(root)

    def _rollout(self, node: Node) -> None:
        """Walk down open actions drawn at random until a node is not worth a visit, and close what this leaves done."""
        path = []
        while True:
            action = node.open[int(self._tree.generator.random() * len(node.open))]
            if self._tree.frames >= self._end and action not in node.children:
                return
            path.append((node, action))
            node = self._tree.child(node, action)
            if not self._is_worth_a_visit(node):
                break
        for parent, action in reversed(path):
            parent.open.remove(action)
            if parent.open:
                break

    def _is_worth_a_visit(self, node: Node) -> bool:
        """Return True if a feature of the node was not seen at a smaller depth; at the first visit, nor at its own."""
        depth = node.depth - self._tree.root.depth
        if node.closed or depth >= self._horizon:
            return False
        depths = self._depth_of_feature.take(node.features)
        if node.search == self._search:
            return bool(depths.max() >= depth)
        if depths.max() <= depth:
            return False
        self._begin(node)
        self._depth_of_feature[node.features] = np.minimum(depths, depth)
        return True

    def _begin(self, node: Node) -> None:
        node.search, node.open = self._search, list(range(self._tree.emulator.actions))
