"""The verb `gato tasks`: list the registered tasks with their experts and reference scores."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import write_json

with epy.lazy_imports():
    from gato_jax.environments import registry
    from gato_jax.environments.paper import accounting
    from gato_jax.evaluation import task_list


def tasks(flag: flags.FlagValues, argv: Sequence[str]):
    """List every registered task: whether it runs here, its expert and its reference scores; or the paper's tasks."""
    flags.DEFINE_string("suite", None, "Suite to list. Default: all suites.", flag_values=flag)
    flags.DEFINE_bool(
        "paper",
        False,
        "List the 604 tasks of the paper, with the registered task that is or stands for each.",
        flag_values=flag,
    )
    flags.DEFINE_string("json", None, "File for the list as JSON.", flag_values=flag)
    parse_flags(flag, argv)
    suites = registry.suites()
    if flag.suite not in (None, *suites):
        raise UsageError(f"--suite: no suite {flag.suite!r}, expected one of {', '.join(suites)}.")
    if flag.paper:
        of_paper = [
            task for task in accounting.account() if flag.suite in (None, (task.runs or task.name).split("/")[0])
        ]
        write_json(flag.json, accounting.to_json(of_paper))
        print("\n".join(accounting.format_account(of_paper)))
        return
    rows = task_list.describe_tasks(name for name in registry.task_names() if flag.suite in (None, name.split("/")[0]))
    write_json(flag.json, {"tasks": rows})
    listed = [suite for name, suite in suites.items() if flag.suite in (None, name)]
    print("\n".join([*task_list.format_tasks(rows), *task_list.further_tasks(listed)]))
