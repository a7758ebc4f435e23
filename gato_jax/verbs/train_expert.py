"""`gato train_expert`: training of a small network that plays a task as its expert does, but faster."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime import interruptible, writer_lock
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import require_local
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import write_json

with epy.lazy_imports():
    from gato_jax.experts.distillation import dagger


def train_expert(flag: flags.FlagValues, argv: Sequence[str]):
    """Train a small network that plays a task as its expert does, but faster; run it again to resume.

    The network learns by DAgger from the actions of the task's planner or script, in the states that the network itself
    reaches. The policy is a file of less than a megabyte, policy.safetensors in --output.
    """
    flags.DEFINE_string("task", None, "Name of the task.", flag_values=flag)
    flags.DEFINE_string("output", None, "Folder of the policy, and of the labels to resume from.", flag_values=flag)
    flags.DEFINE_integer("rounds", 10, "Number of rounds of labels, each followed by a fit.", 1, flag_values=flag)
    flags.DEFINE_integer("episodes", 4, "Number of labelled episodes in each round.", 1, flag_values=flag)
    flags.DEFINE_integer(
        "steps", 0, "Steps after which labelled episodes are cut off. 0: the limit of the task.", 0, flag_values=flag
    )
    flags.DEFINE_integer(
        "teacher_samples", 1, "Factor on the number of samples of a teacher that plans.", 1, flag_values=flag
    )
    flags.DEFINE_float(
        "teacher_share", 0.5,
        "Share of the steps that the teacher plays in the second round; its powers in the rounds after it.",
        0.0, 1.0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_list(
        "angles", [],
        "Observations that are angles in radians and may turn several times, comma-separated: position in reacher.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_list("hidden", ["128", "128"], "Sizes of the hidden layers, comma-separated.", flag_values=flag)
    flags.DEFINE_integer(
        "modes", 4, "Number of actions between which the network chooses; 1 is the mean of the labels.", 1,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_integer("updates", 4000, "Number of updates of each fit.", 1, flag_values=flag)
    flags.DEFINE_integer("batch_size", 256, "Number of states for an update.", 1, flag_values=flag)
    flags.DEFINE_float("learning_rate", 1e-3, "Learning rate at the first update of each fit.", 0.0, flag_values=flag)
    flags.DEFINE_integer("scored", 10, "Number of episodes for the score of each network.", 1, flag_values=flag)
    flags.DEFINE_integer("seed", 0, "Seed of the initial params and of the batches.", 0, 2**31 - 1, flag_values=flag)
    flags.DEFINE_integer(
        "workers", 0, "Number of processes that each play one episode at a time; 0 plays in this process.",
        lower_bound=0, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_string("json", None, "JSON file to write the result to.", flag_values=flag)
    parse_flags(flag, argv, required=("task", "output"))

    settings = dagger.Distillation(
        task=flag.task, rounds=flag.rounds, episodes=flag.episodes, steps=flag.steps,
        teacher_samples=flag.teacher_samples, teacher_share=flag.teacher_share,
        angles=tuple(flag.angles), hidden=_sizes(flag.hidden), modes=flag.modes,
        updates=flag.updates, batch_size=flag.batch_size, learning_rate=flag.learning_rate,
        scored=flag.scored, seed=flag.seed,
    )  # fmt: skip
    output = require_local(flag.output, "--output", "Write to a disk, then copy the folder to the bucket.")
    with interruptible(GO_ON) as interruption, writer_lock(output), interruption.at_once():
        policy = dagger.distill(settings, output, workers=flag.workers, on_round=_print_round)
    about = policy.about
    write_json(flag.json, dataclasses.asdict(about))
    print(
        f"policy of {about.task} in {output / dagger.POLICY}: score {about.score:.4g} over "
        f"{len(about.scores)} episodes, from {about.labels} labels of the {about.teacher}"
    )


def _sizes(words: Sequence[str]) -> tuple[int, ...]:
    """Return the sizes of --hidden.

    Raises:
      UsageError: A word is no whole number.
    """
    try:
        return tuple(int(word) for word in words)
    except ValueError:
        raise UsageError(f"--hidden is {','.join(words)}, expected whole numbers, as in 128,128. Correct it.") from None


def _print_round(result: dagger.Round):
    print(
        f"round {result.number}: {result.about.labels} labels, loss {result.loss:.4f}, score {result.about.score:.4g} "
        f"({min(result.about.scores):.4g} to {max(result.about.scores):.4g})",
        flush=True,
    )
