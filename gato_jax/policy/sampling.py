"""Ways to choose a token from the logits of its valid ids: frozen dataclasses, compile-time constants of `act`.

Axes:
    B rows   V ids
"""

from __future__ import annotations

import dataclasses
from typing import Annotated, Any, ClassVar

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, Key

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import PositiveInt, Range

_READER = DataclassReader(error=ValueError)

_NonNegative = Annotated[float, Range(at_least=0, remedy="0 takes the most probable token.")]
_Share = Annotated[float, Range(above=0, at_most=1, remedy="1 keeps all tokens.")]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Greedy:
    """Choice of the most probable id."""

    temperature: ClassVar[float] = 0.0

    def keep(self, logits: Float[Array, "B V"], valid: Bool[Array, "#B V"]) -> Bool[Array, "#B V"]:
        """Return True for the ids that may be chosen: all valid ones."""
        return valid

    def describe(self) -> str:
        """Return the settings in words."""
        return "greedy"

    def to_json(self) -> dict[str, Any]:
        """Return the settings, as results name them."""
        return {"temperature": 0.0}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Temperature:
    """Sampling in proportion to exp(logit / temperature).

    Attributes:
      temperature: 1 samples from the probabilities of the network; 0 takes the most probable id.

    Raises:
      ValueError: The temperature is negative or NaN.
    """

    temperature: _NonNegative = 1.0

    def __post_init__(self):
        _READER.check(self, "sampling")

    def keep(self, logits: Float[Array, "B V"], valid: Bool[Array, "#B V"]) -> Bool[Array, "#B V"]:
        """Return True for the ids that may be sampled: all valid ones."""
        return valid

    def describe(self) -> str:
        """Return the settings in words, such as `temperature 1`, or `greedy` where the temperature is 0."""
        return f"temperature {self.temperature:g}" if self.temperature else "greedy"

    def to_json(self) -> dict[str, Any]:
        """Return the settings, as results name them."""
        return {"temperature": self.temperature}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopK(Temperature):
    """Sampling among the most probable ids.

    Attributes:
      k: Number of ids to sample from; ties with the last of them are kept.
    """

    k: PositiveInt

    def keep(self, logits: Float[Array, "B V"], valid: Bool[Array, "#B V"]) -> Bool[Array, "B V"]:
        """Return True for the `k` most probable of the valid ids, and for all valid ones if they are fewer."""
        masked = jnp.where(valid, logits, -jnp.inf)
        smallest = jax.lax.top_k(masked, min(self.k, logits.shape[-1]))[0][:, -1:]
        return valid & (masked >= smallest)

    def describe(self) -> str:
        return f"{super().describe()}, top {self.k}"

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "top_k": self.k}


@dataclasses.dataclass(frozen=True, kw_only=True)
class TopP(Temperature):
    """Sampling among the most probable ids that together have a share of the probability (arXiv 1904.09751).

    Attributes:
      p: The share. The fewest ids that reach it are kept, at least one. Ties with the last of them are kept.
    """

    p: _Share

    def keep(self, logits: Float[Array, "B V"], valid: Bool[Array, "#B V"]) -> Bool[Array, "B V"]:
        """Return True for the fewest most probable valid ids whose probabilities, at the temperature, sum to `p`."""
        scaled = jnp.where(valid, logits / jnp.float32(self.temperature or 1.0), -jnp.inf)
        ordered = -jnp.sort(-scaled, axis=-1)
        shares = jax.nn.softmax(ordered, axis=-1)
        kept = jnp.cumsum(shares, axis=-1) - shares < self.p  # ids before which the share is not reached yet
        smallest = jnp.min(jnp.where(kept, ordered, jnp.inf), axis=-1, keepdims=True)
        return valid & (scaled >= smallest)

    def describe(self) -> str:
        return f"{super().describe()}, top {self.p:g} of the probability"

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "top_p": self.p}


Sampling = Greedy | Temperature | TopK | TopP


def choose(
    logits: Float[Array, "B V"], valid: Bool[Array, "#B V"], keys: Key[Array, " B"], sampling: Sampling
) -> Int[Array, " B"]:
    """Return the index in [0, V) of a valid logit in each row.

    Args:
      logits: Logits.
      valid: True for the ids that may be chosen, at least one in each row.
      keys: Random key of each row.
      sampling: The way to choose; with temperature 0 it is the largest valid logit.
    """
    if sampling.temperature == 0:
        return jnp.argmax(jnp.where(valid, logits, -jnp.inf), axis=-1).astype(jnp.int32)
    kept = sampling.keep(logits, valid)
    masked = jnp.where(kept, logits, -jnp.inf)
    scaled = (masked - masked.max(axis=-1, keepdims=True)) / jnp.float32(sampling.temperature)
    scaled = jnp.where(kept, scaled, -jnp.inf)  # again, as dividing -inf by an infinite temperature gives NaN
    return jax.vmap(jax.random.categorical)(keys, scaled).astype(jnp.int32)
