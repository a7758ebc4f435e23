"""Script that writes docs/experts.md from the committed table of reference scores and the recipes of configs/collect/.

    python docs/list_experts.py

A test fails if the page is not up to date.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for configs and experiments

from configs.collect.recipe import hours_table
from experiments.expert_goals import goals_table, suites_table
from gato_jax.evaluation import References, read_table

PAGE = Path(__file__).with_name("experts.md")
_HEAD = """# Experts

`python docs/list_experts.py` writes this page from `gato_jax/evaluation/reference_scores.jsonl`, which `python -m
experiments.reference_scores` measures, and from the recipes in `configs/collect/`.

An expert plays a task well without downloaded weights: a script, a solver, a planner, or a small network that was
trained here. Its episodes follow from task and seed, on any number of cores. `gato collect --tasks=TASK --output=DIR`
records them.

![Moments of one episode of an expert of each domain](experts.png)

`python docs/draw_experts.py` draws the picture: a row is an episode from its first step to its last.
"""
_SUMMARY = """## Suites

`tasks` is the number of the suite's tasks, and `random play` that of those with a score of random play and of the best
constant action. `experts` is the number of tasks with an expert, and `measured` that of those whose present expert has
a score. `mean success` and `lowest` are over the measured tasks with a criterion of success, the CPU seconds over those
whose episodes were played whole. Suites whose scores are those of another one are not listed.
"""
_GOALS = """## Goals

Each row counts the tasks whose present expert reaches a goal on average: `reached by` of those that are `measured`, of
all. Half of the human score is half of the way from random play to it. The highest return of a manipulation task is
250. Distances are those that the torso moves forwards in an episode. The range of Procgen's scores is that of
`third_party/procgen`.
"""
_SCORES = """## Scores

These are the experts whose scores have been measured; `gato tasks` lists all experts, also those without a score.

The score is a return, or the share of successful episodes of a task whose metric is success, marked by `%`. All
episodes have seeds that are neither recorded nor used for evaluation. Seconds are the wall time of an episode on the
given number of cores and, in brackets, its processor time; `-` where they have not been measured. Where episodes of a
slow planner were cut off, `cut` is how many of them, and after how many steps; the others ended before. A cut score is
no scale for the scores of an agent. `success` is the share of successful episodes where the score is the return.
"""
_OPTIONAL = (
    "human",
    "success",
    "distance",
    "cut",
    "frames a decision",
    "seconds a decision",
)  # columns of some suites only
_HOURS = """## Recipes and their hours

`gato collect --config=configs/collect/DOMAIN.py --output=DIR` records a row of the paper's Table 1: the tasks of the
paper, or those that stand for them, that have an expert. `tasks` is the number of the paper's tasks in the row, and
`timed` that of the recipe's tasks whose expert has a measured processor time of whole episodes, in the tables below.
The hours are those of the timed tasks alone, `-` if there are none; for the paper's episodes, all tasks are taken to
be as long as the timed ones on average. Variants with images count the time of the task without them; add that of
their images.
"""


def page() -> str:
    """Return the text of the page."""
    table = read_table()
    entries = [entry for _, entry in sorted(table.items()) if entry.expert]
    lines = [_HEAD, _SUMMARY, *suites_table(table), "", _GOALS, *goals_table(table), ""]
    lines += [_HOURS, *hours_table(), "", _SCORES]
    for suite, group in itertools.groupby(entries, key=lambda entry: entry.task.partition("/")[0]):
        rows = [_cells(entry) for entry in group]
        columns = [name for name in rows[0] if name not in _OPTIONAL or any(row[name] != "-" for row in rows)]
        lines += [f"### {suite}", "", f"| {' | '.join(columns)} |", f"|{' --- |' * len(columns)}"]
        lines += [*(f"| {' | '.join(row[name] for name in columns)} |" for row in rows), ""]
    return "\n".join(lines)


def _cells(entry: References) -> dict[str, str]:
    """Return the cells of a row, {column: text}, `-` where there is no value."""
    expert, timed, cut, decision = entry.expert, entry.expert_time, entry.expert_cut, entry.expert_decision
    if expert is None:
        raise ValueError(f"{entry.task}: expert is None, expected a score. Leave the task out.")
    return {
        "task": f"`{entry.task}`",
        "expert": entry.expert_agent or "-",
        "score": _score(expert.mean, entry.metric),
        "random": _score(entry.random.mean, entry.metric),
        "human": "-" if entry.human is None else _score(entry.human, entry.metric),
        "success": _score(expert.measures["success"], "success") if "success" in expert.measures else "-",
        "distance": _distance(entry),
        "episodes": str(expert.episodes),
        "cut": f"{cut.episodes} at {cut.steps:,}" if cut else "-",
        "frames a decision": f"{decision.frames:,.0f}" if decision else "-",
        "seconds a decision": f"{decision.seconds:.2g}" if decision else "-",
        "seconds an episode": f"{timed.seconds:.3g} on {timed.cores} cores ({timed.cpu_seconds:.3g})" if timed else "-",
    }


def _distance(entry: References) -> str:
    """Return the distances in metres of the expert and of the best constant action, `-` without them."""
    expert = entry.expert.measures.get("distance") if entry.expert else None
    constant = entry.constant.measures.get("distance")
    return "-" if expert is None or constant is None else f"{expert:.3g} m, constant action {constant:.2g} m"


def _score(value: float, metric: str) -> str:
    return f"{100 * value:.4g}%" if metric == "success" else f"{value:.4g}"


if __name__ == "__main__":
    PAGE.write_text(page())
