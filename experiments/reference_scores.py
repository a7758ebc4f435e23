"""Measurement of the committed table of reference scores, gato_jax/evaluation/reference_scores.jsonl.

    .venv/bin/python -m experiments.reference_scores --workers=2

It measures what the table lacks, holds for another version, for another expert or over too few episodes: random play,
constant actions, the expert with the time of its episodes. It writes the table after each task; killed and run again,
it goes on with the next one. Tasks without scores come first, and short ones before long ones; of tasks that take as
long, those with a published human score come first. With --hours, no task is begun after that time. Suites whose scores
are those of another suite are not measured.

Episodes of the planners of Atari are cut off after 18,000 frames, 5 minutes of play, which the table says. A first look
at all games, with one episode of each planner, takes about 4 hours on two cores:

    .venv/bin/python -m experiments.reference_scores --suite=atari --expert_episodes=1

A table that was measured elsewhere, or into another file by --output=TABLE, is added to the committed one by

    .venv/bin/python -m experiments.reference_scores --merge=TABLE

The wall time of an expert that computes on several cores is right with --workers=1 only; its processor time always is.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import json
import logging
import multiprocessing
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures.process import BrokenProcessPool

from absl import app, flags
from tqdm import tqdm

from gato_jax.environments import status, suites, task_names
from gato_jax.evaluation import References, measure_references, read_table, write_table
from gato_jax.evaluation.measurement import has_episodes
from gato_jax.evaluation.reference_table import COMMITTED
from gato_jax.evaluation.references import installed_version
from gato_jax.experts import description, expert_names
from gato_jax.experts.atari import AtariPlanner
from gato_jax.experts.registry import expert_class

_SUITE = flags.DEFINE_string("suite", None, "Measure only the tasks of this suite.")
_TASKS = flags.DEFINE_list("tasks", [], "Names of the tasks to measure, comma-separated. Default: every runnable task.")
_EPISODES = flags.DEFINE_integer(
    "episodes",
    None,
    "Number of episodes of each score; scores of fewer are measured again. Default: PLANS of the suite.",
    lower_bound=1,
)
_EXPERT_EPISODES = flags.DEFINE_integer(
    "expert_episodes",
    None,
    "Number of episodes of the experts' scores alone; 0 leaves the experts out. Default: --episodes.",
    lower_bound=0,
)
_WORKERS = flags.DEFINE_integer("workers", 2, "Number of tasks that are measured at the same time.", lower_bound=1)
_HOURS = flags.DEFINE_float(
    "hours", None, "Hours after which no further task is begun. Default: no limit.", lower_bound=0.0
)
_MERGE = flags.DEFINE_string("merge", None, "Table of another measurement to add to --output; nothing is measured.")
_OUTPUT = flags.DEFINE_string("output", str(COMMITTED), "File of the table.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Numbers of episodes of the scores of each task of a suite, and how long they take.

    Attributes:
      random: Episodes of random play: at least 20, or 5 where an episode takes minutes.
      constant: Episodes of each of the best constant actions.
      expert: Episodes of the expert: 20, or 3 to 5 where an episode takes minutes.
      expert_steps: Steps after which episodes of a planner are cut off; None plays whole ones. Scripts and networks
        play whole episodes.
      seconds: Rough time of an episode of random play on one core, for the order of the tasks and the progress bar.
      expert_seconds: The same for an episode of the expert.
    """

    random: int = 20
    constant: int = 5
    expert: int = 20
    expert_steps: int | None = None
    seconds: float = 1.0
    expert_seconds: float = 1.0

    @property
    def total_seconds(self) -> float:
        """Rough time of a task of the suite, with the screening of constant actions."""
        return (self.random + 2 * self.constant + 2) * self.seconds + self.expert * self.expert_seconds

    def missing_seconds(self, entry: References | None) -> float:
        """Return the rough time of what an entry lacks, with the measured time of its expert's episodes if it has."""
        if entry is None:
            return self.total_seconds
        expert_seconds = entry.expert_time.cpu_seconds if entry.expert_time else self.expert_seconds
        if self.is_measured(entry, "random") and self.is_measured(entry, "constant"):
            return self.expert * expert_seconds
        return dataclasses.replace(self, expert_seconds=expert_seconds).total_seconds

    def is_measured(self, entry: References, kind: str) -> bool:
        """Return True if an entry has the episodes of a kind of score, "random", "constant" or "expert"."""
        return has_episodes(entry, kind, getattr(self, kind), self.expert_steps)


