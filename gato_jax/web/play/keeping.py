"""Folders of the episodes that each player keeps: one dataset each, so that none mixes two kinds of play."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping

from gato_jax.environments import RECORDING_SEEDS
from gato_jax.episodes import TaskSpec
from gato_jax.rollouts import KeptEpisodes, Player, Recording


def open_kept(root: pathlib.Path, spec: TaskSpec, players: Mapping[str, Player]) -> dict[str, KeptEpisodes]:
    """Return {name of a player: its kept episodes}, in datasets `ROOT/PLAYER/NAME/1.0.0`.

    Raises:
      StoreError: One of the folders holds other episodes.
      FolderInUseError: Another process keeps episodes there.
    """
    return {
        name: KeptEpisodes(
            Recording(
                root=root / name,
                spec=spec,
                actor=player.describe(spec.name),
                agent=player.digest,
                seeds=RECORDING_SEEDS,
            )
        )
        for name, player in players.items()
    }


def next_seed(kept: KeptEpisodes | None) -> int:
    """Return the seed after those of the kept episodes, 0 without any."""
    return max(kept.seeds, default=-1) + 1 if kept is not None else 0
