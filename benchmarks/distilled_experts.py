"""Score and time of the networks that were distilled from experts, each beside its teacher on the same episodes.

    python -m benchmarks.distilled_experts --episodes=5

The teacher may use all cores; times are of the processor, all threads together, and of the clock. The seeds are those
of reference scores, on which no network was trained or chosen. With --tasks, the other tasks keep their results.
"""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from absl import app, flags
from tqdm import tqdm

from benchmarks.record import RESULTS, write_result
from gato_jax.environments import REFERENCE_SEEDS, load
from gato_jax.experts import Expert, ExpertActor, description
from gato_jax.experts.distillation.policy import POLICIES
from gato_jax.experts.distillation.policy_file import SUFFIX, PolicyFile
from gato_jax.experts.registry import expert, teacher, teacher_description
from gato_jax.rollouts import play

_TASKS = flags.DEFINE_list("tasks", [], "Names of the tasks, comma-separated. Default: all with a committed network.")
_EPISODES = flags.DEFINE_integer("episodes", 5, "Number of episodes of each expert.", lower_bound=1)
NAME = "distilled_experts"


def main(argv: list[str]):
    """Measure the tasks that the flags select, and write the results after each."""
    del argv
    policies = {policy.about.task: policy for policy in map(PolicyFile.read, sorted(POLICIES.rglob(f"*{SUFFIX}")))}
    path = RESULTS / f"{NAME}.json"
    rows = json.loads(path.read_text())["tasks"] if path.exists() else {}
    if unknown := sorted(set(_TASKS.value) - policies.keys()):
        raise app.UsageError(f"--tasks holds {', '.join(unknown)}, expected some of {', '.join(policies)}.")
    for task in tqdm(_TASKS.value or policies):
        rows[task] = {
            "network": {"agent": description(task), **measure(task, expert, _EPISODES.value)},
            "teacher": {"agent": teacher_description(task), **measure(task, teacher, _EPISODES.value)},
            "trained_by": policies[task].about.command,
            "labels": policies[task].about.labels,
        }
        kept = {name: row for name, row in sorted(rows.items()) if name in policies}
        write_result(NAME, {"tasks": kept}, ("numpy", "mujoco", "dm-control"), announce=False)


def measure(task: str, make_expert: Callable[[str], Expert], episodes: int) -> dict[str, Any]:
    """Return scores of an expert over the first reference seeds, and the mean time of an episode in seconds."""
    load_it = functools.cache(load)
    load_it(task)
    begun = time.perf_counter(), time.process_time()
    make_actor = functools.partial(ExpertActor, make_expert=make_expert)
    played = play(make_actor, [(task, seed) for seed in REFERENCE_SEEDS[:episodes]], load=load_it)
    scores = [float(episode.score or 0.0) for episode in played]
    return {
        "mean": round(float(np.mean(scores)), 1),
        "std": round(float(np.std(scores, ddof=1)), 1) if episodes > 1 else 0.0,
        "episodes": episodes,
        "seconds": float(f"{(time.perf_counter() - begun[0]) / episodes:.3g}"),
        "cpu_seconds": float(f"{(time.process_time() - begun[1]) / episodes:.3g}"),
    }


if __name__ == "__main__":
    app.run(main)
