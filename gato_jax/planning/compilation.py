"""The train step, compiled for devices that need not be there, and what the compiler says of it."""

from __future__ import annotations

import pathlib
import re
import time
from typing import NamedTuple

import jax
from jax.experimental import serialize_executable

from gato_jax.planning.collectives import Collectives, collectives
from gato_jax.training.program import Program

_UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30, "T": 2**40}
# How libtpu says it: "HLO temporaries (37.99G) exceeds available HBM (15.75G)", or "Used 37.99G of 15.75G hbm".
_OUT_OF_HBM = (
    re.compile(r"\(([\d.]+)([KMGT]?)\) exceeds available HBM \(([\d.]+)([KMGT]?)\)"),
    re.compile(r"Used ([\d.]+)([KMGT]?) of ([\d.]+)([KMGT]?) hbm"),
)


class CompileError(RuntimeError):
    """What the compiler refuses for another reason than memory."""


class Step(NamedTuple):
    """What a step takes of each device.

    Attributes:
      hbm: bytes at the worst moment, the program itself included; what it would need, where it does not compile.
      limit: bytes that there are.
      seconds: to compile; None of an estimate.
      collectives, executable: None where it does not compile.
    """

    hbm: int
    limit: int
    seconds: float | None
    collectives: Collectives | None
    executable: jax.stages.Compiled | None

    @property
    def fits(self) -> bool:
        return self.hbm <= self.limit


def compile_step(program: Program, limit: int) -> Step:
    """For the devices of the program's mesh, of which each has `limit` bytes unless the compiler knows better.

    Raises:
      CompileError: with the compiler's first words.
    """
    started = time.monotonic()
    try:
        with jax.set_mesh(program.mesh):
            executable = program.step.lower(program.state, program.batch, program.key).compile()
    except jax.errors.JaxRuntimeError as error:
        if (found := out_of_memory(str(error))) is None:
            raise CompileError(f"the step does not compile: {str(error)[:300]}") from error
        return Step(*found, time.monotonic() - started, None, None)
    seconds = time.monotonic() - started
    return Step(_hbm(executable), limit, seconds, collectives(executable.as_text()), executable)


def out_of_memory(message: str) -> tuple[int, int] | None:
    """Bytes needed and available, where that is what the compiler complains of."""
    for pattern in _OUT_OF_HBM:
        if (said := pattern.search(message)) is not None:
            needed, unit, limit, limit_unit = said.groups()
            return round(float(needed) * _UNITS[unit]), round(float(limit) * _UNITS[limit_unit])
    return None


def _hbm(executable: jax.stages.Compiled) -> int:
    """The compiler's own peak. Where it states none (a CPU's), the sum of what it allots, which shares less."""
    memory = executable.memory_analysis()
    if memory is None:
        raise CompileError("the compiler does not say how much memory the step takes")
    allotted = (
        memory.argument_size_in_bytes
        + memory.output_size_in_bytes
        - memory.alias_size_in_bytes
        + memory.temp_size_in_bytes
    )
    return (memory.peak_memory_in_bytes or allotted) + memory.generated_code_size_in_bytes


def save_step(executable: jax.stages.Compiled, path: pathlib.Path) -> int:
    """Writes the executable, so that whoever has the chips need not compile, and returns its bytes."""
    serialized, _, _ = serialize_executable.serialize(executable)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(serialized)
    return len(serialized)


def load_step(path: pathlib.Path, program: Program) -> jax.stages.Compiled:
    """What `save_step` wrote, on the devices that it was compiled for, in place of `program.step`.

    `program` is made of the same config, on those devices; `load_step(path, program)(state, batch, key)` then runs. It
    is machine code of one version of libtpu, and loading it runs it: load your own only.
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
