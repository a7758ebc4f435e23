"""Cases of the benchmark of `act`: the model, the step and the settings of each measurement."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

from benchmarks.train_step_cases import SMALL


class Step(NamedTuple):
    """Sizes of one step: values and patches that are observed, and action tokens; a separator follows what is observed.

    Attributes:
      values: number of continuous values of the observation.
      patches: number of image patches of the observation.
      actions: number of action tokens.
    """

    values: int
    patches: int
    actions: int

    @property
    def observed(self) -> int:
        """Number of tokens before the action."""
        return self.values + self.patches + 1


STEPS = {"control": Step(39, 0, 7), "image": Step(0, 16, 1)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Case:
    """Settings of one measurement.

    Attributes:
      model: a published size, or a key of SMALL in benchmarks.train_step_cases.
      step: key of STEPS.
      batch: number of environments.
      context: number of tokens in the attention window; it is nearly full.
      position: position scheme of attention.
      dtype: dtype of params and cache.
      method: `while` or `unrolled` loop over the action tokens, or `one_pass`.
      xla_flags: XLA flags to add to those of the environment.
    """

    model: str
    step: Literal["control", "image"]
    batch: int
    context: int = 1024
    position: Literal["relative_xl", "rope"] = "rope"
    dtype: Literal["float32", "bfloat16"] = "float32"
    method: Literal["while", "unrolled", "one_pass"] = "while"
    xla_flags: str = ""

    @property
    def group(self) -> str:
        """Name of the cases that are measured in turn, beside the same PyTorch."""
        return f"{self.model} {self.step}, batch {self.batch}"

    @property
    def name(self) -> str:
        words = [self.group, self.position, self.dtype, self.method.replace("_", " "), self.xla_flags]
        return ", ".join(filter(None, words))


# Without them, every kernel is launched by the host, also those in loops on the device.
_GRAPHS = (
    "--xla_gpu_enable_command_buffer=FUSION,CUBLAS,CUBLASLT,CUDNN,CUSTOM_CALL,DYNAMIC_SLICE_FUSION,CONDITIONAL,WHILE"
)


def _gpu(step: Any, batch: int, position: Any = "rope", method: Any = "while", xla_flags: str = "") -> Case:
    return Case(
        model="1.18b", step=step, batch=batch, position=position, dtype="bfloat16", method=method, xla_flags=xla_flags
    )


def _cpu(step: Any, batch: int, position: Any = "rope", method: Any = "while") -> Case:
    return Case(model="79m", step=step, batch=batch, position=position, method=method)


CPU = [
    *(
        case
        for batch in (1, 16)
        for case in (
            _cpu("control", batch),
            _cpu("control", batch, method="one_pass"),
            _cpu("control", batch, "relative_xl"),
        )
    ),
    _cpu("image", 1),
    _cpu("image", 16),
]
GPU = [
    *(
        case
        for batch in (1, 16, 64)
        for case in (
            _gpu("control", batch, xla_flags=_GRAPHS),
            _gpu("control", batch, "relative_xl", xla_flags=_GRAPHS),
            _gpu("control", batch, method="unrolled"),
            _gpu("control", batch, method="one_pass"),
            _gpu("image", batch, xla_flags=_GRAPHS),
            _gpu("image", batch, "relative_xl", xla_flags=_GRAPHS),
        )
    ),
    _gpu("control", 1),  # without graphs, for what they gain
]


def tiny(case: Case) -> Case:
    """Return the case with a tiny model, batch and context, and without flags that other devices do not know."""
    flags = "" if "gpu" in case.xla_flags else case.xla_flags
    return dataclasses.replace(case, model="tiny", batch=min(case.batch, 2), context=64, xla_flags=flags)


def shape(model: str) -> dict[str, int]:
    """Return layers, width, heads, head_size and hidden of a model."""
    from gato_jax.model.sizes import SIZES

    sizes = SMALL[model] if model in SMALL else SIZES[model]
    return {name: sizes[name] for name in ("layers", "width", "heads", "head_size", "hidden")}
