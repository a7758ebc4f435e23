"""`gato collect`: experts play, and their episodes become datasets."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from absl import flags

from gato_jax.verbs.flags import parse_flags, require
from gato_jax.verbs.outputs import show_progress, write_json


def collect(flag: flags.FlagValues, argv: Sequence[str]):
    """Records experts into RLDS datasets, one for each task."""
    flags.DEFINE_list("tasks", [], "names, comma-separated", flag_values=flag)
    flags.DEFINE_integer("episodes", 100, "of each task", lower_bound=1, flag_values=flag)
    flags.DEFINE_string("output", None, "folder of the datasets", flag_values=flag)
    flags.DEFINE_float(
        "noise", None, "on executed actions; the expert's own default otherwise", lower_bound=0.0, flag_values=flag
    )
    flags.DEFINE_bool("successes_only", False, "keep successful episodes only", flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "replace a dataset that is there", flag_values=flag)
    flags.DEFINE_string("json", None, "write the counts here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "tasks", "output")
    from gato_jax.environments import RECORDING_SEEDS, task_spec
    from gato_jax.episodes import open_dataset, write_dataset
    from gato_jax.experts import expert, record

    specs = {name: task_spec(name) for name in flag.tasks}
    for name in flag.tasks:
        expert(name)  # a task without one is an error before the first is recorded
    report = {}
    for name, spec in specs.items():
        seeds = RECORDING_SEEDS[: flag.episodes]
        episodes = record(name, seeds, noise=flag.noise, successes_only=flag.successes_only)
        with contextlib.closing(
            show_progress(episodes, total=len(seeds), desc=f"record {name}", unit="episode")
        ) as played:
            directory = write_dataset(flag.output, spec, {"train": played}, overwrite=flag.overwrite)
        dataset = open_dataset(directory)
        successes = dataset.index.success[dataset.index.success >= 0]
        report[name] = {
            "episodes": len(dataset),
            "steps": int(dataset.acting_lengths.sum()),
            "return_mean": float(dataset.returns.mean()),
            "success_rate": float(successes.mean()) if len(successes) else None,
        }
        print(f"{name}: {len(dataset)} episodes in {directory}")
    write_json(flag.json, {"tasks": report})
