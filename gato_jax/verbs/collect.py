"""`gato collect`: an expert, random play or an agent plays, and its episodes become RLDS datasets."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import as_path
from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import show_progress, write_json

with epy.lazy_imports():
    from gato_jax import environments, episodes, experts, policy, rollouts


def collect(flag: flags.FlagValues, argv: Sequence[str]):
    """Play an actor and record its episodes as RLDS datasets, one for each task."""
    flags.DEFINE_list("tasks", [], "Names of the tasks to play, comma-separated.", flag_values=flag)
    flags.DEFINE_integer("episodes", 100, "Number of episodes of each task.", lower_bound=1, flag_values=flag)
    flags.DEFINE_string("output", None, "Folder to write the datasets to.", flag_values=flag)
    flags.DEFINE_enum(
        "actor", "expert", ["expert", "random"],
        "Actor that plays: the expert of each task, or uniformly random actions.", flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "noise", None, "Noise on the actions that the expert executes. Default: the expert's own.",
        lower_bound=0.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string(
        "policy", None,
        "Agent that plays instead of --actor: folder of a run, or a .safetensors file of `gato export`.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "temperature", 1.0, "Temperature of the agent's sampling; 0 takes the most probable action.",
        lower_bound=0.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "environments", 10, "Number of episodes that the agent plays side by side, without --workers.",
        lower_bound=1, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "workers", 0, "Number of processes that each play one episode at a time; 0 plays in this process.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool("successes_only", False, "Keep only the episodes that succeed.", flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "Replace datasets that exist already.", flag_values=flag)
    flags.DEFINE_string("json", None, "File to write the counts to.", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "tasks", "output")
    if not all(flag.tasks):
        raise UsageError("--tasks holds an empty name, expected names separated by single commas. Correct the list.")
    _require_seeds(flag.episodes)
    for name in flag.tasks:
        environments.require_runnable(name)
    specs = {name: environments.task_spec(name) for name in flag.tasks}
    make_actor = _actor(flag, specs)
    for spec in specs.values():  # all datasets are checked before the first is recorded
        episodes.require_writable(flag.output, spec, overwrite=flag.overwrite)
    side_by_side = flag.environments if flag.policy and not flag.workers else 1
    report = {}
    for name, spec in specs.items():
        starts = [(name, seed) for seed in environments.RECORDING_SEEDS[: flag.episodes]]
        played = rollouts.play(
            make_actor, starts, environments=side_by_side, workers=flag.workers, skip_failures=flag.successes_only
        )
        if flag.successes_only:
            played = _successes(played, name)
        shown = show_progress(played, total=len(starts), desc=f"record {name}", unit="episode")
        with contextlib.closing(shown) as recorded:
            directory = episodes.write_dataset(flag.output, spec, {"train": recorded}, overwrite=flag.overwrite)
        dataset = episodes.open_dataset(directory)
        successes = dataset.index.success[dataset.index.success >= 0]
        report[name] = {
            "episodes": len(dataset),
            "steps": int(dataset.acting_lengths.sum()),
            "return_mean": float(dataset.returns.mean()),
            "success_rate": float(successes.mean()) if len(successes) else None,
        }
        print(f"{name}: {len(dataset)} episodes in {directory}")
    write_json(flag.json, {"tasks": report})


def _require_seeds(count: int):
    available = len(environments.RECORDING_SEEDS)
    if count > available:
        raise UsageError(f"--episodes is {count}, expected at most {available}. Record fewer episodes.")


def _successes(played: Iterator[episodes.Episode], task: str) -> Iterator[episodes.Episode]:
    """Yield the episodes whose success is True or None, and raise UsageError after the last if there were none."""
    found = False
    for episode in played:
        if episode.success is not False:
            found = True
            yield episode
    if not found:
        raise UsageError(f"{task}: no episode succeeded. Play more episodes, or remove --successes_only.")


def _actor(flag: flags.FlagValues, specs: dict[str, episodes.TaskSpec]) -> Callable[[], rollouts.Actor]:
    """Return the function that makes the actor of the flags, after checking that it can play all tasks in `specs`.

    Raises:
      UsageError: flags contradict each other.
      NoExpertError, UnknownTaskError, ContractError: the expert or agent cannot play one of the tasks.
    """
    if flag.noise is not None and (flag.policy or flag.actor != "expert"):
        raise UsageError(f"--noise is {flag.noise:g}, expected no noise where no expert plays. Remove the flag.")
    if flag.policy is None:
        for name in ("temperature", "environments"):
            if flag[name].present:
                raise UsageError(f"--{name} is {flag[name].value}, expected it only with --policy. Remove the flag.")
    elif not flag.policy:
        raise UsageError("--policy is empty, expected the folder of a run or a .safetensors file. Name one.")
    elif flag.workers and flag["environments"].present:
        raise UsageError(
            f"--environments is {flag.environments} and --workers is {flag.workers}, expected one. Remove one of them."
        )
    if flag.policy:
        if flag["actor"].present:
            raise UsageError(
                f"--actor is {flag.actor} and --policy is {flag.policy}, expected one. Remove one of them."
            )
        path = as_path(flag.policy)
        agent = policy.Agent.restore(path)
        for spec in specs.values():
            agent.require_task(spec)
        if flag.workers:  # each worker restores the agent itself: a path is quicker to send than parameters
            return functools.partial(policy.AgentActor.restore, path, temperature=flag.temperature)
        return functools.partial(policy.AgentActor, agent, temperature=flag.temperature)
    if flag.actor == "random":
        return rollouts.RandomActor
    for name in specs:
        experts.expert(name)
    return functools.partial(experts.ExpertActor, noise=flag.noise)
