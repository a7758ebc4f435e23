"""`gato collect`: an expert, random play or an agent plays, and its episodes become RLDS datasets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from absl import flags
from etils import epy

from gato_jax.runtime import Interruption, devices, interruptible
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import require_local
from gato_jax.verbs.decoding import DECODING_FLAGS, define_decoding, read_decoding
from gato_jax.verbs.flags import UsageError, define_config, parse_flags
from gato_jax.verbs.outputs import write_json
from gato_jax.verbs.renderers import choose_renderer, define_renderer
from gato_jax.verbs.runs import require_agent

with epy.lazy_imports():
    from gato_jax import environments, episodes, experts, policy, rollouts


def collect(flag: flags.FlagValues, argv: Sequence[str]):
    """Play an actor and record its episodes as RLDS datasets, one for each task; run it again to resume.

    Episode n of each task has the seed --seed + n, and follows from it: two datasets of the same seeds hold the same
    episodes. For further episodes, or held-out ones, choose a --seed beyond those of the first dataset.

    A --config with the section `randomisation`, such as configs/randomisation.py, draws bodies, looks and sensors for
    each episode of a task that MuJoCo simulates.
    """
    flags.DEFINE_list("tasks", [], "Names of the tasks to play, comma-separated.", flag_values=flag)
    flags.DEFINE_integer("episodes", 100, "Number of episodes of each task.", lower_bound=1, flag_values=flag)
    flags.DEFINE_integer(
        "seed", 0, "Seed of the first episode of each task; the others have the seeds after it.", flag_values=flag
    )
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
    define_decoding(flag)
    flags.DEFINE_integer(
        "environments", 10, "Number of episodes that the agent plays side by side, without --workers.",
        lower_bound=1, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer(
        "workers", 0, "Number of processes that each play one episode at a time; 0 plays in this process.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    define_renderer(flag)
    define_config(flag, argv)
    flags.DEFINE_bool("successes_only", False, "Keep only the episodes that succeed.", flag_values=flag)
    flags.DEFINE_bool("overwrite", False, "Replace datasets that exist already.", flag_values=flag)
    flags.DEFINE_string("json", None, "File to write the counts to.", flag_values=flag)
    parse_flags(flag, argv, required=("tasks", "output"))
    if not all(flag.tasks):
        raise UsageError("--tasks holds an empty name, expected names separated by single commas. Correct the list.")
    _require_seeds(flag.seed, flag.episodes)
    with interruptible(GO_ON) as interruption, interruption.at_once():
        _record_all(flag, interruption)


def _record_all(flag: flags.FlagValues, interruption: Interruption):
    """Record the datasets of all tasks, and print and write the counts of each."""
    choose_renderer(flag)
    for name in flag.tasks:
        environments.require_runnable(name)
    specs = {name: environments.task_spec(name) for name in flag.tasks}
    randomisation = _randomisation(flag)
    player = _player(flag, specs)
    root = require_local(flag.output, "--output", "Record to a disk, then copy the folder to the bucket.")
    recordings = {
        name: rollouts.Recording(
            root=root,
            spec=spec,
            actor=player.describe(name),
            agent=player.digest,
            seeds=range(flag.seed, flag.seed + flag.episodes),
            successes_only=flag.successes_only,
            randomisation=randomisation,
        )
        for name, spec in specs.items()
    }
    for recording in recordings.values():  # all datasets are checked before the first is recorded
        recording.require_writable(overwrite=flag.overwrite)
    goes_on = any(recording.is_begun for recording in recordings.values())
    report = {}
    interruption.farewell = f"The finished episodes are kept in {flag.output}. {GO_ON}"
    for name, recording in recordings.items():
        kept = recording.is_finished and (goes_on or not flag.overwrite)
        directory = rollouts.record(
            recording,
            player.make_actor,
            environments=flag.environments if flag.policy and not flag.workers else 1,
            workers=flag.workers,
            overwrite=flag.overwrite and not kept,
        )
        report[name] = _counts(episodes.open_dataset(directory))
        seeds = "{} to {}".format(*report[name]["seeds"])
        place = f"already recorded, kept in {directory}" if kept else f"in {directory}"
        print(f"{name}: {report[name]['episodes']} episodes of seeds {seeds}, {place}", flush=True)
    write_json(flag.json, {"tasks": report})


def _randomisation(flag: flags.FlagValues) -> environments.Randomisation | None:
    """Return the randomisation of --config, None without it, after checking that all tasks allow it.

    Raises:
      UsageError: The config has other sections.
      RandomisationError: An interval is not valid, or a task does not allow the randomisation.
    """
    if flag.config is None:
        return None
    if list(flag.config) != ["randomisation"]:
        raise UsageError(f"--config has the keys {sorted(flag.config)}, expected the section randomisation alone.")
    randomisation = environments.Randomisation.from_mapping(flag.config.randomisation)
    for name in flag.tasks:
        environments.randomise(environments.load(name), randomisation).close()
    return randomisation


def _counts(dataset: episodes.EpisodeDataset) -> dict[str, Any]:
    """Return what --json says of one task."""
    successes = dataset.index.success[dataset.index.success >= 0]
    return {
        "episodes": len(dataset),
        "seeds": [int(dataset.index.seed.min()), int(dataset.index.seed.max())],
        "steps": int(dataset.acting_lengths.sum()),
        "return_mean": float(dataset.returns.mean()),
        "success_rate": float(successes.mean()) if len(successes) else None,
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


class _Player(NamedTuple):
    """The actor that plays, with its description.

    Attributes:
      make_actor: function that makes the actor.
      describe: function that returns the description of the actor on a task, see `Actor.describe`.
      digest: digest of the agent that plays; None for other actors.
    """

    make_actor: Callable[[], rollouts.Actor]
    describe: Callable[[str], str]
    digest: str | None = None


def _player(flag: flags.FlagValues, specs: dict[str, episodes.TaskSpec]) -> _Player:
    """Return the player of the flags, after checking that it can play all tasks in `specs`.

    Raises:
      UsageError: flags contradict each other.
      NoExpertError, UnknownTaskError, ContractError: the expert or agent cannot play one of the tasks.
    """
    if flag.noise is not None and (flag.policy or flag.actor != "expert"):
        raise UsageError(f"--noise is {flag.noise:g}, expected no noise where no expert plays. Remove the flag.")
    if flag.policy is None:
        for name in ("temperature", "environments", *DECODING_FLAGS):
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
        path = require_agent("policy", flag.policy)
        devices.print_devices()
        decoding = read_decoding(flag)
        agent = policy.Agent.restore(path, decoding=decoding)
        for spec in specs.values():
            agent.require_task(spec)
        make_actor = functools.partial(policy.AgentActor, agent, temperature=flag.temperature)
        describe = make_actor().describe
        if flag.workers:  # each worker restores the agent itself: a path is quicker to send than parameters
            make_actor = functools.partial(
                policy.AgentActor.restore, path, temperature=flag.temperature, decoding=decoding
            )
        return _Player(make_actor, describe, agent.digest)
    if flag.actor == "random":
        return _Player(rollouts.RandomActor, rollouts.RandomActor().describe)
    for name in specs:
        experts.expert(name)
    make_actor = functools.partial(experts.ExpertActor, noise=flag.noise)
    return _Player(make_actor, make_actor().describe)
