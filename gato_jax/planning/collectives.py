"""Communication between devices in a step, counted in the text of the compiled program.

Bytes are those that one device sends, by the ring algorithms. With n devices that hold A bytes each, a device sends

    all-gather          (n-1) A
    reduce-scatter      (n-1)/n A
    all-reduce          2 (n-1)/n A
    all-to-all          (n-1)/n A
    collective-permute  A
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
    """Number of collectives of one kind in a step, and the bytes that one device sends in them."""

    count: int
    bytes: int


@dataclasses.dataclass(frozen=True)
class Collectives:
    """All collectives of one step.

    Attributes:
      kinds: {kind of collective: traffic}, with the kinds that occur.
      unbounded_loops: number of loops of unknown trip count that have collectives, which count once each.
    """

    kinds: Mapping[str, Traffic]
    unbounded_loops: int = 0

    @property
    def bytes(self) -> int:
        """Bytes that one device sends in a step."""
        return sum(traffic.bytes for traffic in self.kinds.values())

    def __add__(self, other: Collectives) -> Collectives:
        kinds = dict(self.kinds)
        for kind, (count, sent) in other.kinds.items():
            before = kinds.get(kind, Traffic(0, 0))
            kinds[kind] = Traffic(before.count + count, before.bytes + sent)
        return Collectives(kinds, self.unbounded_loops + other.unbounded_loops)

    def times(self, trips: int | None) -> Collectives:
        """Return the collectives of a loop whose body has these.

        Args:
          trips: trip count of the loop. If it is None (unknown), the body's collectives count once, and
            `unbounded_loops` grows by 1 if the body has collectives.
        """
        if trips is None:
            return Collectives(self.kinds, self.unbounded_loops + 1 if self.kinds else 0)
        kinds = {kind: Traffic(count * trips, sent * trips) for kind, (count, sent) in self.kinds.items()}
        return Collectives(kinds if trips else {}, self.unbounded_loops)


def collectives(text: str) -> Collectives:
    """Count the collectives in one call of a compiled program, such as a training step.

    Collectives in loops count once for each trip; of a conditional, only the branch in which a device sends the most
    bytes counts. Collectives over groups of one device do not count.

    Args:
      text: HLO, as `compiled.as_text()` returns it.

    Raises:
      HloError: the text has no entry computation, or an instruction or its replica groups cannot be parsed.
    """
    module = parse(text)
    return _in_computation(module, module.entry)


def _in_computation(module: Module, name: str) -> Collectives:
    computation, total, fused = module.computations[name], Collectives({}), set()
    for instruction in computation.matching(_LINES):
        kind = instruction.opcode.removesuffix("-start")
        if kind in KINDS:
            total += _collective(module, computation, instruction, kind)
        elif kind == "while":
            body = _in_computation(module, instruction.called("body"))
            total += body.times(module.trips(instruction, computation)) if body.kinds else body
        elif kind == "conditional":
            branches = [_in_computation(module, branch) for branch in instruction.branches]
            total += max(branches, key=lambda branch: branch.bytes)
        elif kind == "fusion":
            total += _in_fusion(module, instruction.called("calls"), fused)
        else:
            total += _in_computation(module, instruction.called("to_apply" if kind == "call" else "calls"))
    return total


def _in_fusion(module: Module, name: str, fused: set[str]) -> Collectives:
    """Count the collectives that the compiler for TPUs has fused with other work.

    An asynchronous collective appears in several fusions, at its start, in its middle and at its end, with one channel
    number. A reduce-scatter appears as an all-reduce fused with the slice of the result that a device keeps, and only
    the name of the fusion says so.

    Args:
      module: the program.
      name: name of the fused computation.
      fused: `channel_id=...` of the collectives that are already counted; those counted here are added to the set.
    """
    computation, total = module.computations[name], Collectives({})
    for instruction in computation.matching(_LINES):
        kind = instruction.opcode.removesuffix("-start")
        channel = re.search(r"channel_id=\d+", instruction.attributes)
        if kind not in KINDS or (channel is not None and channel[0] in fused):
            continue
        fused |= {channel[0]} if channel is not None else set()
        scattered = kind == "all-reduce" and "all-reduce-scatter" in name
        total += _collective(module, computation, instruction, "reduce-scatter" if scattered else kind)
    return total


def _collective(module: Module, computation: Computation, instruction: Instruction, kind: str) -> Collectives:
    """Return the traffic of one collective, from the size of its operands on one device.

    Args:
      module: the program.
      computation: the computation that holds the instruction and its operands.
      instruction: the collective.
      kind: one of `KINDS`, whose formula applies.

    Returns:
      Collectives with this one, or without any if its groups have one device each.
    """
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
    """Return the number of devices in each group of a collective.

    HLO writes groups as lists, as an array, or as axes of a mesh. For empty groups and for a collective-permute, which
    has source and target pairs, it is the number of all devices of the program.

    Raises:
      HloError: the groups are missing or written in another way.
    """
    attributes = instruction.attributes
    if "source_target_pairs=" in attributes:
        return module.devices
    if (axes := _MESH.search(attributes)) is not None:
        sizes = dict(re.findall(r"'([^']+)'=(\d+)", axes[1]))
        return math.prod(int(part or sizes[axis]) for axis, part in re.findall(r"'([^']+)'(?::\(\d+\)(\d+))?", axes[2]))
    if (array := re.search(r"replica_groups=\[\d+,(\d+)\]", attributes)) is not None:
        return int(array[1])
    if (first := re.search(r"replica_groups=\{\{([\d,]*)\}", attributes)) is not None:
        return len(first[1].split(","))
    if "replica_groups={}" in attributes:
        return module.devices
    raise HloError(f"the replica groups of {instruction.opcode} cannot be parsed: {attributes[:300]}")
