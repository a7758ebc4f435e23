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
        """Dtype on this platform, where it is `auto`."""
        if self.dtype != "auto":
            return self.dtype
        return "float32" if platform() == "cpu" else "bfloat16"

    def describe(self) -> str:
        """Return the settings that are not the default ones, such as `; bfloat16; all action tokens in one pass`."""
        words = [self.dtype] if self.dtype != "auto" else []
        words += ["all action tokens in one pass"] if self.one_pass else []
        return "".join(f"; {word}" for word in words)


DEFAULT = Decoding()
