"""`gato evaluate`: the agent of a run plays, and its scores are put beside the references."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Sequence

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import watched, write_json


def evaluate(flag: flags.FlagValues, argv: Sequence[str]):
    """Plays the agent of a run, beside random play, the best constant action and the expert."""
    flags.DEFINE_string("workdir", None, "folder of the run", flag_values=flag)
    flags.DEFINE_list("tasks", [], "names, comma-separated; all control tasks of the agent otherwise", flag_values=flag)
    flags.DEFINE_integer("episodes", 50, "of each task", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("reference_episodes", 20, "behind each reference score", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer("environments", 10, "played side by side", lower_bound=1, flag_values=flag)
    flags.DEFINE_float("temperature", 1.0, "of sampling; 0 is greedy", lower_bound=0.0, flag_values=flag)
    flags.DEFINE_string("json", None, "write the scores here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "workdir")
    workdir = pathlib.Path(flag.workdir)
    if workdir.is_file():
        raise UsageError(f"--workdir={workdir} is a file; name a run's folder, which scores and rollouts go to as well")
    from functools import partial

    from gato_jax.environments import EVALUATION_SEEDS, load, task_names, task_spec
    from gato_jax.evaluation import aggregate, measure_references, save_rollout, task_result
    from gato_jax.experts import expert
    from gato_jax.policy import Agent, AgentActor
    from gato_jax.rollouts import play

    agent = Agent.restore(workdir)
    names = flag.tasks or [name for name in agent.contract.tasks if name in task_names()]
    if not names:
        raise UsageError(f"{workdir}: the agent knows no task to play, only {', '.join(agent.contract.tasks)}")
    for name in names:  # nothing is played before every task is known to be the agent's and to have an expert
        agent.require_task(task_spec(name))
        expert(name)
    how = {"episodes": flag.reference_episodes, "directory": workdir / "references"}
    references = {name: measure_references(name, **how) for name in names}
    for measured in references.values():
        measured.require_scale()
    results = {}
    for name in names:
        starts = [(name, seed) for seed in EVALUATION_SEEDS[: flag.episodes]]
        actor = partial(AgentActor, agent, temperature=flag.temperature)
        playing = play(actor, starts, environments=flag.environments, frames=1)
        episodes = list(watched(playing, total=len(starts), desc=f"evaluate {name}", unit="episode"))
        save_rollout(episodes[0], load(name).action_names, workdir / "rollouts")
        results[name] = task_result(episodes, references[name])
        print(f"{name}: {results[name]['agent']:.3g} (normalised {results[name]['normalised']:.2f})")
    path = pathlib.Path(flag.json or workdir / "results.json")
    kept = json.loads(path.read_text()) if path.exists() and not flag.json else {}  # what the run's script put there
    write_json(path, {**kept, "tasks": results, "aggregate": aggregate(results)})
    print(f"scores in {path}, rollouts in {workdir / 'rollouts'}")
