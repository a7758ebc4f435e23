"""The function that plays episodes with any actor, in this process or in worker processes."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import cast

from gato_jax.environments import load as load_task
from gato_jax.episodes import Episode
from gato_jax.rollouts.actor import Actor, ActorFailure
from gato_jax.rollouts.job_queue import Job
from gato_jax.rollouts.loop import Load, Result, play_side_by_side
from gato_jax.rollouts.workers import play_in_workers


def play(
    make_actor: Callable[[], Actor],
    episodes: Iterable[tuple[str, int]],
    *,
    environments: int = 1,
    workers: int = 0,
    frames: int = 0,
    skip_failures: bool = False,
    load: Load = load_task,
) -> Iterator[Episode]:
    """Yield one episode for each (task, seed), in their order, with its score.

    An episode that ends early waits for those before it. The episodes do not depend on `environments` or `workers`: an
    episode follows from actor, task and seed.

    Args:
      make_actor: Function that returns a new actor, such as `RandomActor` or `functools.partial(ExpertActor,
        noise=0.1)`. With `workers` it is called once in each process, and must be picklable.
      episodes: Task and seed of each episode to play.
      environments: Number of episodes that are played side by side in this process, so that one call of the actor
        chooses the actions of all of them.
      workers: Number of processes that each play one episode at a time; 0 plays in this process.
      frames: Number of episodes, from the first, that keep a rendered frame of each step; the others have none.
      skip_failures: True to leave out the episodes that the actor gives up, instead of raising.
      load: Function that returns a new environment of a task. With `workers` it must be picklable.

    Raises:
      ValueError: `environments` or `workers` is out of range, or both are asked for.
      ActorFailure: The actor gave an episode up, and `skip_failures` is False.
      WorkerError: A worker process died.
      UnknownTaskError: No task has that name.
    """
    results = play_as_they_end(
        make_actor, episodes, environments=environments, workers=workers, frames=frames, load=load
    )
    return _in_order(results, skip_failures)


def play_as_they_end(
    make_actor: Callable[[], Actor],
    episodes: Iterable[tuple[str, int]],
    *,
    environments: int = 1,
    workers: int = 0,
    frames: int = 0,
    load: Load = load_task,
    on_step: Callable[[], None] | None = None,
) -> Generator[tuple[Job, Episode | ActorFailure], None, None]:
    """Return a generator of each job with its episode as soon as it ends, or with the failure of the actor.

    An element of `episodes` is taken only when an environment or a worker is free for it.

    Args:
      make_actor: As in `play`.
      episodes: As in `play`.
      environments: As in `play`.
      workers: As in `play`.
      frames: As in `play`.
      load: As in `play`.
      on_step: Function that is called after each step of all environments in this process; with `workers` it is not.

    Raises:
      ValueError: `environments` or `workers` is out of range, or both are asked for.
      WorkerError: A worker process died.
      UnknownTaskError: No task has that name.
    """
    played = play_all(
        make_actor, episodes, environments=environments, workers=workers, frames=frames, load=load, on_step=on_step
    )
    return cast("Generator[tuple[Job, Episode | ActorFailure], None, None]", played)  # no error is contained


def play_all(
    make_actor: Callable[[], Actor],
    episodes: Iterable[tuple[str, int]],
    *,
    environments: int = 1,
    workers: int = 0,
    frames: int = 0,
    load: Load = load_task,
    on_step: Callable[[], None] | None = None,
    contain: bool = False,
) -> Generator[tuple[Job, Result], None, None]:
    """Return the generator of `play_as_they_end`, which goes on after errors if that is asked for.

    Args:
      make_actor: As in `play`.
      episodes: As in `play`.
      environments: As in `play`.
      workers: As in `play`.
      frames: As in `play`.
      load: As in `play`.
      on_step: As in `play_as_they_end`.
      contain: Whether an error or the death of a worker ends its episodes alone, whose results are then a Crash.

    Raises:
      ValueError: `environments` or `workers` is out of range, or both are asked for.
      WorkerError: A worker process died, and `contain` is False.
    """
    if environments < 1 or workers < 0 or (workers and environments > 1):
        raise ValueError(
            f"play: environments is {environments} and workers is {workers}, expected at least one environment, and "
            "exactly one with workers. Choose either several environments or workers."
        )
    jobs = (Job(position, task, seed, position < frames) for position, (task, seed) in enumerate(episodes))
    if workers:
        return play_in_workers(make_actor, jobs, workers, load, contain)
    first = list(itertools.islice(jobs, environments))
    return play_side_by_side(make_actor, itertools.chain(first, jobs), len(first), load, on_step, contain)


def failure_error(job: Job, failure: ActorFailure) -> ActorFailure:
    """Return the error that says that an actor gave an episode up, for a caller that needs all episodes."""
    return ActorFailure(
        f"{job.task}, seed {job.seed}: the actor gave up ({failure}). Choose another seed, or leave such episodes out "
        "by skip_failures=True (`gato collect --successes_only`)."
    )


def _in_order(
    results: Generator[tuple[Job, Episode | ActorFailure], None, None], skip_failures: bool
) -> Iterator[Episode]:
    """Yield the episodes in the order of their jobs; an episode that ends early waits for those before it.

    Raises:
      ActorFailure: The actor gave an episode up and `skip_failures` is False; otherwise such episodes are left out.
    """
    finished: dict[int, Episode | ActorFailure] = {}
    position = 0
    with contextlib.closing(results):  # workers end with the episodes, also where an error is kept for later
        for job, result in results:
            if isinstance(result, ActorFailure) and not skip_failures:
                raise failure_error(job, result) from result
            finished[job.position] = result
            while position in finished:
                episode = finished.pop(position)
                position += 1
                if isinstance(episode, Episode):
                    yield episode
