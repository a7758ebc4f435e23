"""Measurement of a task's reference scores: random play, the best of a bounded set of constant actions, the expert.

All scores are in the task's own metric and are played on REFERENCE_SEEDS, which are neither recorded for training nor
used to evaluate agents.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import os
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from gato_jax.environments import REFERENCE_SEEDS, Environment, load, package_versions, task_spec
from gato_jax.episodes import Episode
from gato_jax.evaluation.constant_actions import candidate_actions
from gato_jax.evaluation.reference_table import (
    MEASURED,
    MissingReferencesError,
    add_references,
    find_references,
)
from gato_jax.evaluation.references import Cut, DecisionCost, EpisodeTime, References, Score, hash_spec
from gato_jax.experts import Expert, ExpertActor, description, expert, expert_names
from gato_jax.experts.base import SearchEffort
from gato_jax.rollouts import Action, Actor, ConstantActor, RandomActor
from gato_jax.rollouts.play import play_as_they_end

SCREENING_STEPS = 200
FINALISTS = 2


class EpisodeResult(NamedTuple):
    """Result of one episode; all of it is 0 if the actor gave the episode up.

    Attributes:
      score: score in the task's own metric.
      episode_return: undiscounted sum of the rewards.
      measures: what else was measured, see `Environment.measures`.
    """

    score: float = 0.0
    episode_return: float = 0.0
    measures: Mapping[str, float] = {}


def measure_references(
    task: str,
    *,
    episodes: int,
    command: str,
    constant_episodes: int | None = None,
    expert_episodes: int | None = None,
    expert_steps: int | None = None,
    known: References | None = None,
    progress: bool = False,
) -> References:
    """Play random actions, constant actions and the expert, if the task has one, and return their scores.

    The time of the expert's episodes is measured, too. The first one includes the construction of the expert.

    The constant actions of `candidate_actions` are screened on one shortened episode each. The FINALISTS best of them
    are played over all `constant_episodes`, and the best of these is reported with the score of its full episodes
    alone. The screening has a seed of its own, so the choice of the finalists does not favour lucky ones.

    Args:
      task: name of the task, `suite/task`.
      episodes: number of episodes of the score of random play.
      command: command that the entry names as its origin.
      constant_episodes: number of episodes of the score of the constant actions. Default: `episodes`.
      expert_episodes: number of episodes of the expert's score; 0 leaves the expert out. Default: `episodes`.
      expert_steps: number of steps after which episodes of the expert are cut off. None plays whole episodes.
      known: entry of the same version of the task, whose scores of as many episodes are kept; None measures everything.
      progress: whether to show a progress bar of all episodes.
    """
    wanted = {
        "random": episodes,
        "constant": constant_episodes or episodes,
        "expert": (episodes if expert_episodes is None else expert_episodes) if task in expert_names() else 0,
    }
    missing = {kind: number for kind, number in wanted.items() if not has_episodes(known, kind, number, expert_steps)}
    entry, environment = known or _empty(task), load(task)
    with tqdm(desc=f"measure {task}", unit="episode", disable=not progress) as bar:
        bar.total = missing.get("random", 0) + missing.get("expert", 0)
        if number := missing.get("constant"):
            entry = _with_constants(entry, environment, number, bar)
        if number := missing.get("random"):
            results = _play_all(RandomActor, environment, REFERENCE_SEEDS[:number], bar)
            entry = dataclasses.replace(entry, random=summarise(results))
        if number := missing.get("expert"):
            entry = _with_expert(entry, environment, number, expert_steps, bar)
    environment.close()
    commands = [entry.command, command] if missing else [entry.command]
    return dataclasses.replace(entry, command="; ".join(dict.fromkeys(filter(None, commands))))


def has_episodes(entry: References | None, kind: str, episodes: int, expert_steps: int | None = None) -> bool:
    """Return True if an entry has a score of this kind, "random", "constant" or "expert", of as many episodes.

    The score of an expert counts if the task's present expert reached it, its time is known, and no episode was cut off
    before `expert_steps` steps, or at all if that is None.
    """
    score: Score | None = getattr(entry, kind) if entry else None
    if episodes == 0 or score is None or entry is None:
        return episodes == 0
    if kind != "expert":
        return score.episodes >= episodes
    whole = entry.expert_cut is None or (expert_steps is not None and entry.expert_cut.steps >= expert_steps)
    stale = entry.expert_time is None or entry.expert_agent != description(entry.task)
    return score.episodes >= episodes and whole and not stale


def _with_expert(
    entry: References, environment: Environment, episodes: int, max_steps: int | None, bar: tqdm
) -> References:
    """Return the entry with the score of the expert, its time, its cut and the cost of its decisions."""
    begun = time.perf_counter(), time.process_time()
    results, cut, effort = _play_expert(environment, REFERENCE_SEEDS[:episodes], max_steps, bar)
    measured, decision = _time_since(begun, episodes), None
    if effort is not None and effort.decisions:
        frames, seconds = effort.frames, measured.cpu_seconds * episodes
        decision = DecisionCost(
            frames=float(f"{frames / effort.decisions:.4g}"), seconds=float(f"{seconds / effort.decisions:.4g}")
        )
    return dataclasses.replace(
        entry,
        expert=summarise(results),
        expert_agent=description(entry.task),
        expert_time=measured,
        expert_cut=Cut(steps=max_steps, episodes=cut) if max_steps and cut else None,
        expert_decision=decision,
    )


def _play_expert(
    environment: Environment, seeds: Sequence[int], max_steps: int | None, bar: tqdm
) -> tuple[list[EpisodeResult], int, SearchEffort | None]:
    """Play the expert; return the result of each seed, the number of cut episodes, and the counts of its searches.

    Args:
      environment: the environment to play in.
      seeds: seeds of the episodes.
      max_steps: number of steps after which episodes are cut off. None plays whole episodes.
      bar: progress bar of the episodes.
    """
    made: list[Expert] = []
    results, cut, limit = {}, 0, environment.max_steps

    def make_expert(task: str) -> Expert:
        made.append(expert(task))
        return made[-1]

    if max_steps is not None and (limit is None or max_steps < limit):
        environment.max_steps = max_steps
    for episode in _play(functools.partial(ExpertActor, make_expert=make_expert), environment, seeds, bar):
        results[episode.seed] = _result(episode, environment)
        steps = len(episode.reward) - episode.final_observation
        cut += environment.max_steps != limit and steps == max_steps and not episode.is_terminal[-1]
    environment.max_steps = limit
    return [results.get(seed, EpisodeResult()) for seed in seeds], cut, made[0].effort if made else None


def _time_since(begun: tuple[float, float], episodes: int) -> EpisodeTime:
    """Return the mean time of each of the episodes that were played since `begun`: wall and processor time, in s."""
    wall, cpu = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return EpisodeTime(
        seconds=float(f"{wall / episodes:.4g}"),
        cpu_seconds=float(f"{cpu / episodes:.4g}"),
        cores=len(os.sched_getaffinity(0)),
    )


def _empty(task: str) -> References:
    """Return an entry of the installed version of a task, whose scores are not measured yet."""
    spec, none = task_spec(task), Score(mean=0.0, std=0.0, episodes=1)
    return References(
        task=task,
        packages=tuple(package_versions(task)),
        spec_hash=hash_spec(spec),
        metric=spec.metric,
        first_seed=REFERENCE_SEEDS[0],
        random=none,
        constant=none,
        constant_action="",
        constant_candidates=0,
        command="",
    )


def _with_constants(entry: References, environment: Environment, episodes: int, bar: tqdm) -> References:
    """Return the entry with the score of the best constant action."""
    candidates, seeds = candidate_actions(environment.task_spec), REFERENCE_SEEDS[:episodes]
    bar.total += len(candidates) + min(FINALISTS, len(candidates)) * episodes
    short = load(entry.task)
    short.max_steps = SCREENING_STEPS
    # Where many actions have the same score, such as no success, the episode return tells them apart.
    screened = {
        name: _play_constant(short, action, REFERENCE_SEEDS[-1:], bar)[0][:2] for name, action in candidates.items()
    }
    short.close()
    finalists = sorted(candidates, key=lambda name: screened[name], reverse=True)[:FINALISTS]
    constants = {name: summarise(_play_constant(environment, candidates[name], seeds, bar)) for name in finalists}
    best = max(constants, key=lambda name: constants[name].mean)
    return dataclasses.replace(
        entry, constant=constants[best], constant_action=best, constant_candidates=len(candidates)
    )


def summarise(results: Sequence[EpisodeResult]) -> Score:
    """Return mean and sample standard deviation of the scores (0 for one episode), and the means of the measures.

    Each is rounded to six significant digits. `results` has one result for each episode, at least one.
    """
    scores = [result.score for result in results]
    std = float(np.std(scores, ddof=1)) if len(scores) > 1 else 0.0
    measures = {name for result in results for name in result.measures}
    means = {name: np.mean([result.measures.get(name, 0.0) for result in results]) for name in sorted(measures)}
    return Score(
        mean=float(f"{np.mean(scores):.6g}"),
        std=float(f"{std:.6g}"),
        episodes=len(scores),
        measures={name: float(f"{mean:.6g}") for name, mean in means.items()},
    )


def _play_all(
    make_actor: Callable[[], Actor], environment: Environment, seeds: Sequence[int], bar: tqdm
) -> list[EpisodeResult]:
    """Play an actor, and return the result of each seed, in their order."""
    played = _play(make_actor, environment, seeds, bar)
    results = {episode.seed: _result(episode, environment) for episode in played}
    return [results.get(seed, EpisodeResult()) for seed in seeds]


def _play_constant(environment: Environment, action: Action, seeds: Sequence[int], bar: tqdm) -> list[EpisodeResult]:
    """Play one constant action, and return the result of each seed, in their order."""
    return _play_all(functools.partial(ConstantActor, action), environment, seeds, bar)


def _result(episode: Episode, environment: Environment) -> EpisodeResult:
    """Return the result of an episode that has just ended in an environment."""
    return EpisodeResult(float(episode.score or 0.0), float(episode.reward.sum()), dict(environment.measures))


def _play(
    make_actor: Callable[[], Actor], environment: Environment, seeds: Sequence[int], bar: tqdm
) -> Iterator[Episode]:
    """Yield one episode for each seed as soon as it ends in the environment; the actor's failures are left out."""
    task = environment.task_spec.name
    starts = [(task, seed) for seed in seeds]
    actor = make_actor()
    environment.observed = actor.looks  # only the scores of the episodes are used
    bar.set_postfix_str(actor.describe(task))
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
            references[task] = entry = find_references(task, workdir)
            if entry.scores_of:
                logging.info("%s: reference scores are those of %s", task, entry.scores_of)
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
