"""Minari datasets, in HDF5 and in Arrow: written and read by Minari."""

from __future__ import annotations

import functools
import json
import os
import random
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium
import minari
import numpy as np
import pyarrow as pa
from gymnasium import spaces

from tests.sources.mutations.damage import NotPossible, pick_file
from tests.sources.mutations.harness import Format, Row
from tests.sources.mutations.hdf5_formats import OF_DATASETS
from tests.sources.mutations.text_formats import change_json_value


class _Reach(gymnasium.Env):
    """Environment whose observations count the steps."""

    observation_space = spaces.Dict(
        {
            "arm": spaces.Dict({"joints": spaces.Box(-np.inf, np.inf, (3,), np.float64), "closed": spaces.Discrete(2)}),
            "mission": spaces.Text(30),
        }
    )
    action_space = spaces.Box(np.array([1.0, -1.0], np.float32), np.array([3.0, 1.0], np.float32))

    def _observe(self):
        arm = {"joints": np.full(3, self.time + 0.5), "closed": np.int64(self.time % 2)}
        return {"arm": arm, "mission": "reach it"}

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.time = 0
        return self._observe(), {"success": False}

    def step(self, action):
        self.time += 1
        return self._observe(), float(self.time), self.time == 3, False, {"success": self.time == 3}


def _write(folder: Path, data_format: str):
    before = os.environ.get("MINARI_DATASETS_PATH")
    os.environ["MINARI_DATASETS_PATH"] = str(folder.parent / "minari")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            collector = minari.DataCollector(_Reach(), record_infos=True, data_format=data_format)
            for seed in range(3):
                collector.reset(seed=100 + seed)
                for step in range(3):
                    collector.step(np.array([1 + step / 4, seed / 4], np.float32))
            collector.create_dataset("arm/reach-v0", algorithm_name="scripted")
    finally:
        del os.environ["MINARI_DATASETS_PATH"]
        if before is not None:
            os.environ["MINARI_DATASETS_PATH"] = before
    folder.rmdir()
    (folder.parent / "minari" / "arm" / "reach-v0").rename(folder)


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, f"{path}/{name}")
    elif isinstance(value, tuple):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{path}/{number}")
    else:
        yield path, value


def _read(folder: Path) -> Iterator[Row | None]:
    dataset = minari.MinariDataset(folder / "data" if (folder / "data").is_dir() else folder)
    for number in range(int(dataset.storage.total_episodes)):
        try:
            for file in (folder / "data" / str(number)).glob("*.arrow"):
                pa.ipc.open_file(file).read_all().validate(full=True)  # Minari itself would end the process
            [episode] = dataset.storage.get_episodes([number])
            row = dict(_leaves(episode["observations"], "observation"))
            if not isinstance(episode["observations"], (dict, tuple)):
                row["observation/observation"] = row.pop("observation")
            row["action/action"] = [*episode["actions"], np.zeros(2)]  # the last is a placeholder
            row["reward"] = [*episode["rewards"], 0.0]
            row["is_terminal"] = [False, *episode["terminations"]]
            row["discount"] = [*(1.0 - np.asarray(episode["terminations"])), 0.0]
            yield row
        except Exception:  # noqa: BLE001  Minari raises errors of many types
            yield None


def _change_metadata(folder: Path, chance: random.Random) -> str:
    file = pick_file(folder, chance, ".json")
    try:
        changed = change_json_value(json.loads(file.read_text()), chance)
    except ValueError:
        raise NotPossible from None
    file.write_text(json.dumps(changed))
    return f"{file.relative_to(folder)}: {changed!r:.120}"


FORMATS = {
    f"minari_{kind}": Format(
        write=functools.partial(_write, data_format=kind),
        source="minari:{}",
        read=_read,
        damages=(*OF_DATASETS, _change_metadata, _change_metadata) if kind == "hdf5" else (_change_metadata,),
    )
    for kind in ("hdf5", "arrow")
}
