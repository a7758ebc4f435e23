"""Script that writes docs/experts.md from the committed table of reference scores and the recipes of configs/collect/.

    python docs/list_experts.py

A test fails if the page is not up to date.
"""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))  # for configs

from configs.collect.recipe import hours_table
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
_SCORES = """## Scores

The score is a return, or the share of successful episodes of a task whose metric is success, marked by `%`. All
episodes have seeds that are neither recorded nor used for evaluation. Seconds are the wall time of an episode on the
given number of cores and, in brackets, its processor time; `-` where they have not been measured.
"""
_HOURS = """## Recipes and their hours

`gato collect --config=configs/collect/DOMAIN.py --output=DIR` records a row of the paper's Table 1: the tasks of the
paper, or those that stand for them, that have an expert. The hours follow from the processor times of the experts in
the table, of the tasks that have one (timed). Variants with images count the time of the task without them; add that of
their images.
"""


def page() -> str:
    """Return the text of the page."""
    entries = [entry for _, entry in sorted(read_table().items()) if entry.expert]
    lines = [_HEAD, _HOURS, *hours_table(), "", _SCORES]
    for suite, group in itertools.groupby(entries, key=lambda entry: entry.task.partition("/")[0]):
        lines += [f"### {suite}", "", "| task | expert | score | random | episodes | seconds an episode |"]
        lines += ["| --- | --- | --- | --- | --- | --- |", *map(_row, group), ""]
    return "\n".join(lines)


def _row(entry: References) -> str:
    expert, timed = entry.expert, entry.expert_time
    if expert is None:
        raise ValueError(f"{entry.task}: expert is None, expected a score. Leave the task out.")
    seconds = f"{timed.seconds:.3g} on {timed.cores} cores ({timed.cpu_seconds:.3g})" if timed else "-"
    score, random = (_score(value, entry.metric) for value in (expert.mean, entry.random.mean))
    return f"| `{entry.task}` | {entry.expert_agent} | {score} | {random} | {expert.episodes} | {seconds} |"


def _score(value: float, metric: str) -> str:
    return f"{100 * value:.4g}%" if metric == "success" else f"{value:.4g}"


if __name__ == "__main__":
    PAGE.write_text(page())