PLANNED_STEPS = 4500  # 18,000 frames
PLANS = {
    "adroit": Plan(seconds=0.1),
    "atari": Plan(expert=3, expert_steps=PLANNED_STEPS, seconds=2.0, expert_seconds=300.0),
    "atari_extended": Plan(expert=3, expert_steps=PLANNED_STEPS, seconds=2.0, expert_seconds=300.0),
    "atari_short": Plan(expert=5, seconds=0.3, expert_seconds=80.0),
    "babyai": Plan(constant=20, seconds=0.05, expert_seconds=0.1),
    "dm_control": Plan(seconds=0.2, expert_seconds=30.0),
    "dm_control_random_large": Plan(seconds=0.4, expert_seconds=30.0),
    "dm_control_random_small": Plan(seconds=0.4, expert_seconds=30.0),
    "fetch": Plan(seconds=1.0, expert_seconds=1.0),
    "fetch_state": Plan(seconds=0.1, expert_seconds=0.3),
    "kitchen": Plan(seconds=0.7),
    "manipulation": Plan(seconds=0.3, expert_seconds=1.0),
    "manipulation_vision": Plan(seconds=0.5, expert_seconds=20.0),
    "meta_world": Plan(constant=20, seconds=0.1, expert_seconds=0.1),
    "miniworld": Plan(seconds=0.1, expert_seconds=2.0),
    "modular_rl": Plan(constant=20, seconds=0.1, expert_seconds=15.0),
    "procgen": Plan(constant=20, seconds=0.1, expert_seconds=30.0),
    "procgen_easy": Plan(constant=20, seconds=0.1, expert_seconds=30.0),
    "pusht": Plan(seconds=0.3, expert_seconds=0.5),
    "rgb_stacking": Plan(seconds=7.0, expert_seconds=45.0),
    "sokoban": Plan(seconds=0.05, expert_seconds=0.1),
    "vizdoom": Plan(seconds=0.2, expert_seconds=1.0),
}
LONG_EPISODES = {"humanoid": 90.0}
"""{domain of DM Control: seconds of an episode of its planner}; see benchmarks/results/planner.json."""
PUBLISHED = pathlib.Path(__file__).parents[1] / "third_party" / "dqn_zoo" / "atari_random_human.json"


class MeasurementError(RuntimeError):
    """Tasks that could not be measured; the message names them, with the error of each."""


def main(argv: list[str]):
    """Measure the tasks that the flags select, or merge two tables."""
    del argv
    if _MERGE.value is not None:
        merge(pathlib.Path(_MERGE.value), pathlib.Path(_OUTPUT.value))
        return
    names = select_tasks(_SUITE.value, _TASKS.value)
    measure_missing(
        names,
        pathlib.Path(_OUTPUT.value),
        episodes=_EPISODES.value,
        expert_episodes=_EXPERT_EPISODES.value,
        workers=_WORKERS.value,
        hours=_HOURS.value,
    )


def select_tasks(suite: str | None, tasks: Sequence[str]) -> list[str]:
    """Return the names of all runnable tasks.

    Args:
      suite: name of a suite to restrict the tasks to; None for all suites.
      tasks: names of tasks to restrict them to; empty for all.

    Raises:
      UsageError: no such suite or task.
    """
    if unknown := sorted(set(tasks) - set(task_names())):
        raise app.UsageError(f"--tasks={','.join(unknown)}: no such task. `gato tasks` lists all names.")
    measured = [name for name, listed in suites().items() if listed.tasks and listed.scores_of is None]
    if suite not in (None, *measured):
        raise app.UsageError(f"--suite={suite}: no such suite, expected one of {', '.join(measured)}.")
    names = [name for name in task_names() if name.split("/")[0] in (measured if suite is None else [suite])]
    return [name for name in names if status(name)[0] == "runnable" and (not tasks or name in tasks)]


