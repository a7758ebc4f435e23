"""Dataclasses made as a user makes them, whose arguments no checker of signatures looks at first."""

import dataclasses
from typing import Any


def unchecked(kind: type, /, **fields: Any) -> Any:
    """`kind(**fields)`, checked by its own `__post_init__` alone."""
    made = object.__new__(kind)
    defaults = {field.name: field.default for field in dataclasses.fields(kind)}
    for name, value in (defaults | fields).items():
        object.__setattr__(made, name, value)
    made.__post_init__()
    return made
