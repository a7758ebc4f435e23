"""The copy of a run's config in its folder, config.json: every value, those that were not set included.

Paths inside of the run's folder begin with `{workdir}` in it, so that a run that is moved or copied finds its data.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
import re
from typing import Any

from gato_jax.runtime.atomic_writes import atomic_file
from gato_jax.training.config import ConfigError, TrainConfig

CONFIG_FILE = "config.json"


def config_to_json(config: TrainConfig) -> dict[str, Any]:
    """Return a config as JSON, of which `TrainConfig.from_mapping` makes the same config again."""
    fields = dataclasses.asdict(config)
    tokenization = fields["model"].pop("tokenization")
    return json.loads(json.dumps({**fields, "tokenization": tokenization}))


def write_config(config: TrainConfig, workdir: pathlib.Path):
    """Write a config to WORKDIR/config.json, in place of that of an earlier start of the run."""
    with atomic_file(workdir / CONFIG_FILE) as written:
        written.write_text(json.dumps(_mark_workdir(config_to_json(config), workdir), indent=2) + "\n")


def read_config(workdir: pathlib.Path) -> TrainConfig:
    """Return the config with which a run was started last.

    Raises:
      ConfigError: There is no config.json, it is damaged, or this version does not know a key or value of it.
    """
    path = workdir / CONFIG_FILE
    try:
        fields = json.loads(path.read_text())
    except OSError as error:
        reason, remedy = f"cannot be read ({error.strerror})", "Train there first, or name another folder."
    except ValueError as error:
        reason, remedy = f"is no JSON ({error})", "Train there again with the config of the run."
    else:
        if isinstance(fields, dict):
            return TrainConfig.from_mapping(fields, workdir)
        reason, remedy = "is no JSON object", "Train there again with the config of the run."
    raise ConfigError(f"{path} {reason}. {remedy}")


def _mark_workdir(value: Any, workdir: pathlib.Path) -> Any:
    """Return JSON with `{workdir}` for the folder where a text, or what follows a colon in it, begins with it."""
    if isinstance(value, dict):
        return {key: _mark_workdir(item, workdir) for key, item in value.items()}
    if isinstance(value, str):
        return re.sub(rf"(^|:){re.escape(str(workdir))}(?=/|$)", r"\1{workdir}", value)
    return value
