"""Measures the committed table of reference scores, gato_jax/evaluation/reference_scores.jsonl.

    .venv/bin/python -m experiments.reference_scores --workers=2

It measures only what is missing or was measured on another version of the task, and writes the table after each task.
Killed and run again, it goes on with the next task.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import json
import multiprocessing
import pathlib

from absl import app, flags
from tqdm import tqdm

from gato_jax.environments import status, task_names
from gato_jax.evaluation.measurement import measure_references
from gato_jax.evaluation.references import TABLE, References, is_installed_version, read_table, write_table

_SUITE = flags.DEFINE_string("suite", None, "Measure only the tasks of this suite.")
_TASKS = flags.DEFINE_list("tasks", [], "Names of the tasks to measure, comma-separated. Default: every runnable task.")
_EPISODES = flags.DEFINE_integer("episodes", None, "Number of episodes of each score. Default: EPISODES of the suite.")
_WORKERS = flags.DEFINE_integer("workers", 2, "Number of tasks that are measured at the same time.", lower_bound=1)
_OUTPUT = flags.DEFINE_string("output", str(TABLE), "File of the table.")

# Episodes of 1,000 steps are few, so that the whole table takes about an hour of one core.
EPISODES = {"meta_world": 10, "babyai": 10, "fetch": 10, "dm_control": 5, "atari": 5}
PUBLISHED = pathlib.Path(__file__).parents[1] / "third_party" / "dqn_zoo" / "atari_random_human.json"


def main(argv: list[str]):
    """Measure what is missing, in worker processes, and keep the table up to date."""
    path = pathlib.Path(_OUTPUT.value)
    table = read_table(path)
    names = [name for name in _selected() if name not in table or not is_installed_version(table[name])]
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(_WORKERS.value, mp_context=context) as pool:
        futures = {
            pool.submit(_measure, name, _EPISODES.value or EPISODES[name.partition("/")[0]]): name for name in names
        }
        with tqdm(total=len(names), unit="task") as bar:
            for future in concurrent.futures.as_completed(futures):
                table = {**read_table(path), futures[future]: future.result()}
                write_table(table, path)
                bar.set_postfix_str(futures[future])
                bar.update()


def _selected() -> list[str]:
    """Return the names that the flags select, the suites with short episodes first."""
    unknown = sorted(set(_TASKS.value) - set(task_names()))
    if unknown:
        raise app.UsageError(f"--tasks={','.join(unknown)}: no such task. `gato tasks` lists all names.")
    if _SUITE.value is not None and _SUITE.value not in EPISODES:
        raise app.UsageError(f"--suite={_SUITE.value}: no such suite, expected one of {', '.join(EPISODES)}.")
    names = [name for suite in EPISODES for name in task_names() if name.startswith(f"{suite}/")]
    return [
        name
        for name in names
        if status(name)[0] == "runnable"
        and _SUITE.value in (None, name.partition("/")[0])
        and (not _TASKS.value or name in _TASKS.value)
    ]


def _measure(task: str, episodes: int) -> References:
    """Measure one task and add the published scores."""
    suite, _, game = task.partition("/")
    command = f"python -m experiments.reference_scores --tasks={task} --episodes={episodes}"
    references = measure_references(task, episodes=episodes, command=command)
    published = json.loads(PUBLISHED.read_text()).get(game) if suite == "atari" else None
    if published is None:
        return references
    return dataclasses.replace(references, human=published["human"], published_random=published["random"])


if __name__ == "__main__":
    app.run(main)
