"""The verb `gato evaluate`: play the agent of a run and put its scores beside the reference scores."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime import devices
from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import write_json

with epy.lazy_imports():
    from gato_jax import environments, evaluation, policy
    from gato_jax.evaluation import agent_results


def evaluate(flag: flags.FlagValues, argv: Sequence[str]):
    """Play the agent of a run and compare its scores with random play, the best constant action and the expert."""
    flags.DEFINE_string("workdir", None, "Folder of the run.", flag_values=flag)
    flags.DEFINE_list(
        "tasks", [], "Names of the tasks to play, comma-separated. Default: all control tasks of the agent.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer("episodes", 50, "Number of episodes to play of each task.", lower_bound=1, flag_values=flag)
    flags.DEFINE_bool(
        "measure_references", False,
        "Measure the reference scores that the committed table lacks, or holds for another version of a task.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "reference_episodes", 20, "Number of episodes of each reference score that is measured.", lower_bound=1,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "environments", 10, "Number of episodes that are played side by side.", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_float(
        "temperature", 1.0, "Temperature of sampling the actions; 0 takes the most probable ones.", lower_bound=0.0,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string("json", None, "File for the scores. Default: results.json in --workdir.", flag_values=flag)
    parse_flags(flag, argv, required=("workdir",))
    workdir = as_path(flag.workdir)
    if workdir.is_file():
        raise UsageError(f"--workdir={workdir} is a file, expected the folder of a run. Name a folder.")
    available = len(environments.EVALUATION_SEEDS)
    if flag.episodes > available:
        raise UsageError(f"--episodes is {flag.episodes}, expected at most {available}. Play fewer episodes.")
    path = as_path(flag.json or workdir / "results.json")
    kept = {} if flag.json else _other_fields(path)
    devices.print_devices()
    agent = policy.Agent.restore(workdir)
    references = evaluation.gather_references(
        agent_results.playable_tasks(agent, flag.tasks),
        workdir,
        measure_episodes=flag.reference_episodes if flag.measure_references else None,
    )
    results = {}
    for name, result in agent_results.evaluate_agent(
        agent, references, workdir / "rollouts",
        episodes=flag.episodes, environments=flag.environments, temperature=flag.temperature,
    ):  # fmt: skip
        results[name] = result
        print(f"{name}: {_describe(result)}")
    totals = evaluation.aggregate(results)
    write_json(path, {**kept, "tasks": results, "aggregate": totals})
    if totals["tasks"]:
        print(f"mean normalised score {totals['mean']:.2f} over {totals['tasks']} of {len(results)} tasks")
    print(f"scores in {path}, rollouts in {workdir / 'rollouts'}")


def _other_fields(path: pathlib.Path) -> dict[str, Any]:
    """Return all fields of an existing results.json, so that those of other origin can be kept; {} without a file.

    Raises:
      UsageError: the file is not JSON or holds no object.
    """
    if not path.exists():
        return {}
    try:
        fields = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(f"{path} is not JSON ({error}). Delete the file, or name another one with --json.") from None
    if not isinstance(fields, dict):
        raise UsageError(f"{path} is {fields!r:.40}, expected an object. Delete it, or name another file with --json.")
    return fields


def _describe(result) -> str:
    """Return the score in one task's entry of results.json, e.g. `0.873 (normalised 0.91)`.

    Without an expert that beats random play, it is e.g. `0.873 (no normalised score)`.
    """
    if result["normalised"] is None:
        return f"{result['agent']:.3g} (no normalised score)"
    return f"{result['agent']:.3g} (normalised {result['normalised']:.2f})"
