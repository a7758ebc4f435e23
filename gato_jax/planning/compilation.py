"""Compilation of the train step for devices that need not be present, and the memory that the compiler reports."""

from __future__ import annotations

import pathlib
import re
import time
from typing import Any, NamedTuple

import jax
from jax.experimental import serialize_executable

from gato_jax.planning.collectives import Collectives, collectives
from gato_jax.runtime.compilation import announced_compilation
from gato_jax.training.program import Program

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# Messages of libtpu: "HLO temporaries (37.99G) exceeds available HBM (15.75G)", or "Used 37.99G of 15.75G hbm".
_OUT_OF_HBM = (
    re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"),
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
)


class CompileError(RuntimeError):
    """A step that the compiler refuses for another reason than lack of memory, or whose memory it does not report."""


class StepCost(NamedTuple):
    """Memory and communication of one training step on each device.

    Attributes:
      hbm: peak memory in bytes, with the program itself; where the step does not compile for lack of memory, the memory
        that it would need.
      limit: memory that a program may use, in bytes.
      seconds: duration of the compilation, successful or not; None for an estimate.
      collectives: communication of the step; None where it does not compile.
      executable: the compiled step; None where it does not compile, and for an estimate.
    """

    hbm: int
    limit: int
    seconds: float | None
    collectives: Collectives | None
    executable: jax.stages.Compiled | None

    @property
    def fits(self) -> bool:
        return self.hbm <= self.limit


def compile_step(program: Program, limit: int, settings: Any = None) -> StepCost:
    """Compile the step for the devices of the program's mesh, and log how long it takes and took last time.

    Args:
      program: the training step.
      limit: memory that a program may use, in bytes. Where the compiler refuses the step for lack of memory, the result
        has the limit of the compiler's message in its place.
      settings: settings of the step that its shapes do not show, to tell programs of other durations apart.

    Raises:
      CompileError: the compiler refuses the step for another reason than lack of memory, or does not report the memory.
      HloError: the text of the compiled step cannot be parsed.
    """
    started = time.monotonic()
    try:
        device = program.mesh.devices.flat[0].device_kind
        identity = [settings, str(jax.tree.leaves((program.state, program.batch)))]
        with jax.set_mesh(program.mesh), announced_compilation(f"training step for {device}", identity):
            executable = program.step.lower(program.state, program.batch, program.key).compile()
    except jax.errors.JaxRuntimeError as error:
        if (memory := out_of_memory(str(error))) is None:
            raise CompileError(f"the step does not compile: {str(error)[:300]}") from error
        return StepCost(*memory, time.monotonic() - started, None, None)
    seconds = time.monotonic() - started
    return StepCost(_hbm(executable), limit, seconds, collectives(executable.as_text()), executable)


def out_of_memory(message: str) -> tuple[int, int] | None:
    """Return (bytes needed, bytes available) from a compiler's message, or None if the message is not about HBM.

    In "Used 37.99G of 15.75G hbm", G stands for 2**30 bytes.
    """
    for pattern in _OUT_OF_HBM:
        if (match := pattern.search(message)) is not None:
            needed, unit, limit, limit_unit = match.groups()
            return round(float(needed) * _UNITS[unit]), round(float(limit) * _UNITS[limit_unit])
    return None


def _hbm(executable: jax.stages.Compiled) -> int:
    """Return the peak memory of one device in bytes, with the program itself.

    Where the compiler reports a peak of 0, the sum of all buffers takes its place: arguments, outputs that do not share
    memory with them, and temporaries.

    Raises:
      CompileError: the compiler reports nothing about memory.
    """
    memory = executable.memory_analysis()
    if memory is None:
        raise CompileError("the compiler does not report how much memory the step takes")
    allocated = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return (memory.peak_memory_in_bytes or allocated) + memory.generated_code_size_in_bytes


def save_step(executable: jax.stages.Compiled, path: pathlib.Path) -> int:
    """Write a compiled step to `path`, for `load_step` on the accelerators, and return the file's size in bytes.

    Missing folders are made, and an older file is replaced.
    """
    serialized, _, _ = serialize_executable.serialize(executable)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialized)
    return len(serialized)


def load_step(path: pathlib.Path, program: Program) -> jax.stages.Compiled:
    """Load a step that `save_step` wrote, to be called as `program.step` is: `(state, batch, key)`.

    The file holds machine code for one version of libtpu, and loading it executes it: load only files of your own.

    Args:
      path: the file.
      program: the program of the same config, on the devices that the step was compiled for.
    """
    with jax.set_mesh(program.mesh):
        out = jax.eval_shape(program.step, program.state, program.batch, program.key)
    arguments = jax.tree.structure(((program.state, program.batch, program.key), {}))
    return serialize_executable.deserialize_and_load(
        path.read_bytes(),
        arguments,
        jax.tree.structure(out),
        backend=program.mesh.devices.flat[0].client,
        execution_devices=list(program.mesh.devices.flat),
    )
