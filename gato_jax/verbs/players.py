"""The actor that `gato collect` plays: an expert, random play or an agent, as its flags say."""

from __future__ import annotations

import functools
import pathlib
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import devices
from gato_jax.verbs.decoding import DECODING_FLAGS, define_decoding, read_decoding, read_sampling
from gato_jax.verbs.flags import UsageError
from gato_jax.verbs.runs import require_agent

with epy.lazy_imports():
    from gato_jax import episodes, evaluation, experts, policy, rollouts

# Flags that this module defines for a verb are then listed in the help of the verb with its own flags.
flags.disclaim_key_flags()


def define_player(flag: flags.FlagValues):
    """Define the flags that choose the actor: --actor, --noise, --policy and those of the agent."""
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
    define_decoding(flag)
    flags.DEFINE_integer(
        "environments", 10, "Number of episodes that the agent plays side by side, without --workers.",
        lower_bound=1, flag_values=flag,
    )  # fmt: skip


def choose_player(
    flag: flags.FlagValues, specs: dict[str, episodes.TaskSpec], *, in_processes: bool
) -> rollouts.Player:
    """Return the player of the flags, after checking that it can play all tasks in `specs`.

    Args:
      flag: the flags.
      specs: {task: its spec}.
      in_processes: whether the actor plays in other processes, each of which makes one of its own.

    Raises:
      UsageError: flags contradict each other.
      NoExpertError, UnknownTaskError, ContractError, NoDemonstrationError: the expert or agent cannot play one of the
        tasks, or there is no prompt for it.
    """
    if flag.noise is not None and (flag.policy or flag.actor != "expert"):
        raise UsageError(f"--noise is {flag.noise:g}, expected no noise where no expert plays. Remove the flag.")
    if flag.policy is None:
        for name in ("environments", *DECODING_FLAGS):
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
        return restore_agent(flag, require_agent("policy", flag.policy), specs, in_processes=in_processes)
    if flag.actor == "random":
        return rollouts.Player(rollouts.RandomActor, rollouts.RandomActor().describe)
    return expert_player(list(specs), noise=flag.noise)


def expert_player(tasks: Sequence[str], *, noise: float | None) -> rollouts.Player:
    """Return the experts of some tasks as a player, after checking that there are such.

    Args:
      tasks: names of the tasks.
      noise: as of `ExpertActor`.

    Raises:
      NoExpertError, UnknownTaskError: one of the tasks has no expert.
    """
    for name in tasks:
        experts.expert(name)
    make_actor = functools.partial(experts.ExpertActor, noise=noise)
    return rollouts.Player(make_actor, make_actor().describe)


def restore_agent(
    flag: flags.FlagValues, path: pathlib.Path, specs: dict[str, episodes.TaskSpec], *, in_processes: bool = False
) -> rollouts.Player:
    """Return the agent of a run or file as a player, after checking that it can play all tasks in `specs`.

    Args:
      flag: the flags, with those of `define_decoding`.
      path: folder of the run, or a .safetensors file.
      specs: {task: its spec}.
      in_processes: whether the agent plays in other processes, each of which restores it.

    Raises:
      UsageError: flags of the sampling contradict each other.
      UnknownTaskError, ContractError, NoDemonstrationError: the agent cannot play one of the tasks, or there is no
        prompt for it.
    """
    devices.print_devices()
    decoding, sampling = read_decoding(flag), read_sampling(flag)
    agent = policy.Agent.restore(path, decoding=decoding)
    for spec in specs.values():
        agent.require_task(spec)
    prompts = evaluation.open_demonstrations(agent, path, list(specs), flag.prompt)
    make_actor = functools.partial(policy.AgentActor, agent, sampling=sampling, prompts=prompts)
    describe = make_actor().describe
    if in_processes:  # each worker restores the agent itself: a path is quicker to send than parameters
        make_actor = functools.partial(
            policy.AgentActor.restore, path, sampling=sampling, decoding=decoding, prompts=prompts
        )
    return rollouts.Player(make_actor, describe, agent.digest)
