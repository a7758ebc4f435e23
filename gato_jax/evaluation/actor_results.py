"""Evaluation of an actor on many tasks at once; finished episodes survive a kill, and failures are listed."""

from __future__ import annotations

import contextlib
import logging
import pathlib
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gato_jax.environments import EVALUATION_SEEDS, Environment
from gato_jax.environments import load as load_task
from gato_jax.episodes import Episode
from gato_jax.evaluation.episode_scores import EpisodeScore, ScoreJournal
from gato_jax.evaluation.progress import Progress
from gato_jax.evaluation.published import published_on_task
from gato_jax.evaluation.references import References
from gato_jax.evaluation.rollout_file import rollout_path, save_rollout
from gato_jax.evaluation.saved_episodes import SavedEpisodes
from gato_jax.evaluation.scores import task_result
from gato_jax.rollouts import Actor, ActorFailure
from gato_jax.rollouts.groups import STEP_SECONDS, play_in_groups
from gato_jax.rollouts.job_queue import BucketOf, Job
from gato_jax.rollouts.loop import Crash, Load, Result, play_side_by_side
from gato_jax.rollouts.play import failure_error

_log = logging.getLogger(__name__)


class EvaluationError(RuntimeError):
    """An evaluation in which episodes failed; the message names the first of them and the remedy."""


class EpisodeFailure(NamedTuple):
    """An episode that was not played to its end."""

    task: str
    seed: int
    reason: str


def require_played(failures: Sequence[EpisodeFailure]):
    """Raise an error if episodes failed.

    Raises:
      EvaluationError: there is a failure.
    """
    if failures:
        first = failures[0]
        raise EvaluationError(
            f"{len(failures)} episodes of {len({one.task for one in failures})} tasks failed, expected none: "
            f"{first.task}, seed {first.seed}: {first.reason.rstrip('.')}. The scores are those of the other episodes. "
            "Run the same command again to play the failed ones."
        )