def plan_of(task: str, episodes: int | None = None, expert_episodes: int | None = None) -> Plan:
    """Return the numbers of episodes of a task's scores: those of its suite, `episodes` or `expert_episodes`."""
    suite, domain, *_ = task.split("/")
    plan = PLANS.get(suite, Plan())
    if suite.startswith("dm_control") and domain in LONG_EPISODES:
        plan = dataclasses.replace(plan, expert=5, expert_seconds=LONG_EPISODES[domain])
    if task not in expert_names() or not issubclass(expert_class(task), AtariPlanner):
        plan = dataclasses.replace(plan, expert_steps=None)
    if episodes is not None:
        plan = dataclasses.replace(plan, random=episodes, constant=episodes, expert=episodes)
    return plan if expert_episodes is None else dataclasses.replace(plan, expert=expert_episodes)


def measure_missing(
    names: Sequence[str],
    path: pathlib.Path,
    *,
    episodes: int | None = None,
    expert_episodes: int | None = None,
    workers: int = 1,
    hours: float | None = None,
):
    """Measure the tasks that a table lacks or holds for another version, and write the table after each of them.

    Args:
      names: names of the tasks.
      path: file of the table.
      episodes: number of episodes of each score. A score of fewer is measured again. None takes PLANS of the suite.
      expert_episodes: number of episodes of the expert's score. None takes `episodes`.
      workers: number of processes; 1 measures in this process.
      hours: time after which no further task is begun; None for no limit. The tasks that are begun are finished.

    Raises:
      MeasurementError: tasks could not be measured. It is raised after all others.
    """
    deadline = time.monotonic() + (float("inf") if hours is None else 3600 * hours)
    table = read_table(path)
    plans = {name: plan_of(name, episodes, expert_episodes) for name in names}
    missing = [name for name in names if not _is_measured(table.get(name), plans[name])]
    seconds = {name: round(plans[name].missing_seconds(table.get(name)), 1) for name in missing}
    missing.sort(key=lambda name: (_has_scores(table.get(name)), seconds[name], _published(name) is None))
    # The bar counts the expected seconds, so that the time left allows for suites that take longer than others.
    bar_format = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    with tqdm(total=sum(seconds.values()), bar_format=bar_format) as bar:
        measure = functools.partial(measure_task, episodes=episodes, expert_episodes=expert_episodes, table=table)
        failed: dict[str, Exception] = {}
        for number, (task, entry) in enumerate(_run(measure, missing, workers, deadline), start=1):
            bar.update(seconds[task])
            bar.set_postfix_str(f"{number} of {len(missing)} tasks, {task}")
            if isinstance(entry, Exception):
                failed[task] = entry
                logging.error("%s: %r", task, entry)
                continue
            write_table({**read_table(path), entry.task: _combined(entry, table.get(entry.task))}, path)
    if failed:
        errors = "; ".join(f"{task} ({error!r})" for task, error in failed.items())
        raise MeasurementError(f"{len(failed)} of {len(missing)} tasks could not be measured: {errors}")


def merge(source: pathlib.Path, path: pathlib.Path):
    """Add the entries of a table that was measured elsewhere to another one.

    Entries of a version that is not installed are left out. Of two entries of one version, each score is that of more
    episodes.

    Args:
      source: file of the table to read.
      path: file of the table to write.

    Raises:
      UsageError: there is no file `source`.
    """
    if not source.exists():
        raise app.UsageError(f"--merge={source}: no such file. Name a table that --output has written.")
    table = read_table(path)
    for task, entry in read_table(source).items():
        if entry.version == installed_version(task):
            table[task] = _combined(entry, table.get(task))
    write_table(table, path)


