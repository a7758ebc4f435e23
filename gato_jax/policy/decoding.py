"""Settings of how an agent's network is run when it acts."""

from __future__ import annotations

import dataclasses
from typing import Literal

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
    """

    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    one_pass: bool = False
    loop: Literal["while", "unrolled"] = "while"

    @property
    def resolved_dtype(self) -> str:
        if self.dtype != "auto":
            return self.dtype
        return "float32" if platform() == "cpu" else "bfloat16"

    @property
    def resolved_loop(self):
        return self.loop