def evaluate_actor(
    make_actor: Callable[[], Actor],
    references: Mapping[str, References | None],
    directory: pathlib.Path,
    *,
    episodes: int,
    played_by: Mapping[str, Any],
    environments: int = 10,
    workers: int = 0,
    step_seconds: float = STEP_SECONDS,
    journal: ScoreJournal | None = None,
    saved: SavedEpisodes | None = None,
    on_failure: Callable[[EpisodeFailure], None] | None = None,
    prompt_of: Callable[[str], str | None] | None = None,
    annotate: Callable[[Episode], Mapping[str, np.ndarray]] | None = None,
    bucket_of: BucketOf | None = None,
    load: Load = load_task,
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Play all tasks, and yield the name of each and its entry of results.json as soon as its last episode has ended.

    The episodes of the next task begin while the last ones of a task are played. Results depend neither on
    `environments` and `workers` nor on interruptions. A task of which no episode was played to its end is left out.

    Args:
      make_actor: function that returns a new actor. With `workers`, it must not need the simulators of the tasks.
      references: tasks to play, {name: reference scores}, None for a task without any.
      directory: folder for the first episode of each task, with frames, see `save_rollout`.
      episodes: number of episodes of each task. Episode n has the n-th of EVALUATION_SEEDS.
      played_by: items about the actor that the entries and the files of `directory` hold, such as `step`.
      environments: number of episodes that are played side by side.
      workers: number of processes in which the environments are simulated, while the actor acts in this one; 0
        simulates here.
      step_seconds: limit of the time of one step of an environment in a process.
      journal: scores of episodes that are not played again; those of the others are added as they end.
      saved: keeper of the whole episodes; those that it lacks are played again. None keeps scores alone.
      on_failure: function that is told of each episode that an error, the death of a process, a time-out or the actor
        ends. None raises the error instead.
      prompt_of: function that returns the origin of the prompts of a task's episodes, None for none, which the entries
        hold as `prompt`. None if no episode has a prompt.
      bucket_of: function from the name of a task to its bucket. Only tasks of one bucket are played side by side by one
        call of the actor. None plays all tasks side by side.
      annotate: function that returns arrays for the file of a task's first episode, such as `annotate_rollout`. It is
        called after the episode. None for none.
      load: function that returns a new environment of a task. With `workers` it must be picklable.

    Raises:
      ActorFailure: the actor gave an episode up, and there is no `on_failure`.
      Exception: an error of an environment or the actor, and there is no `on_failure`.
    """
    seeds = EVALUATION_SEEDS[:episodes]
    prompts = {task: None if prompt_of is None else prompt_of(task) for task in references}
    evaluations = {
        task: _TaskEvaluation(task, known, seeds, directory, prompts[task], annotate)
        for task, known in references.items()
    }
    for evaluation in evaluations.values():
        evaluation.take_over(journal, saved)
    jobs = [
        Job(0, evaluation.task, seed, seed == evaluation.rendered_seed)
        for evaluation in evaluations.values()
        for seed in evaluation.missing
    ]
    jobs = [job._replace(position=position) for position, job in enumerate(jobs)]
    with Progress({task: (episodes, len(one.scores)) for task, one in evaluations.items()}) as progress:
        played = _play(make_actor, jobs, environments, workers, step_seconds, load, progress.step, bucket_of)
        with contextlib.closing(played):
            yield from _finished(evaluations, saved, played_by, load)
            for job, result in played:
                evaluation = evaluations[job.task]
                if isinstance(result, Episode):
                    evaluation.keep(job, result, journal, saved, played_by, load)
                    progress.ended(job.task, evaluation.scores[job.seed].score)
                else:
                    failure = _failure(job, result, reraise=on_failure is None)
                    evaluation.failures.append(failure)
                    progress.failed(job.task)
                    if on_failure is not None:
                        on_failure(failure)
                yield from _finished(evaluations, saved, played_by, load)


class _TaskEvaluation:
    """The episodes of one task: those that are finished, and those that are still to be played."""

    def __init__(
        self,
        task: str,
        references: References | None,
        seeds: Sequence[int],
        directory: pathlib.Path,
        prompt: str | None,
        annotate: Callable[[Episode], Mapping[str, np.ndarray]] | None,
    ):
        self.task, self._prompt, self._annotate = task, prompt, annotate
        self.scores: dict[int, EpisodeScore] = {}
        self.failures: list[EpisodeFailure] = []
        self._references, self._seeds, self._directory = references, seeds, directory

    def take_over(self, journal: ScoreJournal | None, saved: SavedEpisodes | None):
        """Take the scores of an earlier call, unless the frames or the saved episode that belong to them are gone."""
        known = {} if journal is None else journal.scores(self.task, self._prompt)
        self.scores = {seed: known[seed] for seed in self._seeds if seed in known}
        if saved is not None:
            saved.open(self.task, self._seeds, prompt=self._prompt)
            self.scores = {seed: score for seed, score in self.scores.items() if saved.has(self.task, seed)}
        if not rollout_path(self._directory, self.task).exists():
            self.scores.pop(self._seeds[0], None)
        if self.scores:
            _log.info("%s: going on with %d of %d episodes", self.task, len(self.scores), len(self._seeds))

    @property
    def missing(self) -> list[int]:
        return [seed for seed in self._seeds if seed not in self.scores]

    @property
    def rendered_seed(self) -> int:
        """Seed of the episode whose frames are kept."""
        return self._seeds[0]

    @property
    def is_over(self) -> bool:
        return len(self.scores) + len(self.failures) == len(self._seeds)

    def keep(
        self,
        job: Job,
        episode: Episode,
        journal: ScoreJournal | None,
        saved: SavedEpisodes | None,
        played_by: Mapping[str, Any],
        load: Load,
    ):
        """Keep an episode; its score is written last, so that a kill before leaves nothing out."""
        if episode.frames is not None:
            with _loaded(load, self.task) as environment:
                annotations = {} if self._annotate is None else self._annotate(episode)
                save_rollout(episode, environment.action_names, self._directory, played_by, annotations)
        if saved is not None:
            saved.add(self.task, job.seed, episode)
        self.scores[job.seed] = score = _score(episode)
        if journal is not None:
            journal.add(self.task, score, self._prompt)

    def entry(self, played_by: Mapping[str, Any], load: Load) -> dict[str, Any]:
        """Return the entry of results.json."""
        ordered = [self.scores[seed] for seed in self._seeds if seed in self.scores]
        with _loaded(load, self.task) as environment:
            metric, renderer = environment.task_spec.metric, environment.renderer
        result = task_result(ordered, metric, self._references) | {"published": published_on_task(self.task)}
        return result | dict(played_by) | {"prompt": self._prompt} | ({"renderer": renderer} if renderer else {})


def _play(
    make_actor: Callable[[], Actor],
    jobs: Sequence[Job],
    environments: int,
    workers: int,
    step_seconds: float,
    load: Load,
    on_step: Callable[[], None],
    bucket_of: BucketOf | None,
) -> Generator[tuple[Job, Result], None, None]:
    bucket_of = bucket_of or (lambda _: None)  # so that a slot goes on with the task whose environment is loaded
    environments = min(environments, len(jobs))
    if not jobs:
        return
    if workers:
        yield from play_in_groups(
            make_actor, iter(jobs), environments=environments, workers=workers, load=load, step_seconds=step_seconds,
            on_step=on_step, bucket_of=bucket_of,
        )  # fmt: skip
    else:
        yield from play_side_by_side(make_actor, iter(jobs), environments, load, on_step, True, bucket_of)


def _finished(
    evaluations: dict[str, _TaskEvaluation], saved: SavedEpisodes | None, played_by: Mapping[str, Any], load: Load
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the entries of the tasks that are over, and remove them from `evaluations`."""
    for task in [task for task, evaluation in evaluations.items() if evaluation.is_over]:
        evaluation = evaluations.pop(task)
        if not evaluation.scores:
            continue
        if saved is not None:
            saved.finish(task)
        yield task, evaluation.entry(played_by, load)


def _failure(job: Job, result: ActorFailure | Crash, *, reraise: bool) -> EpisodeFailure:
    """Return the failure of an episode, or raise its error."""
    error = result.error if isinstance(result, Crash) else failure_error(job, result)
    if reraise:
        raise error
    _log.info("%s, seed %d failed", job.task, job.seed, exc_info=error)
    gave_up = f"the actor gave up ({result})" if isinstance(result, ActorFailure) else ""
    return EpisodeFailure(job.task, job.seed, gave_up or f"{type(error).__name__}: {error}")


@contextlib.contextmanager
def _loaded(load: Load, task: str) -> Iterator[Environment]:
    environment = load(task)
    try:
        yield environment
    finally:
        environment.close()


def _score(episode: Episode) -> EpisodeScore:
    """Return the scores of an episode; one without a score, which no environment makes, scores NaN."""
    return EpisodeScore(
        seed=int(episode.seed or 0),
        score=float("nan") if episode.score is None else float(episode.score),
        episode_return=float(episode.episode_return),
        success=None if episode.success is None else bool(episode.success),
    )
