"""Measurement of the committed table of reference scores, gato_jax/evaluation/reference_scores.jsonl.

    .venv/bin/python -m experiments.reference_scores --workers=2

It measures what the table lacks, holds for another version, for another expert or over too few episodes: random play,
constant actions, the expert with the time of its episodes. It writes the table after each task; killed and run again,
it goes on with the next one. Tasks without scores come first, and short ones before long ones. With --hours, no task is
begun after that time. Suites whose scores are those of another suite are not measured.

The wall time of an expert that computes on several cores is right with --workers=1 only; its processor time always is.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import itertools
import json
import multiprocessing
import pathlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags
from tqdm import tqdm

from gato_jax.environments import status, suites, task_names
from gato_jax.evaluation import References, measure_references, read_table, write_table
from gato_jax.evaluation.measurement import has_episodes
from gato_jax.evaluation.reference_table import COMMITTED
from gato_jax.evaluation.references import installed_version
from gato_jax.experts import expert_names

_SUITE = flags.DEFINE_string("suite", None, "Measure only the tasks of this suite.")
_TASKS = flags.DEFINE_list("tasks", [], "Names of the tasks to measure, comma-separated. Default: every runnable task.")
_EPISODES = flags.DEFINE_integer(
    "episodes",
    None,
    "Number of episodes of each score; scores of fewer are measured again. Default: PLANS of the suite.",
    lower_bound=1,
)
_WORKERS = flags.DEFINE_integer("workers", 2, "Number of tasks that are measured at the same time.", lower_bound=1)
_HOURS = flags.DEFINE_float(
    "hours", None, "Hours after which no further task is begun. Default: no limit.", lower_bound=0.0
)
_OUTPUT = flags.DEFINE_string("output", str(COMMITTED), "File of the table.")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Plan:
    """Numbers of episodes of the scores of each task of a suite, and how long they take.

    Attributes:
      random: Episodes of random play: at least 20, or 5 where an episode takes minutes.
      constant: Episodes of each of the best constant actions.
      expert: Episodes of the expert: 20, or 5 where an episode takes minutes.
      seconds: Rough time of an episode of random play on one core, for the order of the tasks and the progress bar.
      expert_seconds: The same for an episode of the expert.
    """

    random: int = 20
    constant: int = 5
    expert: int = 20
    seconds: float = 1.0
    expert_seconds: float = 1.0

    @property
    def total_seconds(self) -> float:
        """Rough time of a task of the suite, with the screening of constant actions."""
        return (self.random + 2 * self.constant + 2) * self.seconds + self.expert * self.expert_seconds


PLANS = {
    "adroit": Plan(seconds=0.2),
    "atari": Plan(expert=5, seconds=3.0, expert_seconds=1200.0),
    "atari_extended": Plan(expert=5, seconds=3.0, expert_seconds=1200.0),
    "atari_short": Plan(expert=5, seconds=1.0, expert_seconds=80.0),
    "babyai": Plan(constant=20, seconds=0.2, expert_seconds=0.1),
    "dm_control": Plan(seconds=3.0, expert_seconds=20.0),
    "dm_control_random_large": Plan(seconds=4.0, expert_seconds=20.0),
    "dm_control_random_small": Plan(seconds=4.0, expert_seconds=20.0),
    "fetch": Plan(seconds=0.5, expert_seconds=0.5),
    "fetch_state": Plan(seconds=0.1, expert_seconds=0.3),
    "kitchen": Plan(seconds=1.0),
    "manipulation": Plan(seconds=2.0),
    "meta_world": Plan(constant=20, seconds=1.0, expert_seconds=0.3),
    "miniworld": Plan(seconds=1.0),
    "modular_rl": Plan(constant=20, seconds=0.3),
    "procgen": Plan(constant=20, seconds=0.1),
    "procgen_easy": Plan(constant=20, seconds=0.1),
    "pusht": Plan(seconds=1.0),
    "rgb_stacking": Plan(seconds=10.0),
    "sokoban": Plan(seconds=0.5),
    "vizdoom": Plan(seconds=1.0),
}
PUBLISHED = pathlib.Path(__file__).parents[1] / "third_party" / "dqn_zoo" / "atari_random_human.json"


def main(argv: list[str]):
    """Measure the tasks that the flags select."""
    del argv
    names = select_tasks(_SUITE.value, _TASKS.value)
    measure_missing(
        names, pathlib.Path(_OUTPUT.value), episodes=_EPISODES.value, workers=_WORKERS.value, hours=_HOURS.value
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


def plan_of(task: str, episodes: int | None = None) -> Plan:
    """Return the numbers of episodes of a task's scores: those of its suite, or `episodes` of each score."""
    plan = PLANS.get(task.split("/")[0], Plan())
    return plan if episodes is None else dataclasses.replace(plan, random=episodes, constant=episodes, expert=episodes)