def _combined(entry: References, held: References | None) -> References:
    """Return a new entry with the scores of more episodes of the one that is replaced, if both are of one version.

    The score of an expert that is not the task's present one gives way to that of the other.
    """
    if held is None or held.version != entry.version:
        return entry
    if entry.expert and held.expert and entry.expert_agent != held.expert_agent:
        if held.expert_agent == description(entry.task):
            entry = entry.without_expert()
        else:
            held = held.without_expert()
    return entry.combined_with(held)


def measure_task(
    task: str,
    episodes: int | None = None,
    expert_episodes: int | None = None,
    table: Mapping[str, References] | None = None,
) -> References:
    """Measure one task and add its published scores, if it is one of the 57 Atari games that have them.

    Args:
      task: name of the task.
      episodes: number of episodes of each score. None takes PLANS of the suite.
      expert_episodes: number of episodes of the expert's score. None takes `episodes`.
      table: {task: entry that is replaced}. Of another version of the task, no fewer episodes are played. Of the same
        version, scores of enough episodes are kept.
    """
    plan, held = plan_of(task, episodes, expert_episodes), (table or {}).get(task)
    known = held if held is not None and held.version == installed_version(task) else None
    if held is not None and known is None:
        plan = dataclasses.replace(
            plan,
            random=max(plan.random, held.random.episodes),
            constant=max(plan.constant, held.constant.episodes),
            expert=max(plan.expert, held.expert.episodes if held.expert else 0) if plan.expert else 0,
        )
    numbers = {"episodes": episodes, "expert_episodes": expert_episodes}
    given = "".join(f" --{name}={number}" for name, number in numbers.items() if number is not None)
    command = f"python -m experiments.reference_scores --tasks={task}{given}"
    references = measure_references(
        task,
        episodes=plan.random,
        constant_episodes=plan.constant,
        expert_episodes=plan.expert,
        expert_steps=plan.expert_steps,
        known=known,
        command=command,
    )
    published = _published(task)
    if published is None:
        return references
    return dataclasses.replace(references, human=published["human"], published_random=published["random"])


def _published(task: str) -> Mapping[str, float] | None:
    """Return the published scores of a task, {"human", "random"}; None if there are none."""
    suite, _, game = task.partition("/")
    return json.loads(PUBLISHED.read_text()).get(game) if suite == "atari" else None


def _has_scores(entry: References | None) -> bool:
    """Return True if an entry has scores, also of the expert if its task has one."""
    return entry is not None and (entry.expert is not None or entry.task not in expert_names())


def _is_measured(entry: References | None, plan: Plan) -> bool:
    """Return True if an entry is of the installed version of its task and has the episodes of a plan."""
    if entry is None or entry.version != installed_version(entry.task):
        return False
    wanted = ["random", "constant", *(["expert"] if entry.task in expert_names() else [])]
    return all(plan.is_measured(entry, kind) for kind in wanted)


def _run(
    function: Callable[[str], References], tasks: Sequence[str], workers: int, deadline: float
) -> Iterator[tuple[str, References | Exception]]:
    """Yield each task with the result of `function`, or its error, as they end; with one worker, in this process.

    No call begins after `deadline`, a time of `time.monotonic`.

    Raises:
      BrokenProcessPool: a worker process died.
    """
    in_time = itertools.takewhile(lambda _: time.monotonic() < deadline, tasks)
    if workers == 1:
        for task in in_time:
            try:
                result = function(task)
            except Exception as error:
                result = error
            yield task, result
        return
    context = multiprocessing.get_context("spawn")  # MuJoCo and ALE do not survive a fork
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(function, task): task for task in itertools.islice(in_time, workers)}
        while running:
            done, _ = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            ended = [(running.pop(future), future) for future in done]
            running |= {pool.submit(function, task): task for task in itertools.islice(in_time, len(done))}
            for task, future in ended:
                error = future.exception()
                if isinstance(error, BrokenProcessPool):
                    raise error
                yield task, error if isinstance(error, Exception) else future.result()


if __name__ == "__main__":
    app.run(main)
