"""The text of a compiled program: computations, their instructions, and how often loops run.

Only what counting needs is understood, and a line is taken apart only when it is asked for: there are tens of
thousands.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

_COMPUTATION = re.compile(r"^(ENTRY )?%?([\w.-]+) \(.*\{$")
_INSTRUCTION = re.compile(r"^\s+(ROOT )?%?([\w.-]+) = ")
_ARRAY = re.compile(r"\b([a-z]\w*)\[([\d,]*)\]")
_COMMENT = re.compile(r"/\*.*?\*/")
_OPERAND = re.compile(r"%([\w.-]+)")


class HloError(RuntimeError):
    """A program's text that is not understood; the message quotes it."""


class Instruction(NamedTuple):
    """One line: `%name = shape opcode(operands), attributes`. `inside` is what stands between the parentheses."""

    shape: str
    opcode: str
    inside: str
    attributes: str

    @property
    def operands(self) -> list[str]:
        return _OPERAND.findall(self.inside)

    @property
    def bytes(self) -> int:
        """Of its result, all arrays of a tuple together, without what the tiles of its layout waste."""
        return sum(_array_bytes(kind, sides) for kind, sides in _ARRAY.findall(self.shape))

    def called(self, role: str) -> str:
        """The computation that is named in this role: calls, body, condition.

        Raises:
          HloError: there is none.
        """
        if (found := re.search(rf"\b{role}=%?([\w.-]+)", self.attributes)) is None:
            raise HloError(f"{self.opcode} without {role}: {self.attributes[:300]}")
        return found[1]

    @property
    def branches(self) -> list[str]:
        """The computations of which a conditional runs one."""
        if (found := re.search(r"\bbranch_computations=\{([^}]*)\}", self.attributes)) is not None:
            return [name.strip().lstrip("%") for name in found[1].split(",")]
        return [self.called("true_computation"), self.called("false_computation")]


class Computation:
    """Instructions by name."""

    def __init__(self):
        self.lines: dict[str, str] = {}
        self.root = ""

    def __getitem__(self, name: str) -> Instruction:
        return _read(self.lines[name])

    def matching(self, pattern: re.Pattern[str]) -> Iterator[Instruction]:
        """Those whose line the pattern is found in."""
        return (_read(line) for line in self.lines.values() if pattern.search(line))

    def origin(self, name: str) -> Instruction:
        """What is copied under this name."""
        found = self[name]
        while found.opcode in ("copy", "bitcast"):
            found = self[found.operands[0]]
        return found

    def constant(self, name: str) -> int | None:
        """A whole number, None where it is computed."""
        found = self.origin(name)
        return int(found.inside) if found.opcode == "constant" and re.fullmatch(r"-?\d+", found.inside) else None


class Module(NamedTuple):
    """A program.

    Attributes:
      devices: that run it together.
    """

    entry: str
    devices: int
    computations: Mapping[str, Computation]

    def trips(self, loop: Instruction, around: Computation) -> int | None:
        """How often a `while` in `around` runs; None where only running it tells."""
        if (known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)) is not None:
            return int(known[1])
        return self._counted(loop, around)

    def _counted(self, loop: Instruction, around: Computation) -> int | None:
        """Of a loop that counts from a constant to a constant, as those of lax.scan do."""
        condition = self.computations[loop.called("condition")]
        test, start = condition[condition.root], around[loop.operands[0]]
        if (test.opcode, start.opcode) != ("compare", "tuple") or "direction=LT" not in test.attributes:
            return None
        counter, stop = condition[test.operands[0]], condition.constant(test.operands[1])
        place = re.search(r"index=(\d+)", counter.attributes)
        if stop is None or place is None:
            return None
        first, step = around.constant(start.operands[int(place[1])]), self._step(loop, int(place[1]))
        return None if first is None or not step else max(-(-(stop - first) // step), 0)

    def _step(self, loop: Instruction, place: int) -> int | None:
        """What the body adds to the counter, which has this place in the loop's tuple."""
        body = self.computations[loop.called("body")]
        if body[body.root].opcode != "tuple":
            return None
        made = body.origin(body[body.root].operands[place])
        if made.opcode == "fusion":  # the addition may be wrapped up
            body = self.computations[made.called("calls")]
            made = body[body.root]
        steps = [body.constant(name) for name in made.operands] if made.opcode == "add" else []
        return next((step for step in steps if step is not None), None)


def parse(text: str) -> Module:
    """Of `compiled.as_text()`."""
    header = text.partition("\n")[0]
    devices = 1
    for number in re.findall(r"(?:num_partitions|replica_count)=(\d+)", header):
        devices *= int(number)
    entry, current, computations = None, Computation(), {}
    for line in text.splitlines():
        if (head := _COMPUTATION.match(line)) is not None:
            current = computations[head[2]] = Computation()
            entry = head[2] if head[1] else entry
        elif (named := _INSTRUCTION.match(line)) is not None:
            current.lines[named[2]] = line
            current.root = named[2] if named[1] else current.root
    if entry is None:
        raise HloError(f"a program without an entry: {header[:300]}")
    return Module(entry, devices, computations)


@functools.lru_cache(maxsize=4096)
def _read(line: str) -> Instruction:
    line = _COMMENT.sub("", line.partition(" = ")[2])
    end = _closing(line, 0) + 1 if line.startswith("(") else line.index(" ")
    shape, rest = line[:end], line[end:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    return Instruction(shape, rest[:opening], rest[opening + 1 : closing], rest[closing + 1 :])


def _closing(text: str, opening: int) -> int:
    """Where the parenthesis that opens there is closed."""
    depth = 0
    for found in re.finditer(r"[()]", text[opening:]):
        depth += 1 if found[0] == "(" else -1
        if not depth:
            return opening + found.start()
    raise HloError(f"a parenthesis is not closed: {text[:300]}")


def _array_bytes(kind: str, sides: str) -> int:
    """Of f32[2,3], bf16[], s4[8]; pred takes a byte, and what has no size, a token, none."""
    size = re.search(r"\d+", kind)
    bits = 8 if kind == "pred" else int(size[0]) if size else 0
    return -(-math.prod(int(side) for side in sides.split(",") if side) * bits // 8)
