"""Cases of the benchmark of the training step: model, rows and compute settings of each measurement."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_type_hints

from gato_jax.model import ComputeConfig

SMALL: dict[str, dict[str, Any]] = {
    "quickstart": {"layers": 3, "width": 128, "heads": 4, "head_size": 32, "hidden": 512, "patch_channels": 32},
    "tiny": {"layers": 2, "width": 32, "heads": 2, "head_size": 16, "hidden": 64, "patch_channels": 32},
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Settings of one measurement of our training step.

    Attributes:
      model: a published size, or a key of `SMALL`.
      position: position scheme of attention.
      rows: "text" for text alone, or "gato" for images in half of the rows and 30% of all tokens as targets.
      context: positions of a row.
      batch: rows of a batch.
      compute: fields of ComputeConfig that differ from its defaults.
      xla_flags: XLA flags to add to those of the environment.
    """

    model: str
    position: Literal["relative_xl", "rope"]
    rows: Literal["text", "gato"]
    context: int
    batch: int
    compute: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    xla_flags: str = ""

    @property
    def name(self) -> str:
        compute = [
            str(value) if key == "attention" else key if value is True else f"{key}={value}"
            for key, value in self.compute.items()
            if key != "dtype"
        ]
        words = [f"{self.model} {self.position}", " ".join(compute), self.rows, self.xla_flags]
        return ", ".join([*filter(None, words), f"{self.batch} x {self.context}"])


CPU = [
    Case(model="79m", position="rope", rows="text", context=1024, batch=2),
    Case(model="79m", position="relative_xl", rows="text", context=1024, batch=2),
    Case(model="79m", position="relative_xl", rows="gato", context=1024, batch=2),
    Case(model="quickstart", position="rope", rows="text", context=176, batch=32),
    Case(model="quickstart", position="relative_xl", rows="text", context=176, batch=32),
    Case(model="quickstart", position="relative_xl", rows="gato", context=176, batch=32),
]


def _gpu(model: str, position: Any, rows: Any, batch: int, xla_flags: str = "", **compute: Any) -> Case:
    compute = {"dtype": "bfloat16", **compute}
    return Case(
        model=model, position=position, rows=rows, context=1024, batch=batch, compute=compute, xla_flags=xla_flags
    )


_RELATIVE = [
    kernel for kernel in ("triton", "mosaic") if kernel in get_args(get_type_hints(ComputeConfig)["attention"])
]
# The case that needs the most memory is the last one, when the processes of the others have ended.
GPU = [
    _gpu("1.18b", "rope", "text", 16, attention="cudnn", row_segments=1),
    _gpu("1.18b", "rope", "text", 16, attention="cudnn"),
    _gpu("1.18b", "rope", "text", 16, attention="cudnn", row_segments=1, float8=True),
    _gpu("1.18b", "rope", "gato", 16, attention="cudnn"),
    *(_gpu("1.18b", "relative_xl", rows, 16, attention=kernel) for kernel in _RELATIVE for rows in ("text", "gato")),
    _gpu("364m", "rope", "text", 32, attention="cudnn", row_segments=1),
    _gpu("79m", "rope", "text", 64, attention="cudnn", row_segments=1),
    _gpu("1.18b", "rope", "text", 16, attention="cudnn_mask"),
    _gpu("1.18b", "rope", "text", 16, attention="cudnn", scan=True),
    _gpu("1.18b", "rope", "text", 16, "--xla_gpu_enable_triton_gemm=false", attention="cudnn"),
    _gpu("1.18b", "rope", "text", 16, "--xla_gpu_enable_command_buffer=", attention="cudnn"),
    _gpu("1.18b", "relative_xl", "text", 16, attention="cudnn_bias"),
    _gpu("1.18b", "relative_xl", "text", 16, attention="blockwise", remat="dots", scan=True),
    _gpu("1.18b", "relative_xl", "gato", 16, attention="blockwise"),
    _gpu("1.18b", "relative_xl", "text", 16, attention="blockwise"),
]

# (batch size, compiled) of the PyTorch measurements of each model; the fastest one is reported.
TORCH = {
    "cpu": {"79m": [(2, True), (2, False)], "quickstart": [(32, True), (32, False)]},
    "gpu": {"1.18b": [(16, True)], "364m": [(32, True)], "79m": [(64, True)]},
    "tiny": {"tiny": [(2, False)]},
}
_ON_CPU = ("dense", "blockwise")  # kernels that run on a CPU; with --tiny, blockwise takes the place of the others


def tiny(case: Case) -> Case:
    """Return the case with a tiny model and batch, and with a kernel that runs on a CPU."""
    compute = dict(case.compute)
    if "attention" in compute:
        compute["attention"] = compute["attention"] if compute["attention"] in _ON_CPU else "blockwise"
    flags = "" if "gpu" in case.xla_flags else case.xla_flags
    return dataclasses.replace(case, model="tiny", context=64, batch=2, compute=compute, xla_flags=flags)
