"""Measurement of a task's reference scores: random play, the best of a bounded set of constant actions, the expert.

All scores are in the task's own metric and are played on REFERENCE_SEEDS, which are neither recorded for training nor
used to evaluate agents.
"""

from __future__ import annotations

import functools
import logging
import pathlib
from collections.abc import Callable, Iterator, Sequence

import numpy as np
from tqdm import tqdm

from gato_jax.environments import REFERENCE_SEEDS, Environment, load, package_versions
from gato_jax.episodes import Episode
from gato_jax.evaluation.constant_actions import candidate_actions
from gato_jax.evaluation.reference_table import (
    MEASURED,
    MissingReferencesError,
    add_references,
    find_references,
)
from gato_jax.evaluation.references import References, Score, hash_spec
from gato_jax.experts import ExpertActor, description, expert_names
from gato_jax.rollouts import Action, Actor, ConstantActor, RandomActor
from gato_jax.rollouts.play import play_as_they_end

SCREENING_STEPS = 200
FINALISTS = 2


def measure_references(
    task: str, *, episodes: int, command: str, expert_episodes: int | None = None, progress: bool = False
) -> References:
    """Play random actions, constant actions and the expert, if the task has one, and return their scores.

    The constant actions of `candidate_actions` are screened on one shortened episode each. The FINALISTS best of them
    are played over all `episodes`, and the best of these is reported with the score of its full episodes alone. The
    screening has a seed of its own, so the choice of the finalists does not favour lucky ones.

    Args:
      task: name of the task, `suite/task`.
      episodes: number of episodes of the scores of random play and of the constant actions.
      command: command that the entry names as its origin.
      expert_episodes: number of episodes of the expert's score. Default: `episodes`.
      progress: whether to show a progress bar of all episodes.
    """
    with tqdm(desc=f"measure {task}", unit="episode", disable=not progress) as bar:
        return _measure(task, episodes, expert_episodes or episodes, command, bar)


def _measure(task: str, episodes: int, expert_episodes: int, command: str, bar: tqdm) -> References:
    environment, seeds = load(task), REFERENCE_SEEDS[:episodes]
    spec, candidates = environment.task_spec, candidate_actions(environment.task_spec)
    has_expert = task in expert_names()
    bar.total = len(candidates) + (min(FINALISTS, len(candidates)) + 1) * episodes + has_expert * expert_episodes
    short = load(task)
    short.max_steps = SCREENING_STEPS
    # Where many actions have the same score, such as no success, the episode return tells them apart.
    screened = {
        name: _play_constant(short, action, REFERENCE_SEEDS[-1:], bar)[0] for name, action in candidates.items()
    }
    finalists = sorted(candidates, key=lambda name: screened[name], reverse=True)[:FINALISTS]
    constants = {
        name: summarise([score for score, _ in _play_constant(environment, candidates[name], seeds, bar)])
        for name in finalists
    }
    best = max(constants, key=lambda name: constants[name].mean)
    random = summarise(_scores(RandomActor, environment, seeds, bar))
    expert_seeds = REFERENCE_SEEDS[:expert_episodes]
    expert = summarise(_scores(ExpertActor, environment, expert_seeds, bar)) if has_expert else None
    return References(
        task=task,
        packages=tuple(package_versions(task)),
        spec_hash=hash_spec(spec),
        metric=spec.metric,
        first_seed=seeds[0],
        random=random,
        constant=constants[best],
        constant_action=best,
        constant_candidates=len(candidates),
        command=command,
        expert=expert,
        expert_agent=description(task) if has_expert else None,
    )


def summarise(scores: Sequence[float]) -> Score:
    """Return mean and sample standard deviation (0 for one episode), each rounded to six significant digits.

    `scores` has one score for each episode, at least one.
    """
    std = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    return Score(mean=float(f"{np.mean(scores):.6g}"), std=float(f"{std:.6g}"), episodes=len(scores))


def _scores(make_actor: Callable[[], Actor], environment: Environment, seeds: Sequence[int], bar: tqdm) -> list[float]:
    """Play an actor, and return the score of each seed, in their order; an episode that the actor gives up scores 0."""
    scores = {episode.seed: episode.score for episode in _play(make_actor, environment, seeds, bar)}
    return [float(scores.get(seed) or 0.0) for seed in seeds]


def _play_constant(
    environment: Environment, action: Action, seeds: Sequence[int], bar: tqdm
) -> list[tuple[float, float]]:
    """Play one constant action, and return (score, episode return) of each seed, in their order."""
    played = _play(functools.partial(ConstantActor, action), environment, seeds, bar)
    return [(float(episode.score or 0.0), float(episode.reward.sum())) for episode in played]


def _play(
    make_actor: Callable[[], Actor], environment: Environment, seeds: Sequence[int], bar: tqdm
) -> Iterator[Episode]:
    """Yield one episode for each seed, all in the given environment; those that the actor gives up are left out."""
    task = environment.task_spec.name
    starts = [(task, seed) for seed in seeds]
    bar.set_postfix_str(make_actor().describe(task))
    for _, result in play_as_they_end(make_actor, starts, load=lambda _: environment):
        bar.update()
        if isinstance(result, Episode):
            yield result


def gather_references(
    tasks: Sequence[str], workdir: pathlib.Path, *, measure_episodes: int | None = None
) -> dict[str, References | None]:
    """Return the reference scores of the installed version of each task, None for a task without any.

    A warning names each task without reference scores, and the remedy.

    Args:
      tasks: names of the tasks.
      workdir: folder of the run, whose table holds what was measured before.
      measure_episodes: number of episodes with which missing scores are measured and added to the workdir's table.
        None measures nothing.
    """
    references: dict[str, References | None] = {}
    for task in tasks:
        try:
            references[task] = find_references(task, workdir)
        except MissingReferencesError as error:
            if measure_episodes is None:
                logging.warning("%s", error)
                references[task] = None
                continue
            logging.info("measuring reference scores of %s over %d episodes", task, measure_episodes)
            command = f"gato evaluate --measure_references --tasks={task} --reference_episodes={measure_episodes}"
            entry = measure_references(task, episodes=measure_episodes, command=command, progress=True)
            add_references(entry, workdir / MEASURED)
            references[task] = entry
    return references