def measure_missing(
    names: Sequence[str],
    path: pathlib.Path,
    *,
    episodes: int | None = None,
    workers: int = 1,
    hours: float | None = None,
):
    """Measure the tasks that a table lacks or holds for another version, and write the table after each of them.

    Args:
      names: names of the tasks.
      path: file of the table.
      episodes: number of episodes of each score. A score of fewer is measured again. None takes PLANS of the suite.
      workers: number of processes; 1 measures in this process.
      hours: time after which no further task is begun; None for no limit. The tasks that are begun are finished.
    """
    deadline = time.monotonic() + (float("inf") if hours is None else 3600 * hours)
    table = read_table(path)
    missing = [name for name in names if not _is_measured(table.get(name), plan_of(name, episodes))]
    missing.sort(key=lambda name: (name in table, plan_of(name, episodes).total_seconds))
    seconds = {name: round(plan_of(name, episodes).total_seconds, 1) for name in missing}
    # The bar counts the expected seconds, so that the time left allows for suites that take longer than others.
    bar_format = "{percentage:3.0f}%|{bar}| {elapsed}, {remaining} left{postfix}"
    with tqdm(total=sum(seconds.values()), bar_format=bar_format) as bar:
        measure = functools.partial(measure_task, episodes=episodes, table=table)
        for number, entry in enumerate(_run(measure, missing, workers, deadline), start=1):
            held = table.get(entry.task)
            if held is not None and held.version == entry.version:
                if held.expert_agent != entry.expert_agent:
                    held = dataclasses.replace(held, expert=None, expert_agent=None, expert_time=None)
                entry = entry.combined_with(held)
            write_table({**read_table(path), entry.task: entry}, path)
            bar.set_postfix_str(f"{number} of {len(missing)} tasks, {entry.task}")
            bar.update(seconds[entry.task])


def measure_task(task: str, episodes: int | None = None, table: Mapping[str, References] | None = None) -> References:
    """Measure one task and add its published scores, if it is one of the 57 Atari games that have them.

    Args:
      task: name of the task.
      episodes: number of episodes of each score. None takes PLANS of the suite.
      table: {task: entry that is replaced}. Of another version of the task, no fewer episodes are played. Of the same
        version, scores of enough episodes are kept.
    """
    suite, _, game = task.partition("/")
    plan, held = plan_of(task, episodes), (table or {}).get(task)
    known = held if held is not None and held.version == installed_version(task) else None
    if held is not None and known is None:
        plan = dataclasses.replace(
            plan,
            random=max(plan.random, held.random.episodes),
            constant=max(plan.constant, held.constant.episodes),
            expert=max(plan.expert, held.expert.episodes if held.expert else 0),
        )
    command = f"python -m experiments.reference_scores --tasks={task}" + (f" --episodes={episodes}" if episodes else "")
    references = measure_references(
        task,
        episodes=plan.random,
        constant_episodes=plan.constant,
        expert_episodes=plan.expert,
        known=known,
        command=command,
    )
    published = json.loads(PUBLISHED.read_text()).get(game) if suite == "atari" else None
    if published is None:
        return references
    return dataclasses.replace(references, human=published["human"], published_random=published["random"])


def _is_measured(entry: References | None, plan: Plan) -> bool:
    """Return True if an entry is of the installed version of its task and has the episodes of a plan."""
    if entry is None or entry.version != installed_version(entry.task):
        return False
    wanted = {"random": plan.random, "constant": plan.constant}
    if entry.task in expert_names():
        wanted["expert"] = plan.expert
    return all(has_episodes(entry, kind, number) for kind, number in wanted.items())


def _run(
    function: Callable[[str], References], tasks: Sequence[str], workers: int, deadline: float
) -> Iterator[References]:
    """Call `function` on each task, and yield the results as they are finished; with one worker, in this process.

    No call begins after `deadline`, a time of `time.monotonic`.
    """
    in_time = itertools.takewhile(lambda _: time.monotonic() < deadline, tasks)
    if workers == 1:
        yield from map(function, in_time)
        return
    context = multiprocessing.get_context("spawn")  # MuJoCo and ALE do not survive a fork
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        running = {pool.submit(function, task) for task in itertools.islice(in_time, workers)}
        while running:
            done, running = concurrent.futures.wait(running, return_when=concurrent.futures.FIRST_COMPLETED)
            running |= {pool.submit(function, task) for task in itertools.islice(in_time, len(done))}
            yield from (future.result() for future in done)


if __name__ == "__main__":
    app.run(main)
