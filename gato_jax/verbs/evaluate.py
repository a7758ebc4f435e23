"""The verb `gato evaluate`: play the agent of a run and put its scores beside the reference scores."""

from __future__ import annotations

import logging
import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import Interruption, devices, interruptible
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import as_path
from gato_jax.verbs.decoding import define_decoding, read_decoding
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.renderers import choose_renderer, define_renderer
from gato_jax.verbs.runs import require_run

with epy.lazy_imports():
    from gato_jax import environments, evaluation, policy
    from gato_jax.evaluation import agent_results

_log = logging.getLogger(__name__)


def evaluate(flag: flags.FlagValues, argv: Sequence[str]):
    """Play the agent of a run and compare its scores with random play, the best constant action and the expert.

    Run it again to resume after an interruption. Several calls with different --tasks add their scores to one file.
    """
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
    define_decoding(flag)
    define_renderer(flag)
    flags.DEFINE_string(
        "json", None, "File to add the scores to. Default: results.json in --workdir.", flag_values=flag
    )
    parse_flags(flag, argv, required=("workdir",))
    available = len(environments.EVALUATION_SEEDS)
    if flag.episodes > available:
        raise UsageError(f"--episodes is {flag.episodes}, expected at most {available}. Play fewer episodes.")
    workdir = require_run("workdir", flag.workdir)
    path = as_path(flag.json or workdir / "results.json")
    with interruptible(GO_ON) as interruption, interruption.at_once():
        _log.info("evaluate: loading the agent of %s", workdir)
        _evaluate(flag, workdir, path, interruption)


def _evaluate(flag: flags.FlagValues, workdir: pathlib.Path, path: pathlib.Path, interruption: Interruption):
    """Play the tasks of the flags, and print the scores and add them to the file `path` after each task."""
    choose_renderer(flag)
    evaluation.read_results_file(path)
    devices.print_devices()
    agent = policy.Agent.restore(workdir, decoding=read_decoding(flag))
    tasks = agent_results.playable_tasks(agent, flag.tasks)
    prompts = evaluation.open_demonstrations(agent, workdir, tasks, flag.prompt)
    played_by = evaluation.PlayedBy(
        step=agent.step, digest=agent.digest, temperature=flag.temperature, prompt=prompts.mode
    )
    _log.info("evaluate: step %d, %d episodes of each of %d tasks", agent.step, flag.episodes, len(tasks))
    with evaluation.evaluation_lock(workdir), evaluation.ScoreJournal(workdir, played_by) as journal:
        interruption.farewell = f"The finished episodes are kept in {workdir / 'evaluation'}. {GO_ON}"
        references = evaluation.gather_references(
            tasks, workdir, measure_episodes=flag.reference_episodes if flag.measure_references else None
        )
        for name, result in agent_results.evaluate_agent(
            agent, references, workdir / "rollouts",
            episodes=flag.episodes, environments=flag.environments, temperature=flag.temperature, journal=journal,
            prompts=prompts,
        ):  # fmt: skip
            merged = evaluation.merge_results(evaluation.read_results_file(path), played_by, {name: result})
            evaluation.write_results_file(path, merged)
            print(f"{name}: {evaluation.describe_task(result)}", flush=True)
    known = merged["tasks"]
    print(*evaluation.summary_lines(merged), sep="\n")
    if others := [name for name in known if name not in tasks]:
        print(f"with the scores of an earlier evaluation of this checkpoint: {', '.join(others)}")
    if left := sorted({name for group in merged.get("earlier", []) for name in group["tasks"]} - known.keys()):
        print(f"of other checkpoints, temperatures or prompts only, and left out: {', '.join(left)}")
    print(f"scores in {path}, rollouts in {workdir / 'rollouts'}")
