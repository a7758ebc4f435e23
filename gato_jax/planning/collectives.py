"""What devices send each other in a step, from the text of the compiled program.

Bytes are those that a device sends, by the ring algorithms. Of n devices that hold A bytes each: to gather them
everywhere it sends (n-1) A; to add them up in n pieces (n-1)/n A; to have the whole sum everywhere, twice that; to
exchange pieces (n-1)/n A; to pass them on A.
"""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import NamedTuple

from gato_jax.planning.hlo import Computation, HloError, Instruction, Module, parse

KINDS = ("all-gather", "all-reduce", "reduce-scatter", "all-to-all", "collective-permute")
_LINES = re.compile(rf" ({'|'.join(KINDS)}|while|conditional|fusion|call|async)(-start)?\(")
_MESH = re.compile(r"replica_groups=mesh\[([^\]]*)\].*?\{([^}]*)\}")


class Traffic(NamedTuple):
    """Collectives of one kind, and the bytes that a device sends in them."""

    count: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Collectives:
    """Of one step.

    Attributes:
      kinds: those that there are.
      endless: loops with collectives of which the text does not say how often they run; counted once.
    """

    kinds: Mapping[str, Traffic]
    endless: int = 0

    @property
    def bytes(self) -> int:
        """That a device sends in all."""
        return sum(traffic.bytes for traffic in self.kinds.values())

    def __add__(self, other: Collectives) -> Collectives:
        kinds = dict(self.kinds)
        for kind, (count, sent) in other.kinds.items():
            before = kinds.get(kind, Traffic(0, 0))
            kinds[kind] = Traffic(before.count + count, before.bytes + sent)
        return Collectives(kinds, self.endless + other.endless)

    def times(self, trips: int | None) -> Collectives:
        """Of a loop's body, from what is in one trip."""
        if trips is None:
            return Collectives(self.kinds, self.endless + 1 if self.kinds else 0)
        kinds = {kind: Traffic(count * trips, sent * trips) for kind, (count, sent) in self.kinds.items()}
        return Collectives(kinds if trips else {}, self.endless)


def collectives(text: str) -> Collectives:
    """Of `compiled.as_text()`, as often as they run in one call of the program.

    Raises:
      HloError: a line that is not understood.
    """
    module = parse(text)
    return _in_computation(module, module.entry)


def _in_computation(module: Module, name: str) -> Collectives:
    computation, found, fused = module.computations[name], Collectives({}), set()
    for instruction in computation.matching(_LINES):
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            found += _one(module, computation, instruction, kind)
        elif kind == "while":
            body = _in_computation(module, instruction.called("body"))
            found += body.times(module.trips(instruction, computation)) if body.kinds else body
        elif kind == "conditional":
            branches = [_in_computation(module, branch) for branch in instruction.branches]
            found += max(branches, key=lambda branch: branch.bytes)
        elif kind == "fusion":
            found += _in_fusion(module, instruction.called("calls"), fused)
        else:
            found += _in_computation(module, instruction.called("to_apply" if kind == "call" else "calls"))
    return found


def _in_fusion(module: Module, name: str, fused: set[str]) -> Collectives:
    """Those that a TPU's compiler has fused with something, in two ways.

    One that goes on behind other work stands in the fusions at its start, in its middle and at its end, by the number
    of its channel, which `fused` keeps. And a sum in pieces is a whole sum with taking one's piece of it, known by its
    name only.
    """
    computation, found = module.computations[name], Collectives({})
    for instruction in computation.matching(_LINES):
        kind = instruction.opcode.removesuffix("-start")
        channel = re.search(r"channel_id=\d+", instruction.attributes)
        if kind not in KINDS or (channel is not None and channel[0] in fused):
            continue
        fused |= {channel[0]} if channel is not None else set()
        in_pieces = kind == "all-reduce" and "all-reduce-scatter" in name
        found += _one(module, computation, instruction, "reduce-scatter" if in_pieces else kind)
    return found


def _one(module: Module, computation: Computation, instruction: Instruction, kind: str) -> Collectives:
    """By what the device holds, the operands."""
    held = sum(computation[name].bytes for name in instruction.operands)
    n = _group_size(module, instruction)
    if n == 1:
        return Collectives({})
    sent = {
        "all-gather": (n - 1) * held,
        "all-reduce": 2 * held * (n - 1) // n,
        "reduce-scatter": held * (n - 1) // n,
        "all-to-all": held * (n - 1) // n,
        "collective-permute": held,
    }[kind]
    return Collectives({kind: Traffic(1, sent)})


def _group_size(module: Module, instruction: Instruction) -> int:
    """How many devices take part together; groups are lists, an array of them, or axes of a mesh."""
    said = instruction.attributes
    if "source_target_pairs=" in said:
        return module.devices
    if (axes := _MESH.search(said)) is not None:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", axes[1]))
        return math.prod(int(part or sizes[axis]) for axis, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", axes[2]))
    if (array := re.search(r"replica_groups=\[\d+,(\d+)\]", said)) is not None:
        return int(array[1])
    if (first := re.search(r"replica_groups=\{\{([\d,]*)\}", said)) is not None:
        return len(first[1].split(","))
    if "replica_groups={}" in said:
        return module.devices
    raise HloError(f"groups of {instruction.opcode} are not understood: {said[:300]}")
