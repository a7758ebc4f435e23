"""A recorder that collects the timesteps of one episode and returns them as an `Episode`."""

from __future__ import annotations

import json

import dm_env
import numpy as np

from gato_jax.environments import Environment
from gato_jax.episodes import Episode, Provenance, TaskSpec, Text
from gato_jax.rollouts.actor import Action


class Recorder:
    """The timesteps, actions and, if wanted, frames of one episode while it is played.

    Args:
      environment: The environment, whose episode has just been started.
      first: The first timestep of the episode.
      render: True to keep a frame of the scene before each action.
    """

    def __init__(self, environment: Environment, first: dm_env.TimeStep, *, render: bool):
        self._environment = environment
        self._timesteps, self._actions = [first], []
        self._frames: list[np.ndarray] | None = [] if render else None

    @property
    def newest(self) -> dm_env.TimeStep:
        """The last timestep so far, on which to act unless it ends the episode."""
        return self._timesteps[-1]

    def step(self, executed: Action, recorded: Action) -> None:
        """Execute one action in the environment, and record `recorded`, often the same, as the action of this step."""
        if self._frames is not None:
            self._frames.append(self._environment.render())
        self._timesteps.append(self._environment.step(executed))
        self._actions.append(recorded)

    def episode(self, *, seed: int, agent: str) -> Episode:
        """Return the finished episode of T actions as T + 1 steps, of which the last holds only an observation.

        A dm_env timestep holds the reward and discount of the action before it, an RLDS step those of its own action,
        so both move by one step. The last step has a zero action, zero reward and zero discount.

        Args:
          seed: Seed of the episode.
          agent: Who chose the actions, for the provenance.
        """
        spec, timesteps, length = self._environment.task_spec, self._timesteps, len(self._timesteps)
        rewards = [float(timestep.reward) for timestep in timesteps[1:]]
        placeholder = {key: np.zeros_like(value) for key, value in self._actions[-1].items()}
        actions = [*self._actions, placeholder]
        is_first, is_last, is_terminal = np.zeros((3, length), bool)
        is_first[0] = is_last[-1] = True
        is_terminal[-1] = timesteps[-1].discount == 0
        return Episode(
            task=spec.name,
            observation={
                key: _stack([one.observation[key] for one in timesteps], spec, key) for key in spec.observation
            },
            action={key: np.stack([action[key] for action in actions]) for key in spec.action},
            reward=np.array([*rewards, 0.0], np.float32),
            discount=np.array([*(timestep.discount for timestep in timesteps[1:]), 0.0], np.float32),
            is_first=is_first,
            is_last=is_last,
            is_terminal=is_terminal,
            provenance=_provenance(self._environment, agent),
            final_observation=True,
            success=self._environment.success,
            seed=seed,
            score=self._environment.score(float(np.sum(rewards))),
            frames=None if self._frames is None else np.stack(self._frames),
        )


def _stack(values: list, spec: TaskSpec, key: str) -> np.ndarray:
    return np.array(values, object) if isinstance(spec.observation[key], Text) else np.stack(values)


def _provenance(environment: Environment, agent: str) -> Provenance:
    spec = environment.task_spec
    equipment = spec.embodiment.robot if spec.embodiment else f"{spec.suite} emulator or simulator"
    if environment.renderer:
        equipment += f"; images by {environment.renderer}"
    return Provenance(
        source=environment.source,
        licence=environment.licence,
        kind="simulated",
        collector="gato_jax.rollouts",
        equipment=equipment,
        variation=json.dumps(environment.variation) if environment.variation else "",
        agent=agent,
    )
