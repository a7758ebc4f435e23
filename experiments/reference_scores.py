"""Measurement of the committed table of reference scores, gato_jax/evaluation/reference_scores.jsonl.

    .venv/bin/python -m experiments.reference_scores --workers=2

It measures the tasks that the table lacks or holds for another version, and writes the table after each task.
Killed and run again, it goes on with the next task. All tasks take about an hour on one core.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import json
import multiprocessing
import pathlib
from collections.abc import Callable, Iterator, Mapping, Sequence

from absl import app, flags
from tqdm import tqdm

from gato_jax.environments import status, task_names
from gato_jax.evaluation import References, measure_references, read_table, write_table
from gato_jax.evaluation.reference_table import COMMITTED
from gato_jax.evaluation.references import installed_version

_SUITE = flags.DEFINE_string("suite", None, "Measure only the tasks of this suite.")
_TASKS = flags.DEFINE_list("tasks", [], "Names of the tasks to measure, comma-separated. Default: every runnable task.")
_EPISODES = flags.DEFINE_integer(
    "episodes",
    None,
    "Number of episodes of each score; tasks with fewer are measured again. Default: EPISODES of the suite.",
    lower_bound=1,
)
_WORKERS = flags.DEFINE_integer("workers", 2, "Number of tasks that are measured at the same time.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", str(COMMITTED), "File of the table.")

# (episodes of random play and of constant actions, episodes of the expert). They are few, so that the whole table can
# be measured on a small machine; --episodes=N measures those again that have fewer than N.
EPISODES = {
    "meta_world": (5, 10), "babyai": (10, 20), "fetch": (10, 10), "dm_control": (5, 5), "atari_short": (5, 5),
    "atari": (20, 10), "atari_extended": (20, 10),
}  # fmt: skip
PUBLISHED = pathlib.Path(__file__).parents[1] / "third_party" / "dqn_zoo" / "atari_random_human.json"


def main(argv: list[str]):
    """Measure the tasks that the flags select."""
    del argv
    names = select_tasks(_SUITE.value, _TASKS.value)
    measure_missing(names, pathlib.Path(_OUTPUT.value), episodes=_EPISODES.value, workers=_WORKERS.value)


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
    if suite not in (None, *EPISODES):
        raise app.UsageError(f"--suite={suite}: no such suite, expected one of {', '.join(EPISODES)}.")
    suites = EPISODES if suite is None else [suite]
    names = [name for suite in suites for name in task_names() if name.startswith(f"{suite}/")]
    return [name for name in names if status(name)[0] == "runnable" and (not tasks or name in tasks)]


def measure_missing(names: Sequence[str], path: pathlib.Path, *, episodes: int | None = None, workers: int = 1):
    """Measure the tasks that a table lacks or holds for another version, and write the table after each of them.

    Args:
      names: names of the tasks.
      path: file of the table.
      episodes: number of episodes of each score. A task with fewer is measured again. None takes EPISODES of the suite.
      workers: number of processes; 1 measures in this process.
    """
    table = read_table(path)
    missing = [name for name in names if not _is_measured(table.get(name), episodes)]
    with tqdm(total=len(missing), unit="task") as bar:
        for entry in _run(functools.partial(measure_task, episodes=episodes, table=table), missing, workers):
            held = table.get(entry.task)
            if held is not None and held.version == entry.version:
                entry = entry.combined_with(held)
            write_table({**read_table(path), entry.task: entry}, path)
            bar.set_postfix_str(entry.task)
            bar.update()


def measure_task(task: str, episodes: int | None = None, table: Mapping[str, References] | None = None) -> References:
    """Measure one task and add its published scores, if it is one of the 57 Atari games that have them.

    Args:
      task: name of the task.
      episodes: number of episodes of each score. None takes EPISODES of the suite.
      table: {task: entry that is replaced}. Of another version of the task, no fewer episodes are played.
    """
    suite, _, game = task.partition("/")
    baseline, expert = (episodes, episodes) if episodes else EPISODES[suite]
    held = (table or {}).get(task)
    if held is not None and held.version != installed_version(task):
        baseline = max(baseline, held.random.episodes)
        expert = max(expert, held.expert.episodes if held.expert else 0)
    command = f"python -m experiments.reference_scores --tasks={task}" + (f" --episodes={episodes}" if episodes else "")
    references = measure_references(task, episodes=baseline, expert_episodes=expert, command=command)
    published = json.loads(PUBLISHED.read_text()).get(game) if suite == "atari" else None
    if published is None:
        return references
    return dataclasses.replace(references, human=published["human"], published_random=published["random"])


def _is_measured(entry: References | None, episodes: int | None) -> bool:
    """Return True if an entry is of the installed version of its task and has at least this number of episodes."""
    return (
        entry is not None
        and entry.random.episodes >= (episodes or 1)
        and entry.version == installed_version(entry.task)
    )


def _run(function: Callable[[str], References], tasks: Sequence[str], workers: int) -> Iterator[References]:
    """Call `function` on each task, and yield the results as they are finished; with one worker, in this process."""
    if workers == 1:
        yield from map(function, tasks)
        return
    context = multiprocessing.get_context("spawn")  # MuJoCo and ALE do not survive a fork
    with concurrent.futures.ProcessPoolExecutor(workers, mp_context=context) as pool:
        for future in concurrent.futures.as_completed([pool.submit(function, task) for task in tasks]):
            yield future.result()


if __name__ == "__main__":
    app.run(main)
