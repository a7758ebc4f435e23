"""A dataclass comes from JSON and ConfigDicts with its types checked, or one line says which key is wrong."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
import pytest
from ml_collections import ConfigDict

from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.episodes.ranges import PositiveInt, Range, Seed, rule


class ReadError(ValueError):
    pass


class Row(NamedTuple):
    steps: int
    name: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Circle:
    radius: float


@dataclasses.dataclass(frozen=True, kw_only=True)
class Square:
    side: int


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
    schedule: Literal["cosine", "constant"] = "cosine"
    rate: float = 1e-3
    ema: float | None = None

    def __post_init__(self):
        if self.rate <= 0:
            raise ValueError(f"rate is {self.rate}, expected a positive number")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
    steps: int
    inner: Inner = Inner()
    window: Literal["tokens", "timesteps"] | int = "tokens"
    low: tuple[float, ...] | float = 0.0
    names: tuple[str, ...] = ()
    size: tuple[int, int] | None = None
    shapes: Mapping[str, Circle | Square] = dataclasses.field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    on: bool = False
    extra: Any = None


READER = DataclassReader(error=ReadError)


def read(**fields):
    return READER.read(Outer, {"steps": 1, **fields}, "config")


def test_values_become_what_the_fields_declare():
    fields = {
        "inner": {"rate": 1, "schedule": "constant"}, "low": [1, "-inf"], "names": ["a"], "size": [3, 4], "window": 5,
        "shapes": {"a": {"kind": "circle", "radius": 2}, "b": {"kind": "square", "side": 3}}, "rows": [[1, "x"]],
    }  # fmt: skip
    made = read(**fields)
    assert made == Outer(
        steps=1, inner=Inner(rate=1.0, schedule="constant"), low=(1.0, -math.inf), names=("a",), size=(3, 4), window=5,
        shapes={"a": Circle(radius=2.0), "b": Square(side=3)}, rows=(Row(1, "x"),),
    )  # fmt: skip
    assert type(made.inner.rate) is float and type(made.rows[0]) is Row
    assert READER.read(Outer, ConfigDict({"steps": 1, **fields}), "config") == made
    assert type(read(steps=np.int64(3)).steps) is int and read(low="inf").low == math.inf
    assert read(inner=Inner(rate=2.0)).inner.rate == 2.0  # what is built already stays


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"stepz": 1}, "config has the unknown key 'stepz'. Did you mean 'steps'?"),
        ({"inner": {"q": 1}}, "config.inner has the unknown key 'q'. Its keys are schedule, rate, ema."),
        ({"steps": "3"}, "config.steps is '3', expected int."),
        ({"steps": 3.5}, "config.steps is 3.5, expected int."),
        ({"steps": True}, "config.steps is True, expected int."),
        ({"on": 1}, "config.on is 1, expected bool."),
        ({"inner": 3}, "config.inner is 3, expected an object with the keys schedule, rate, ema."),
        (
            {"inner": {"schedule": "cosin"}},
            "config.inner.schedule is 'cosin', expected 'cosine' or 'constant'. Did you mean 'cosine'?",
        ),
        ({"inner": {"ema": "x"}}, "config.inner.ema is 'x', expected float or None."),
        ({"inner": {"rate": None}}, "config.inner.rate is None, expected float."),
        ({"inner": {"rate": -1}}, "config.inner: rate is -1.0, expected a positive number"),
        (
            {"window": "token"},
            "config.window is 'token', expected 'tokens' or 'timesteps' or int. Did you mean 'tokens'?",
        ),
        ({"low": [1.0, "x"]}, "config.low[1] is 'x', expected float."),
        ({"names": "abc"}, "config.names is 'abc', expected a list of str."),
        ({"size": [1, 2, 3]}, "config.size is [1, 2, 3], expected a list of 2 values."),
        ({"shapes": {"a": {"side": 1}}}, "config.shapes.a.kind is None, expected 'circle' or 'square'."),
        ({"shapes": {"a": {"kind": "circle"}}}, "config.shapes.a lacks the key 'radius'. Add it."),
        ({"rows": [[1, 2]]}, "config.rows[0][1] is 2, expected str."),
        ({"shapes": [1]}, "config.shapes is [1], expected an object whose values are an object with the key 'kind'."),
    ],
)
def test_what_does_not_fit_is_one_line(fields, message):
    with pytest.raises(ReadError) as caught:
        read(**fields)
    assert str(caught.value) == message


def test_a_missing_key_and_no_object():
    with pytest.raises(ReadError, match="^config lacks the key 'steps'. Add it.$"):
        READER.read(Outer, {}, "config")
    with pytest.raises(ReadError, match=r"^config is \[\], expected an object with the keys steps, inner, "):
        READER.read(Outer, [], "config")


def test_unknown_keys_are_skipped_where_newer_files_may_say_more():
    reader = DataclassReader(error=ReadError, ignore_unknown_keys=True)
    assert reader.read(Inner, {"rate": 2, "newer": 3}, "file") == Inner(rate=2.0)


def test_a_frozen_dataclass_checks_itself():
    @dataclasses.dataclass(frozen=True)
    class Checked:
        names: tuple[str, ...]

        def __post_init__(self):
            READER.check(self, "Checked")

    assert Checked(["a"]).names == ("a",)
    with pytest.raises(ReadError, match=r"^Checked.names\[0\] is 3, expected str.$"):
        Checked([3])


@dataclasses.dataclass(frozen=True)
class Flat:
    tree: Mapping[str, Any] = dataclasses.field(metadata={"read_as": Mapping[str, Circle | Square]})


def test_a_field_may_be_read_as_another_type_than_the_constructor_takes():
    assert READER.read(Flat, {"tree": {"x": {"kind": "circle", "radius": 1}}}, "f").tree == {"x": Circle(radius=1.0)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Part:
    rate: Annotated[float, Range(at_least=0, below=1, remedy="None takes the default.")] | None = None
    devices: Literal[-1] | PositiveInt = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Ranged:
    seed: Seed
    steps: PositiveInt = 10
    every: PositiveInt = 5
    part: Part = Part()

    def __post_init__(self):
        READER.check(self, "config")

    @rule
    def _steps_end_together(self) -> str | None:
        return (
            f"steps is {self.steps}, expected a multiple of every ({self.every})" if self.steps % self.every else None
        )

    @rule
    def _devices_are_few(self) -> str | None:
        return "part.devices is 8, expected fewer than steps" if self.part.devices >= self.steps else None


def test_all_problems_of_an_object_are_in_one_error():
    fields = {"seed": -1, "steps": 8, "evry": 3, "part": {"rate": "inf", "devices": 8, "x": 1}}
    with pytest.raises(ReadError) as caught:
        READER.read(Ranged, fields, "config")
    assert str(caught.value).splitlines() == [
        "config has 6 problems:",
        "  config has the unknown key 'evry'. Did you mean 'every'?",
        "  config.seed is -1, expected a whole number in [0, 4294967296).",
        "  config.part has the unknown key 'x'. Its keys are rate, devices.",
        "  config.part.rate is inf, expected a number in [0, 1) or None. None takes the default.",
        "  config: steps is 8, expected a multiple of every (5)",
        "  config: part.devices is 8, expected fewer than steps",  # the section is wrong elsewhere
    ]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"part": {"devices": 0}}, "config.part.devices is 0, expected -1 or a positive whole number."),
        ({"part": {"devices": "all"}}, "config.part.devices is 'all', expected -1 or a positive whole number."),
        ({"steps": 0}, "config.steps is 0, expected a positive whole number."),  # and no rule divides by it
        ({"steps": 2.5}, "config.steps is 2.5, expected a positive whole number."),
        (
            {"part": {"rate": math.nan}},
            "config.part.rate is nan, expected a number in [0, 1) or None. None takes the default.",
        ),
    ],
)
def test_a_number_out_of_its_range_is_one_line(fields, message):
    with pytest.raises(ReadError) as caught:
        READER.read(Ranged, {"seed": 0, **fields}, "config")
    assert str(caught.value) == message


def test_ranges_and_rules_hold_for_what_is_built_directly():
    assert Ranged(seed=0, part=Part(devices=-1)) == READER.read(Ranged, {"seed": 0, "part": {"devices": -1}}, "config")
    with pytest.raises(ReadError, match=r"^config.seed is -1, expected a whole number in \[0, 4294967296\).$"):
        Ranged(seed=-1)
    with pytest.raises(ReadError, match=r"^config: steps is 8, expected a multiple of every \(5\)$"):
        dataclasses.replace(Ranged(seed=0), steps=8)
