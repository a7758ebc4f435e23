"""Recordings in a format for tests: a JSON file gives the episodes, their damage, and the time that reading takes."""

from __future__ import annotations

import dataclasses
import functools
import json
import time
from pathlib import Path

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Image, Provenance, TaskSpec, Text
from gato_jax.sources.conversion import Transform
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, RecordedEpisodes, Rejection, SourceError

SPEC = TaskSpec(
    suite="laboratory",
    task="StackCubes",
    observation={"camera": Image(height=8, width=8, channels=3), "joints": Continuous(shape=(3,))},
    action={"gripper": Discrete(n=2), "torque": Continuous(shape=(2,), low=-1.0, high=1.0)},
    control_rate_hz=10.0,
)
NAME = "laboratory__stack_cubes"
DAMAGE = {  # how an episode is damaged: what is settings of it
    "unreadable": "the checksum of its images differs",
    "vanished": "StackCubes.h5 has gone",
    "nan": "action 'torque' is not finite at step 1",
    "infinite": "reward is not finite at step 0",
    "shape": "observation 'joints': shape (4,) at each step, its spec says (3,)",
    "range": "action 'gripper': values from 0 to 2, its spec says [0, 2)",
    "keys": "it has action keys ['torque'], its spec ['gripper', 'torque']",
    "task": "it is of task 'laboratory/Other'; one dataset holds one task",
}


def write_recording(
    file: Path,
    *,
    train: int = 10,
    test: int = 0,
    damaged: dict[int, str] | None = None,
    lost: int = 0,
    seconds: float = 0.0,
    salt: int = 0,
) -> Path:
    """Write a recording: a JSON file that describes the episodes and their damage.

    Args:
      file: the file to write.
      train: number of training episodes.
      test: number of test episodes.
      damaged: {position in train: a key of DAMAGE}.
      lost: number of further training episodes that are found damaged on opening.
      seconds: time that reading an episode takes.
      salt: value that makes one recording differ from another.
    """
    settings = {"splits": {"train": train, "test": test}, "damaged": damaged or {}, "lost": lost, "salt": salt}
    file.write_text(json.dumps(settings | {"seconds": seconds}))
    return file


def open_made(path: str | Path, split: str = "train") -> EpisodeReader:
    """Open a split of a recording."""
    settings = json.loads(Path(path).read_text())
    count = settings["splits"].get(split, 0)
    damaged = {int(position): kind for position, kind in settings["damaged"].items()} if split == "train" else {}
    lost = range(settings["lost"] if split == "train" else 0)
    return RecordedEpisodes(
        spec=SPEC,
        split=split,
        addresses=range(count),
        lengths=np.array([length(position) for position in range(count)], np.int64),
        fingerprint=f"{split}-{count}-{settings['salt']}",
        read=functools.partial(_read, damaged, settings["seconds"], settings["salt"] + (split == "test") * 1000),
        rejected=tuple(
            Rejection(f"StackCubes.h5, demo_{count + number}", "its header is cut short") for number in lost
        ),
    )


def length(position: int) -> int:
    return 3 + position % 4


def made_episode(position: int, salt: int = 0) -> Episode:
    """Return the episode at a position.

    Its return is its position, except that episode 7 is identical to episode 6. Every third episode failed.
    """
    if position == 7:
        return made_episode(6, salt)
    random, steps = np.random.default_rng((salt, position)), length(position)
    return Episode(
        task=SPEC.name,
        observation={
            "camera": random.integers(0, 256, (steps, 8, 8, 3)).astype(np.uint8),
            "joints": random.normal(size=(steps, 3)).astype(np.float32),
        },
        action={
            "gripper": random.integers(0, 2, steps),
            "torque": random.uniform(-1, 1, (steps, 2)).astype(np.float32),
        },
        reward=np.where(np.arange(steps) == steps - 1, np.float32(position), np.float32(0)),
        discount=np.ones(steps, np.float32),
        is_first=np.arange(steps) == 0,
        is_last=np.arange(steps) == steps - 1,
        is_terminal=np.zeros(steps, bool),
        provenance=Provenance(source="laboratory", licence="CC-BY-4.0", kind="real"),
        success=position % 3 != 0,
    )


def _read(damaged: dict[int, str], seconds: float, salt: int, position: int) -> Episode:
    time.sleep(seconds)
    episode = made_episode(position, salt)
    match damaged.get(position):
        case "unreadable":
            raise EpisodeRejected(f"StackCubes.h5, demo_{position}", DAMAGE["unreadable"])
        case "vanished":
            raise SourceError(DAMAGE["vanished"])
        case "nan":
            return _with(episode, "action", "torque", np.array([[0, 0], [0, np.nan], *[[0, 0]] * (len(episode) - 2)]))
        case "infinite":
            return dataclasses.replace(episode, reward=np.full(len(episode), np.inf, np.float32))
        case "shape":
            return _with(episode, "observation", "joints", np.zeros((len(episode), 4), np.float32))
        case "range":
            return _with(episode, "action", "gripper", np.minimum(np.arange(len(episode)), 2))
        case "keys":
            return dataclasses.replace(episode, action={"torque": episode.action["torque"]})
        case "task":
            return dataclasses.replace(episode, task="laboratory/Other")
    return episode


def _with(episode: Episode, side: str, key: str, values: np.ndarray) -> Episode:
    return dataclasses.replace(episode, **{side: {**getattr(episode, side), key: values}})


def instructed(word: str = "stack") -> Transform:
    """Return a transform that adds an instruction to every episode."""
    spec = dataclasses.replace(SPEC, observation={**SPEC.observation, "instruction": Text()})
    return Transform(apply=functools.partial(_instruct, word), spec=spec, fingerprint=word)


def _instruct(word: str, position: int, episode: Episode) -> Episode:
    text = np.array([f"{word} {position}"] * len(episode), dtype=object)
    return _with(episode, "observation", "instruction", text)
