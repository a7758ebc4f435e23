"""Records experts: one Episode for each seed.

With noise, what is executed differs from what is recorded as the action: the recorded action is the expert's own at
the state where the noise led, so that an imitator also learns how to come back (arXiv 1703.09327).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import dm_env
import numpy as np

from gato_jax.environments import Environment, load, package_versions
from gato_jax.episodes import Episode, Provenance, TaskSpec, Text
from gato_jax.experts.base import Action, Expert, ExpertFailure
from gato_jax.experts.registry import expert as find_expert


def record(
    task: str, seeds: Iterable[int], *, noise: float | None = None, successes_only: bool = False
) -> Iterator[Episode]:
    """Yields the expert's episode for each seed, with T + 1 steps of which the last holds only the final observation.

    Args:
      task: its name.
      seeds: of the environment; for data that agents learn from, out of RECORDING_SEEDS.
      noise: on the executed actions, see `Expert.disturb`; None takes the expert's `default_noise`.
      successes_only: skip the seeds at which the expert does not succeed. It also skips those at which it gives up.

    Raises:
      UnknownTaskError, NoExpertError: no such task, or none with an expert.
      ExpertFailure: the expert gave up, and `successes_only` is off.
    """
    environment, expert = load(task), find_expert(task)
    noise = expert.default_noise if noise is None else noise
    provenance = _provenance(environment, expert, noise)
    for seed in seeds:
        try:
            episode = record_episode(environment, expert, seed, noise=noise, provenance=provenance)
        except ExpertFailure:
            if not successes_only:
                raise
            continue
        if not successes_only or episode.success is not False:
            yield episode


def record_episode(
    environment: Environment, expert: Expert, seed: int, *, noise: float, provenance: Provenance
) -> Episode:
    """One episode of `record`."""
    generator = np.random.default_rng([seed, 0x6E6F6973])
    environment.seed(seed)
    timestep = environment.reset()
    expert.reset(environment, seed)
    steps, labels = [timestep], []
    while not timestep.last():
        label = expert.act(environment, timestep)
        executed = expert.disturb(environment, label, noise, generator) if noise else label
        timestep = environment.step(executed)
        expert.acted(executed)
        steps.append(timestep)
        labels.append(label)
    return _episode(environment, steps, labels, provenance, seed)


def _episode(
    environment: Environment, steps: list[dm_env.TimeStep], labels: list[Action], provenance: Provenance, seed: int
) -> Episode:
    """dm_env has reward and discount with the observation they led to; RLDS with the action that led there."""
    spec, length = environment.task_spec, len(steps)
    blank = {key: np.zeros_like(value) for key, value in labels[-1].items()}
    actions = [*labels, blank]
    flags = np.zeros((3, length), bool)
    flags[0, 0] = flags[1, -1] = True
    flags[2, -1] = steps[-1].discount == 0
    return Episode(
        task=spec.name,
        observation={key: _stack([step.observation[key] for step in steps], spec, key) for key in spec.observation},
        action={key: np.stack([action[key] for action in actions]) for key in spec.action},
        reward=np.array([*(step.reward for step in steps[1:]), 0.0], np.float32),
        discount=np.array([*(step.discount for step in steps[1:]), 0.0], np.float32),
        is_first=flags[0],
        is_last=flags[1],
        is_terminal=flags[2],
        provenance=provenance,
        final_observation=True,
        success=environment.success,
        seed=seed,
    )


def _stack(values: list, spec: TaskSpec, key: str) -> np.ndarray:
    return np.array(values, object) if isinstance(spec.observation[key], Text) else np.stack(values)


def _provenance(environment: Environment, expert: Expert, noise: float) -> Provenance:
    spec = environment.task_spec
    return Provenance(
        source=", ".join(package_versions(spec.name)),
        licence=expert.licence,
        kind="simulated",
        collector="gato_jax.experts.collect",
        equipment=spec.embodiment.robot if spec.embodiment else f"{spec.suite} emulator or simulator",
        agent=f"{expert.agent}; noise {noise:g} on executed actions" if noise else expert.agent,
    )
