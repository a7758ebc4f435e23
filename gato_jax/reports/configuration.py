"""The config of a run as a flat table of its keys, and the keys in which the configs of several runs differ."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gato_jax.episodes.errors import describe_error
from gato_jax.reports.errors import ReportError

FILE = "config.json"
_ABSENT = "-"  # the value of a key that a config lacks


def read_configuration(workdir: Path) -> dict[str, str]:
    """Return {key: value} of the config that a run was started with last, such as {"optimizer.clip_norm": "1.0"}.

    Values are JSON, and lists are values. A run without a config.json, as an imported one, has no keys.

    Raises:
      ReportError: config.json is damaged.
    """
    path = workdir / FILE
    if not path.exists():
        return {}
    try:
        fields = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise ReportError(f"{path} is not JSON ({describe_error(error)}). Train there again, or delete it.") from None
    if not isinstance(fields, dict):
        raise ReportError(f"{path} is {fields!r:.40}, expected an object. Train there again, or delete it.")
    return _flatten(fields, "")


def differing_keys(configurations: Sequence[Mapping[str, str]]) -> dict[str, tuple[str, ...]]:
    """Return {key: its value in each of the configurations} of the keys that are not the same in all; "-" if absent."""
    keys = dict.fromkeys(key for one in configurations for key in one)
    values = {key: tuple(one.get(key, _ABSENT) for one in configurations) for key in keys}
    return {key: each for key, each in values.items() if len(set(each)) > 1}


def _flatten(fields: Mapping[str, Any], prefix: str) -> dict[str, str]:
    flat: dict[str, str] = {}
    for key, value in fields.items():
        if isinstance(value, dict) and value:
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value if isinstance(value, str) else json.dumps(value)
    return flat
