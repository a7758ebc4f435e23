"""Table of the TaskSpecs that only a simulator knows, gato_jax/environments/task_specs.jsonl.

    .venv/bin/python -m experiments.task_specs --suites=atari,dm_control

It loads every task of the suites and writes their lines anew; those of other suites stay.
"""

from __future__ import annotations

from absl import app, flags
from tqdm import tqdm

from gato_jax.environments import registry
from gato_jax.environments.spec_table import read_spec, write_specs

_SUITES = flags.DEFINE_list("suites", None, "Suites whose specs are asked of the simulator. Default: all in the table.")


def main(_: list[str]):
    """Write the table."""
    suites = [suite for suite in registry.suites().values() if suite.specs_in_table]
    asked = {suite.name for suite in suites} if _SUITES.value is None else set(_SUITES.value)
    if unknown := sorted(asked - {suite.name for suite in suites}):
        raise app.UsageError(f"--suites: {', '.join(unknown)} not in the table, which has {[s.name for s in suites]}.")
    specs = []
    for suite in suites:
        if suite.name in asked:
            specs += [suite.spec(task) for task in tqdm(suite.tasks, desc=suite.name, unit="task")]
        else:
            specs += [read_spec(f"{suite.name}/{task}") for task in suite.tasks]
    write_specs(specs)


if __name__ == "__main__":
    app.run(main)
