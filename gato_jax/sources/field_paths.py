"""Paths of fields: a name in the recording, with the slices and decoders that are applied to its values."""

from __future__ import annotations

import dataclasses
import functools
import math
import re

from gato_jax.sources.decoders import DECODERS, Decoder
from gato_jax.sources.reader import SourceError

_SLICED = re.compile(r"(?P<path>.+)\[(?P<start>\d+):(?P<stop>\d+)\]", re.DOTALL)
_CALL = re.compile(r"(?P<name>\w+)\((?P<inside>.+)\)", re.DOTALL)


@dataclasses.dataclass(frozen=True, kw_only=True)
class DecoderCall:
    """A decoder with its arguments.

    Attributes:
      name: key of DECODERS.
      arguments: numbers that follow the path, such as near and far.
    """

    name: str
    arguments: tuple[float | int, ...] = ()

    @property
    def decoder(self) -> Decoder:
        return DECODERS[self.name]


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class FieldPath:
    """A parsed path.

    Attributes:
      name: name of the field in the recording.
      conversions: slices of vectors and decoders, in the order in which they are applied to the values.
    """

    name: str
    conversions: tuple[slice | DecoderCall, ...] = ()

    @property
    def calls(self) -> tuple[DecoderCall, ...]:
        """The decoders among the conversions."""
        return tuple(one for one in self.conversions if isinstance(one, DecoderCall))


@functools.lru_cache(maxsize=4096)
def parse_path(path: str) -> FieldPath:
    """Parse the path of a field.

    A path is the name of a field, such as `observation/state`; or `PATH[0:6]`, the first six elements of a vector; or
    `DECODER(PATH)`; or `DECODER(PATH, NUMBER, ...)` with a key of DECODERS and its arguments, such as
    `grey_to_rgb(depth(front/depth, 200, 4000))`. Anything else is a name: `action[3]`, `action[:6]` and `mean(x)`.

    Raises:
      SourceError: the arguments of a decoder are not as many finite numbers as it takes.
    """
    if sliced := _SLICED.fullmatch(path):
        inner = parse_path(sliced["path"])
        part = slice(int(sliced["start"]), int(sliced["stop"]))
        return FieldPath(name=inner.name, conversions=(*inner.conversions, part))
    if (call := _CALL.fullmatch(path)) is None or call["name"] not in DECODERS:
        return FieldPath(name=path)
    names = DECODERS[call["name"]].arguments
    # A name may hold commas, so the arguments are counted from the end.
    inside, *texts = call["inside"].rsplit(",", len(names)) if names else [call["inside"]]
    try:
        arguments = tuple(map(_number, texts))
    except ValueError:
        arguments = ()
    if len(arguments) != len(names):
        form = ", ".join(("PATH", *(name.upper() for name in names)))
        raise SourceError(
            f"cannot read field {path!r}: the arguments of {call['name']} are {call['inside']!r}, expected "
            f"{call['name']}({form}) with finite numbers"
        )
    inner = parse_path(inside.strip())
    return FieldPath(
        name=inner.name, conversions=(*inner.conversions, DecoderCall(name=call["name"], arguments=arguments))
    )


def unknown_decoder(name: str) -> str | None:
    """Return ROT13 for the name `ROT13(x)`, which is no key of DECODERS, or None for a name that is no call."""
    call = _CALL.fullmatch(name)
    return call["name"] if call else None


def _number(text: str) -> float | int:
    """Return the finite number that a text denotes, an int if it has no point or exponent, or raise ValueError."""
    value = int(text) if re.fullmatch(r"\s*[+-]?\d+\s*", text) else float(text)
    if not math.isfinite(value):
        raise ValueError(text)
    return value
