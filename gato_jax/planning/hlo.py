"""Parser of HLO, the text of a compiled program: its computations, their instructions, and trip counts of loops.

It parses only what counting of collectives needs, and a line only when it is asked for: there are tens of thousands.
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
    """HLO text that cannot be parsed; the message quotes up to 300 characters of the text."""


class Instruction(NamedTuple):
    """Instruction of the form `%name = shape opcode(inside), attributes`.

    Attributes:
      shape: type of the result, as `bf16[8,128]{1,0}` or a tuple of such.
      opcode: name of the operation.
      inside: text between the parentheses: the operands, as `%name` in a list, or the value of a constant.
      attributes: text after the parentheses.
    """

    shape: str
    opcode: str
    inside: str
    attributes: str

    @property
    def operands(self) -> list[str]:
        return _OPERAND.findall(self.inside)

    @property
    def bytes(self) -> int:
        """Bytes of the result, summed over the arrays of a tuple, without padding to the tiles of a layout."""
        return sum(_array_bytes(kind, sides) for kind, sides in _ARRAY.findall(self.shape))

    def called(self, role: str) -> str:
        """Return the name of the computation in the attribute `role`, such as calls, body or condition, without `%`.

        Raises:
          HloError: the instruction has no such attribute.
        """
        if (match := re.search(rf"\b{role}=%?([\w.-]+)", self.attributes)) is None:
            raise HloError(f"{self.opcode} has no attribute {role}: {self.attributes[:300]}")
        return match[1]

    @property
    def branches(self) -> list[str]:
        """Names of the computations of which a conditional runs one."""
        if (match := re.search(r"\bbranch_computations=\{([^}]*)\}", self.attributes)) is not None:
            return [name.strip().lstrip("%") for name in match[1].split(",")]
        return [self.called("true_computation"), self.called("false_computation")]


class Computation:
    """Computation of a module; indexing it with the name of an instruction parses that instruction.

    Attributes:
      lines: {name of the instruction: its line of text}.
      root: name of the instruction whose result is that of the computation.
    """

    def __init__(self):
        self.lines: dict[str, str] = {}
        self.root = ""

    def __getitem__(self, name: str) -> Instruction:
        return _parse_line(self.lines[name])

    def matching(self, pattern: re.Pattern[str]) -> Iterator[Instruction]:
        """Yield the instructions whose line contains a match of the pattern, in the order of the text."""
        return (_parse_line(line) for line in self.lines.values() if pattern.search(line))

    def origin(self, name: str) -> Instruction:
        """Return the instruction whose result the named one has, with copies and bitcasts followed to their source."""
        instruction = self[name]
        while instruction.opcode in ("copy", "bitcast"):
            instruction = self[instruction.operands[0]]
        return instruction

    def constant(self, name: str) -> int | None:
        """Return the value of the named instruction if it is an integer constant, perhaps copied; None otherwise."""
        source = self.origin(name)
        return int(source.inside) if source.opcode == "constant" and re.fullmatch(r"-?\d+", source.inside) else None


class Module(NamedTuple):
    """Compiled program.

    Attributes:
      entry: name of the computation that a call of the program runs.
      devices: number of devices that run it together.
      computations: {name: computation}.
    """

    entry: str
    devices: int
    computations: Mapping[str, Computation]

    def trips(self, loop: Instruction, around: Computation) -> int | None:
        """Return the trip count of a `while` instruction of the computation `around`, or None if it is unknown."""
        if (known := re.search(r'"known_trip_count":\{"n":"(\d+)"', loop.attributes)) is not None:
            return int(known[1])
        return self._count_trips(loop, around)

    def _count_trips(self, loop: Instruction, around: Computation) -> int | None:
        """Return the trip count of a loop whose counter runs from a constant to a constant, as those of lax.scan do.

        Any other loop gives None.
        """
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
        """Return the constant that the body of a loop adds to the counter; None if the update is no such addition.

        Args:
          loop: the `while` instruction.
          place: index of the counter in the loop's tuple.
        """
        body = self.computations[loop.called("body")]
        if body[body.root].opcode != "tuple":
            return None
        update = body.origin(body[body.root].operands[place])
        if update.opcode == "fusion":  # The addition may be inside a fusion.
            body = self.computations[update.called("calls")]
            update = body[body.root]
        steps = [body.constant(name) for name in update.operands] if update.opcode == "add" else []
        return next((step for step in steps if step is not None), None)


def parse(text: str) -> Module:
    """Parse HLO text, as `compiled.as_text()` returns it; instructions are parsed only when they are asked for.

    Raises:
      HloError: the text has no entry computation.
    """
    header = text.partition("\n")[0]
    devices = 1
    for number in re.findall(r"(?:num_partitions|replica_count)=(\d+)", header):
        devices *= int(number)
    entry, current, computations = None, Computation(), {}
    for line in text.split("\n"):
        if (head := _COMPUTATION.match(line)) is not None:
            current = computations[head[2]] = Computation()
            entry = head[2] if head[1] else entry
        elif (named := _INSTRUCTION.match(line)) is not None:
            current.lines[named[2]] = line
            current.root = named[2] if named[1] else current.root
    if entry is None:
        raise HloError(f"the program has no entry computation: {header[:300]}")
    return Module(entry, devices, computations)


@functools.lru_cache(maxsize=4096)
def _parse_line(line: str) -> Instruction:
    line = _COMMENT.sub("", line.partition(" = ")[2])
    end = _closing(line, 0) + 1 if line.startswith("(") else line.index(" ")
    shape, rest = line[:end], line[end:].lstrip()
    opening = rest.index("(")
    closing = _closing(rest, opening)
    return Instruction(shape, rest[:opening], rest[opening + 1 : closing], rest[closing + 1 :])


def _closing(text: str, opening: int) -> int:
    """Return the index in `text` of the parenthesis that closes the one at index `opening`.

    Raises:
      HloError: none closes it.
    """
    depth = 0
    for parenthesis in re.finditer(r"[()]", text[opening:]):
        depth += 1 if parenthesis[0] == "(" else -1
        if not depth:
            return opening + parenthesis.start()
    raise HloError(f"a parenthesis is not closed: {text[:300]}")


def _array_bytes(kind: str, sides: str) -> int:
    """Return the bytes of an array such as f32[2,3], bf16[] or s4[8], rounded up to whole bytes.

    Args:
      kind: type of the elements, such as f32. The number in it is their bits; pred has 8, a token has 0.
      sides: the sides, separated by commas, such as "2,3"; "" for a scalar.
    """
    size = re.search(r"\d+", kind)
    bits = 8 if kind == "pred" else int(size[0]) if size else 0
    return -(-math.prod(int(side) for side in sides.split(",") if side) * bits // 8)
