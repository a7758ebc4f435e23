"""The three published sizes (paper, table 5)."""

from __future__ import annotations

from gato_jax.model.config import ModelConfig

# 64 patch channels behind a stem of stride 4 are what the published totals leave room for; see docs/decisions.md.
_SIZES = {
    "79m": ModelConfig(layers=8, width=768, heads=24, head_size=32, hidden=3072),  # 78.9M parameters
    "364m": ModelConfig(layers=12, width=1536, heads=12, head_size=128, hidden=6144),  # 365.4M parameters
    "1.18b": ModelConfig(layers=24, width=2048, heads=16, head_size=128, hidden=8192),  # 1,179.5M parameters
}


def size(name: str) -> ModelConfig:
    """The model of a published size: `79m`, `364m` or `1.18b`."""
    if name not in _SIZES:
        raise ValueError(f"unknown size {name!r}; one of {', '.join(_SIZES)}")
    return _SIZES[name]
