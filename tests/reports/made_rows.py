"""Rows of made-up tasks, for the tests of the inspector."""

from __future__ import annotations

from pathlib import Path

from gato_jax.batching import Mixture, write_records
from gato_jax.episodes import Episode, TaskSpec
from gato_jax.reports.inspection import InspectedToken
from gato_jax.tokenization import Tokenization
from tests.tokenization.made_tasks import ALL, random_episode


def made_episodes(spec: TaskSpec, steps: int) -> list[Episode]:
    return [random_episode(spec, seed, steps) for seed in range(4)]


def made_mixture(folder: Path, *, context: int, steps: int = 6, **sampling) -> Mixture:
    """A batch holds each of the made-up tasks once, in their order, each with four episodes of `steps` steps."""
    records = {}
    for spec in ALL:
        episodes = made_episodes(spec, steps)
        folder_of_task, fingerprint = folder / spec.task, f"data-{spec.task}"
        records[spec.name] = write_records(folder_of_task, spec, episodes, fingerprint, Tokenization())
    return Mixture.uniform(records, batch_size=len(ALL), context=context, seed=0, **sampling)


def made_token(**fields) -> InspectedToken:
    """The first token of a row of text, but for `fields`."""
    token = {
        "position": 0, "id": 7, "target_id": 7, "kind": "text", "side": "action", "key": "text", "element": 0,
        "value": "a", "local_position": 0, "segment": 1, "in_loss": True, "prompt": False, "valid": (0, 32000),
        "episode": 0, "step": 0,
    }  # fmt: skip
    return InspectedToken(**{**token, **fields})
