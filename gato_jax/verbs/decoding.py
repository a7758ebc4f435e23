"""Flags of the verbs in which an agent acts, for how its network is run and what it reads before an episode."""

from __future__ import annotations

from absl import flags
from etils import epy

with epy.lazy_imports():
    from gato_jax import policy

DECODING_FLAGS = ("dtype", "one_pass", "prompt")

# Flags that this module defines for a verb are then listed in the help of the verb with its own flags.
flags.disclaim_key_flags()


def define_decoding(flag: flags.FlagValues):
    """Define --dtype, --one_pass and --prompt."""
    flags.DEFINE_enum(
        "dtype", "auto", ["auto", "float32", "bfloat16"],
        "Dtype of the agent's params and cache; `auto` is float32 on a CPU and bfloat16 elsewhere.", flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool(
        "one_pass", False,
        "Choose all action tokens in one pass, for an agent that was trained with zeros in their place.",
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_enum(
        "prompt", None, ["demonstration", "none"],
        "Prompt before each episode: a demonstration of the task, from its dataset or by its expert, or none. "
        "Default: a demonstration where the run's dataset is on disk and has prompts.",
        flag_values=flag,
    )  # fmt: skip


def read_decoding(flag: flags.FlagValues) -> policy.Decoding:
    """Return the settings of the flags."""
    return policy.Decoding(dtype=flag.dtype, one_pass=flag.one_pass)
