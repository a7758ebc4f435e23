"""Plays an agent in many environments at once, one compiled `act` for all of them at each step."""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from gato_jax.environments import Environment, load
from gato_jax.environments.base import Observation
from gato_jax.episodes import Continuous
from gato_jax.policy import Agent, Policy


@dataclasses.dataclass(frozen=True, kw_only=True)
class Rollout:
    """One episode of the agent.

    Attributes:
      score: in the task's own metric.
      actions: (T, A) float32, or int32 where the action is one discrete value.
      rewards: (T,) float32.
      action_names: for people, see `Environment.action_names`.
      frames: (T, height, width, 3) uint8, of the scene before each action; None unless asked for.
    """

    task: str
    seed: int
    score: float
    episode_return: float
    success: bool | None
    actions: np.ndarray
    rewards: np.ndarray
    action_names: tuple[str, ...]
    frames: np.ndarray | None = None


@dataclasses.dataclass
class _Seat:
    """One environment of the pool, and the episode that is being played in it."""

    environment: Environment
    observation: Observation = dataclasses.field(default_factory=dict)
    rewards: list[float] = dataclasses.field(default_factory=list)
    actions: list[np.ndarray] = dataclasses.field(default_factory=list)
    frames: list[np.ndarray] | None = None

    def start(self, seed: int, *, film: bool):
        self.rewards, self.actions, self.frames = [], [], [] if film else None
        self.environment.seed(seed)
        self.observation = self.environment.reset().observation

    def step(self, action: dict[str, np.ndarray]) -> bool:
        """Acts; True when the episode is over."""
        if self.frames is not None:
            self.frames.append(self.environment.render())
        timestep = self.environment.step(action)
        self.observation = timestep.observation
        self.rewards.append(float(timestep.reward))
        self.actions.append(np.concatenate([np.ravel(action[key]) for key in sorted(action)]))
        return timestep.last()

    def rollout(self, seed: int) -> Rollout:
        spec, episode_return = self.environment.task_spec, float(np.sum(self.rewards))
        continuous = any(isinstance(modality, Continuous) for modality in spec.action.values())
        return Rollout(
            task=spec.name,
            seed=seed,
            score=self.environment.score(episode_return),
            episode_return=episode_return,
            success=self.environment.success,
            actions=np.stack(self.actions).astype(np.float32 if continuous else np.int32),
            rewards=np.array(self.rewards, np.float32),
            action_names=self.environment.action_names,
            frames=None if self.frames is None else np.stack(self.frames),
        )


def play_episodes(
    agent: Agent, task: str, seeds: Sequence[int], *, environments: int = 10, temperature: float = 1.0, film: int = 0
) -> list[Rollout]:
    """One episode for each seed, in the order of the seeds; frames are kept of the first `film` of them.

    The result does not depend on `environments`, how many are played side by side.
    """
    seats = [_Seat(load(task)) for _ in range(min(environments, len(seeds)))]
    agent.require_task(seats[0].environment.task_spec)
    policy = Policy(agent, task, len(seats), temperature=temperature)
    waiting, playing, done = list(seeds), {}, {}

    def seat_next(index: int):
        seed = waiting.pop(0)
        seats[index].start(seed, film=seed in list(seeds)[:film])
        policy.reset(index, seed)
        playing[index] = seed

    for index in range(len(seats)):
        seat_next(index)
    with tqdm(total=len(seeds), desc=f"evaluate {task}", unit="episode") as progress:
        while playing:
            actions = policy.act([seat.observation for seat in seats])  # an idle seat repeats its last observation
            for index in list(playing):
                if seats[index].step(actions[index]):
                    seed = playing.pop(index)
                    done[seed] = seats[index].rollout(seed)
                    progress.update()
                    if waiting:
                        seat_next(index)
    return [done[seed] for seed in seeds]


def save_rollout(rollout: Rollout, directory: pathlib.Path):
    """One filmed episode for the report."""
    if rollout.frames is None:
        raise ValueError(f"{rollout.task}, seed {rollout.seed}: no frames were kept; play it with film=1 or more")
    directory.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(
        directory / f"{rollout.task.replace('/', '__')}.npz",
        frames=rollout.frames,
        actions=rollout.actions,
        action_names=np.array(rollout.action_names),
        rewards=rollout.rewards,
        seed=rollout.seed,
        score=rollout.score,
    )
