"""`gato collect`: an expert, random play or an agent plays, and its episodes become RLDS datasets."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime import Interruption, interruptible
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import require_local
from gato_jax.verbs.beam import split_beam_options
from gato_jax.verbs.flags import UsageError, define_config, parse_flags, require
from gato_jax.verbs.outputs import write_json
from gato_jax.verbs.players import choose_player, define_player
from gato_jax.verbs.renderers import choose_renderer, define_renderer

with epy.lazy_imports():
    from gato_jax import environments, episodes, rollouts

_ALL_CORES = 50  # episodes; fewer are often played before the processes of workers have started
_LISTED = 10
RECIPE_FLAGS = ("tasks", "episodes", "actor", "noise", "successes_only", "min_return", "max_failed")


def collect(flag: flags.FlagValues, argv: Sequence[str]):
    """Play an actor and record its episodes as RLDS datasets, one for each task; run it again to resume.

    Episode n of each task has the seed --seed + n, and follows from it: two datasets of the same seeds hold the same
    episodes. For further episodes, or held-out ones, choose a --seed beyond those of the first dataset.

    --beam.OPTION=VALUE plays on Apache Beam instead of in the processes of --workers, for example on a cluster with
    --beam.runner=FlinkRunner, whose workers must see the same folders. Shards of --shard_episodes are kept as they are
    finished.

    A --config with the section `recording`, such as those in configs/collect/, is a recipe: it gives tasks, episodes
    and filters, unless a flag does. The section `randomisation`, as in configs/randomisation.py, draws bodies, looks
    and sensors for each episode of a task that MuJoCo simulates.
    """
    flags.DEFINE_list(
        "tasks", [], "Names of the tasks to play, comma-separated. Required without a recipe.", flag_values=flag
    )
    flags.DEFINE_integer("episodes", 100, "Number of episodes of each task.", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer(
        "seed", 0, "Seed of the first episode of each task; the others have the seeds after it.", flag_values=flag
    )
    flags.DEFINE_string("output", None, "Folder to write the datasets to.", flag_values=flag)
    define_player(flag)
    flags.DEFINE_integer(
        "workers", None,
        "Number of processes that each play one episode at a time; 0 plays in this process. Default: one for each core "
        f"for {_ALL_CORES} episodes or more that no agent plays, otherwise 0.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    define_renderer(flag)
    words, beam_options = split_beam_options(argv)
    define_config(flag, words)
    flags.DEFINE_bool("successes_only", False, "Keep only the episodes that succeed.", flag_values=flag)
    flags.DEFINE_float("min_return", None, "Keep only the episodes of at least this return.", flag_values=flag)
    flags.DEFINE_float(
        "max_failed", 0.0,
        "Largest share of a task's episodes that may fail, by an error or because the actor gives up. Its dataset "
        "lacks them; above it, none is written.", lower_bound=0.0, upper_bound=1.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "shard_episodes", 100, "Largest number of episodes that a worker of Beam plays at a time.", lower_bound=1,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool("overwrite", False, "Replace datasets that exist already.", flag_values=flag)
    flags.DEFINE_string("json", None, "File to write the counts to.", flag_values=flag)
    parse_flags(flag, words, required=("output",))
    if beam_options and flag["workers"].present:
        raise UsageError(f"--workers is {flag.workers}, expected it without --beam. Remove one of them.")
    _follow_recipe(flag)
    require(flag, "tasks")
    if not all(flag.tasks):
        raise UsageError("--tasks holds an empty name, expected names separated by single commas. Correct the list.")
    _require_seeds(flag.seed, flag.episodes)
    with interruptible(GO_ON) as interruption, interruption.at_once():
        _record_all(flag, beam_options, interruption)


def _record_all(flag: flags.FlagValues, beam_options: Sequence[str], interruption: Interruption):
    """Record the datasets of all tasks, and print and write the counts of each."""
    choose_renderer(flag)
    for name in flag.tasks:
        environments.require_runnable(name)
    specs = {name: environments.task_spec(name) for name in flag.tasks}
    randomisation = _randomisation(flag)
    workers = 0 if beam_options else _workers(flag)
    player = choose_player(flag, specs, in_processes=workers > 0 or bool(beam_options))
    root = require_local(flag.output, "--output", "Record to a disk, then copy the folder to the bucket.")
    recordings = [
        rollouts.Recording(
            root=root,
            spec=spec,
            actor=player.describe(name),
            agent=player.digest,
            seeds=range(flag.seed, flag.seed + flag.episodes),
            successes_only=flag.successes_only,
            min_return=flag.min_return,
            randomisation=randomisation,
        )
        for name, spec in specs.items()
    ]
    interruption.farewell = f"The finished episodes are kept in {flag.output}. {GO_ON}"
    settings = {"overwrite": flag.overwrite, "max_failed": flag.max_failed}
    if beam_options:
        ended = rollouts.record_on_beam(
            recordings, player.make_actor, options=beam_options, shard_episodes=flag.shard_episodes, **settings
        )
    else:
        environments_at_once = flag.environments if flag.policy and not workers else 1
        ended = rollouts.record_all(
            recordings, player.make_actor, environments=environments_at_once, workers=workers, **settings
        )
    report: dict[str, dict[str, Any]] = {"tasks": {}, "unfinished": {}}
    ends: list[rollouts.Recorded] = []
    for recorded in ended:
        ends.append(recorded)
        name = recorded.recording.spec.name
        _print_failures(name, recorded.failures)
        if recorded.directory is None:
            report["unfinished"][name] = {"failed": _listed(recorded.failures), "error": str(recorded.error)}
            continue
        report["tasks"][name] = counts = _counts(recorded, episodes.open_dataset(recorded.directory))
        seeds = "{} to {}".format(*counts["seeds"])
        place = f"already recorded, kept in {recorded.directory}" if recorded.kept else f"in {recorded.directory}"
        print(f"{name}: {counts['episodes']} episodes of seeds {seeds}, {place}", flush=True)
    write_json(
        flag.json, {kind: {name: tasks[name] for name in specs if name in tasks} for kind, tasks in report.items()}
    )
    rollouts.require_finished(ends)


def _follow_recipe(flag: flags.FlagValues):
    """Give the flags that are not on the command line the values of the section `recording` of --config.

    Raises:
      UsageError: The config has other sections, or the section has a key that is not of a recipe.
    """
    if flag.config is None:
        return
    if not list(flag.config) or set(flag.config) - {"recording", "randomisation"}:
        raise UsageError(
            f"--config has the keys {sorted(flag.config)}, expected the sections recording and randomisation, or one "
            "of them."
        )
    for key, value in flag.config.get("recording", {}).items():
        if key not in RECIPE_FLAGS:
            raise UsageError(f"--config.recording has the key {key!r}, expected some of {', '.join(RECIPE_FLAGS)}.")
        if not flag[key].present and value is not None:
            flag[key].value = list(value) if key == "tasks" else value
    if "recording" in flag.config and not flag.tasks:
        raise UsageError("--config.recording.tasks is empty: no expert plays a task of the domain. Name --tasks.")


def _workers(flag: flags.FlagValues) -> int:
    """Return the number of worker processes, 0 for none."""
    if flag.workers is not None:
        return flag.workers
    return 0 if flag.policy or len(flag.tasks) * flag.episodes < _ALL_CORES else len(os.sched_getaffinity(0))


def _print_failures(task: str, failures: Sequence[rollouts.Failure]):
    """Print the first failed episodes of a task and how many more there are."""
    for failure in failures[:_LISTED]:
        print(f"failed: {task}, seed {failure.seed}: {failure.reason}", flush=True)
    if (more := len(failures) - _LISTED) > 0:
        print(f"failed: {task}: {more} more. --json=FILE lists all.", flush=True)


def _listed(failures: Sequence[rollouts.Failure]) -> list[dict[str, Any]]:
    return [{"seed": failure.seed, "reason": failure.reason} for failure in failures]


def _randomisation(flag: flags.FlagValues) -> environments.Randomisation | None:
    """Return the randomisation of --config, None without it, after checking that all tasks allow it.

    Raises:
      RandomisationError: An interval is not valid, or a task does not allow the randomisation.
    """
    if flag.config is None or "randomisation" not in flag.config:
        return None
    randomisation = environments.Randomisation.from_mapping(flag.config.randomisation)
    for name in flag.tasks:
        environments.randomise(environments.load(name), randomisation).close()
    return randomisation


def _counts(recorded: rollouts.Recorded, dataset: episodes.EpisodeDataset) -> dict[str, Any]:
    """Return what --json says of one task whose dataset is finished."""
    successes = dataset.index.success[dataset.index.success >= 0]
    return {
        "episodes": len(dataset),
        "seeds": [int(dataset.index.seed.min()), int(dataset.index.seed.max())],
        "steps": int(dataset.acting_lengths.sum()),
        "return_mean": float(dataset.returns.mean()),
        "success_rate": float(successes.mean()) if len(successes) else None,
        "failed": _listed(recorded.failures),
        "filtered": len(recorded.recording.seeds) - len(dataset) - len(recorded.failures),
    }


def _require_seeds(first: int, count: int):
    available = len(environments.RECORDING_SEEDS)
    if count > available:
        raise UsageError(f"--episodes is {count}, expected at most {available}. Record fewer episodes.")
    if not 0 <= first <= available - count:
        raise UsageError(
            f"--seed is {first}, expected 0 to {available - count} for {count} episodes, as the seeds from {available} "
            "on are kept for evaluation. Choose a smaller seed."
        )
