"""Settings of how an agent's network is run when it acts."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import PositiveInt
from gato_jax.model.axes import platform


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
    """How the network is run when the agent acts.

    Attributes:
      dtype: Dtype of params, cache and matrix products; norms and softmax are computed in float32. `auto` is float32 on
        a CPU and bfloat16 on accelerators.
      one_pass: Whether all action tokens of a timestep come from one run of the network, which reads zeros in their
        place (paper, appendix G). It is meant for agents that were trained so.
      loop: Loop over single action tokens, see `ActSettings`.
      context: Number of tokens in the attention window, the prompt included: any number, also above that of training.
        None for the agent's own.
      memory_steps: Maximum number of timesteps in the attention window, the current one included. None for the number
        that the agent was trained on.

    Raises:
      ValueError: A number is not positive.
    """

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    one_pass: bool = False
    loop: Literal["while", "unrolled"] = "while"
    context: PositiveInt | None = None
    memory_steps: PositiveInt | None = None

    def __post_init__(self):
        DataclassReader(error=ValueError).check(self, "decoding")

    def to_json(self) -> dict[str, Any]:
        """Return the settings, without numbers that are not set."""
        return {name: value for name, value in dataclasses.asdict(self).items() if value is not None}

    @property
    def loops(self) -> bool:
        """True if action tokens are looped over on the device, where padding of their number takes no time."""
        return self.loop == "while" and not self.one_pass

    @property
    def resolved_dtype(self) -> str:
        """Dtype on this platform, where it is `auto`."""
        if self.dtype != "auto":
            return self.dtype
        return "float32" if platform() == "cpu" else "bfloat16"

    def describe(self) -> str:
        """Return the settings that are not the default ones, such as `; bfloat16; all action tokens in one pass`."""
        words = [self.dtype] if self.dtype != "auto" else []
        words += ["all action tokens in one pass"] if self.one_pass else []
        words += [f"context {self.context}"] if self.context else []
        words += [f"memory of {self.memory_steps} timesteps"] if self.memory_steps else []
        return "".join(f"; {word}" for word in words)


DEFAULT = Decoding()
REAL_ROBOT = Decoding(one_pass=True, memory_steps=1)  # the paper's mode for a robot at 20 Hz (appendix G)
