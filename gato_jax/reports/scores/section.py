"""The contents of the section on scores, in the order in which the page shows them: failures first."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from markupsafe import Markup

from gato_jax.evaluation.score_table import baseline_means
from gato_jax.reports import strips
from gato_jax.reports.run import Results, TaskScore
from gato_jax.reports.scores.drawings import episode_histogram, threshold_chart
from gato_jax.reports.scores.records import Aggregate, FailedEpisode, PublishedScore

NEAREST_NEIGHBOUR = "nearest_neighbour"  # in the baselines of results.json
_ALL = "all tasks"


@dataclasses.dataclass(frozen=True, kw_only=True)
class TaskRow:
    """One task with its drawings and what stands beside it.

    Attributes:
      task: scores of the task.
      bar: the normalised score between random play and the expert.
      episodes: the distribution of the episodes' scores; empty if it is not known.
      neighbour: score of the 1-nearest-neighbour baseline; None if it has not played the task.
      jat: published result of JAT; None without one.
      failed: episodes that were not played to their end.
    """

    task: TaskScore
    bar: Markup
    episodes: Markup
    neighbour: TaskScore | None
    jat: PublishedScore | None
    failed: tuple[FailedEpisode, ...]


@dataclasses.dataclass(frozen=True, kw_only=True)
class DomainRow:
    """One domain, or all tasks, with its aggregates and the mean of the 1-nearest-neighbour baseline on its tasks."""

    name: str
    scores: Aggregate
    neighbour: float | None

    def published(self, agent: str) -> float | None:
        """Return the published mean of another agent on the domain; None without one."""
        found = self.scores.published.get(agent)
        return None if found is None else found.mean


@dataclasses.dataclass(frozen=True, kw_only=True)
class ScoresSection:
    """All that the section shows.

    Attributes:
      failed: {task: failed episodes}, also of tasks of which no episode was played to its end.
      rows: the tasks with a normalised score, see `order_tasks`.
      unscaled: the tasks that no aggregate includes, with their reasons in `TaskScore.unscaled`.
      domains: the domains with a normalised task, and all tasks in the last row if there are several domains.
      curve: the share of tasks over thresholds; None if it is not known.
      bar_range: ends of the axis of the bars.
      has_neighbour, has_jat: whether a task has such a result.
    """

    failed: dict[str, tuple[FailedEpisode, ...]]
    rows: tuple[TaskRow, ...]
    unscaled: tuple[TaskRow, ...]
    domains: tuple[DomainRow, ...]
    curve: Markup | None
    bar_range: tuple[float, float]
    has_neighbour: bool
    has_jat: bool


def order_tasks(results: Results) -> tuple[TaskScore, ...]:
    """Return the tasks in the order of the page: first those with failed episodes, then by rising normalised score.

    Tasks without a normalised score come last, by name.
    """

    def key(task: TaskScore):
        unscaled = task.normalised is None
        return not results.failed.get(task.task), unscaled, 0.0 if unscaled else task.normalised, task.task

    return tuple(sorted(results.tasks, key=key))


def scores_section(results: Results) -> ScoresSection:
    """Return the contents of the section from the scores of a run."""
    low, high = strips.bar_range(results.tasks)
    neighbour = {task.task: task for task in results.baselines.get(NEAREST_NEIGHBOUR, ())}
    rows = [
        TaskRow(
            task=task,
            bar=strips.score_bar(task, low, high),
            episodes=episode_histogram(task),
            neighbour=neighbour.get(task.task),
            jat=task.published.get("jat"),
            failed=results.failed.get(task.task, ()),
        )
        for task in order_tasks(results)
    ]
    curve = results.aggregate.curve
    return ScoresSection(
        failed={task: listed for task, listed in results.failed.items() if listed},
        rows=tuple(row for row in rows if row.task.normalised is not None),
        unscaled=tuple(row for row in rows if row.task.normalised is None),
        domains=_domain_rows(results, neighbour),
        curve=None if curve is None else threshold_chart(curve, label="Share of tasks at or above a score"),
        bar_range=(low, high),
        has_neighbour=any(row.neighbour is not None for row in rows),
        has_jat=any(row.jat is not None for row in rows),
    )


def _domain_rows(results: Results, neighbour: dict[str, TaskScore]) -> tuple[DomainRow, ...]:
    means = baseline_means(_normalised(results.tasks), _normalised(tuple(neighbour.values())))
    shown = {name: scores for name, scores in results.domains.items() if scores.tasks}
    if len(shown) > 1:
        shown[_ALL] = results.aggregate
    return tuple(DomainRow(name=name, scores=scores, neighbour=means.get(name)) for name, scores in shown.items())


def _normalised(tasks: Sequence[TaskScore]) -> dict[str, float | None]:
    return {task.task: task.normalised for task in tasks}
