"""Flags of the verbs in which an agent acts: how its network is run, how it samples, and what it reads at first."""

from __future__ import annotations

from absl import flags
from etils import epy

from gato_jax.verbs.usage import UsageError

with epy.lazy_imports():
    from gato_jax import policy

_SAMPLING_FLAGS = ("temperature", "greedy", "top_k", "top_p")
DECODING_FLAGS = ("dtype", "one_pass", "prompt", *_SAMPLING_FLAGS)

# Flags that this module defines for a verb are then listed in the help of the verb with its own flags.
flags.disclaim_key_flags()


def define_decoding(flag: flags.FlagValues):
    """Define --dtype, --one_pass, --prompt, and --temperature, --greedy, --top_k and --top_p of the sampling."""
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
    flags.DEFINE_float(
        "temperature", 1.0, "Temperature of sampling the actions; 0 takes the most probable ones.", lower_bound=0.0,
        flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_bool("greedy", False, "Take the most probable actions, as --temperature=0 does.", flag_values=flag)
    flags.DEFINE_integer(
        "top_k", None, "Number of most probable tokens to sample each action token from. Default: all tokens.",
        lower_bound=1, flag_values=flag,
    )  # fmt: skip
    flags.DEFINE_float(
        "top_p", None,
        "Share of the probability, above 0 and at most 1, whose most probable tokens each action token is sampled "
        "from. Default: all tokens.", lower_bound=1e-6, upper_bound=1.0, flag_values=flag,
    )  # fmt: skip


def read_decoding(flag: flags.FlagValues) -> policy.Decoding:
    """Return the settings of the flags."""
    return policy.Decoding(dtype=flag.dtype, one_pass=flag.one_pass)


def read_sampling(flag: flags.FlagValues) -> policy.Sampling:
    """Return the way to choose a token that the flags say.

    Raises:
      UsageError: flags contradict each other.
    """
    given = [name for name in _SAMPLING_FLAGS[1:] if flag[name].value]
    if flag.temperature == 0 or (flag.greedy and flag["temperature"].present):
        given = ["temperature", *given]
    if len(given) > 1:
        values = " and ".join(f"--{name} is {flag[name].value}" for name in given)
        raise UsageError(f"{values}, expected one of them. Leave {'one' if len(given) == 2 else 'the others'} out.")
    if flag.greedy or flag.temperature == 0:
        return policy.Greedy()
    if flag.top_k is not None:
        return policy.TopK(temperature=flag.temperature, k=flag.top_k)
    if flag.top_p is not None:
        return policy.TopP(temperature=flag.temperature, p=flag.top_p)
    return policy.Temperature(temperature=flag.temperature)
