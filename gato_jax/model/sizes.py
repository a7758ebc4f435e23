"""The three published model sizes (paper, table 5)."""

from __future__ import annotations

from typing import Any

from gato_jax.model.config import ModelConfig

# 64 patch channels after a stem of stride 4 are what the published totals leave room for; see docs/decisions.md.
SIZES: dict[str, dict[str, int]] = {
    "79m": {"layers": 8, "width": 768, "heads": 24, "head_size": 32, "hidden": 3072},  # 78.9M parameters
    "364m": {"layers": 12, "width": 1536, "heads": 12, "head_size": 128, "hidden": 6144},  # 365.4M parameters
    "1.18b": {"layers": 24, "width": 2048, "heads": 16, "head_size": 128, "hidden": 8192},  # 1,179.5M parameters
}


def published_config(size: str, **changes: Any) -> ModelConfig:
    """Return the config of a published size, `79m`, `364m` or `1.18b`, with the fields in `changes` replaced.

    Raises:
      ValueError: there is no such size, or a value in `changes` is out of range.
      TypeError: `changes` has a name that is no field of ModelConfig.
    """
    if size not in SIZES:
        raise ValueError(f"published_config: size is {size!r}, expected one of {', '.join(SIZES)}. Name one of these.")
    return ModelConfig(**{**SIZES[size], **changes})
