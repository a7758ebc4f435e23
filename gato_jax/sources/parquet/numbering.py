"""Episodes that go on in the next file, and files that number their episodes anew, told apart by the rows' numbers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from gato_jax.sources.parquet.shards import is_shard

STEP_COLUMNS = ("frame_index", "step_index", "frame_idx", "step_idx", "step_id")  # number of a row in its episode


class Part(NamedTuple):
    """The rows [start, stop) of a file, counted from 0."""

    file: Path
    start: int
    stop: int


class Run(NamedTuple):
    """Consecutive rows of one file that belong to the same episode.

    Attributes:
      episode: value of the episode column in these rows.
      part: the rows.
      cut: whether the run borders on a damaged file or row, so that rows of its episode may be missing.
      steps: numbers of its first and its last step within the episode; None if no column has them.
    """

    episode: int | str
    part: Part
    cut: bool
    steps: tuple[int, int] | None


class RunsOfEpisode(NamedTuple):
    """The runs of one episode, in order.

    Attributes:
      runs: one run, or one in each of several files.
      problem: reason why they may not be a whole episode; None if they are.
    """

    runs: tuple[Run, ...]
    problem: str | None = None


def join_runs(runs: Sequence[Run], column: str) -> list[RunsOfEpisode]:
    """Join the last run of a file and the first of the next if they are parts of one episode, and return all episodes.

    Two such runs with the same value in the episode column are of one episode if their steps are numbered through, and
    of two if the second begins anew. Without a column of STEP_COLUMNS, the numbers of the episodes decide. Strings name
    one episode in all files. Integers count through all files, unless each file begins with the same one: then each
    file counts anew if one of them goes on to another number, or if all hold only episode 0 and are not named as
    shards of one table. If neither is certain, the episode has a problem.

    Args:
      runs: all runs of a split, in the order of the files.
      column: name of the episode column, for messages.
    """
    numbering = _Numbering.infer(runs)
    episodes: list[list[Run]] = []
    problems: dict[int, str] = {}
    for run in runs:
        before = episodes[-1][-1] if episodes else None
        if before is None or before.episode != run.episode:
            episodes.append([run])
            continue
        joined, problem = numbering.joins(before, run, episodes[-1][0])
        if joined:
            episodes[-1].append(run)
        else:
            episodes.append([run])
        if problem:
            problems.setdefault(len(episodes) - 1, problem)
            problems.setdefault(len(episodes) - 1 - (not joined), problem)
    found = [RunsOfEpisode(tuple(group), problems.get(number)) for number, group in enumerate(episodes)]
    return numbering.mark_scattered(found, column)


class _Numbering(NamedTuple):
    """Numbering of the episodes of several files.

    Attributes:
      by_file: whether each file numbers its episodes anew; None if that is not certain.
      origin: number of the first step of an episode.
    """

    by_file: bool | None
    origin: int

    @classmethod
    def infer(cls, runs: Sequence[Run]) -> _Numbering:
        """Infer the numbering from all runs."""
        origin = min((run.steps[0] for run in runs if run.steps), default=0)
        files = [list(group) for _, group in itertools.groupby(runs, lambda run: run.part.file)]
        firsts = {group[0].episode for group in files}
        if len(files) < 2 or len(firsts) > 1 or isinstance(first := firsts.pop(), str):
            return cls(by_file=False, origin=origin)
        if any(group[-1].episode != first for group in files[:-1]):
            return cls(by_file=True, origin=origin)
        is_each_whole = all(len(group) == 1 and not is_shard(group[0].part.file) for group in files)
        return cls(by_file=True if is_each_whole and first == 0 else None, origin=origin)

    def joins(self, before: Run, after: Run, first: Run) -> tuple[bool, str | None]:
        """Return whether two runs with the same value are of one episode, and the reason if that is a guess.

        Args:
          before: the last run of the episode so far.
          after: the run after it.
          first: the first run of the episode.
        """
        if before.part.file == after.part.file:  # a damaged row is between them, and both are cut
            return True, None
        name = after.part.file.name
        if first.steps and before.steps and after.steps:
            return after.steps[0] > first.steps[0], None  # the order of all steps is checked when they are read
        if self.by_file is None:
            return False, (
                f"nothing tells whether it goes on in {name}. Number the steps of each episode in a column "
                f"{STEP_COLUMNS[0]}, or the episodes through all files"
            )
        return not self.by_file, None

    def mark_scattered(self, episodes: list[RunsOfEpisode], column: str) -> list[RunsOfEpisode]:
        """Return the episodes, where those whose value occurs in several places have a problem.

        Episodes with one value in different files are several episodes if each file numbers its episodes anew, or if
        the steps of each begin with the first number.
        """
        places: dict[int | str, list[RunsOfEpisode]] = {}
        for episode in episodes:
            places.setdefault(episode.runs[0].episode, []).append(episode)

        def problem_of(episode: RunsOfEpisode) -> str | None:
            same = places[episode.runs[0].episode]
            firsts = [one.runs[0] for one in same]
            is_anew = self.by_file or all(first.steps and first.steps[0] == self.origin for first in firsts)
            if len(same) == 1 or episode.problem or (is_anew and len({one.part.file for one in firsts}) == len(same)):
                return episode.problem
            return f"its rows are in {len(same)} places, expected one. Sort them by {column}"

        return [episode._replace(problem=problem_of(episode)) for episode in episodes]
