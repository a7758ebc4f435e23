"""HDF5 in the layouts of robomimic and ALOHA, and flat: written and read by h5py."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import PIL.Image

from gato_jax.episodes import Continuous, Discrete, Image, Provenance, Text
from gato_jax.sources.fields import Fields
from tests.sources.made_hdf5 import jpeg, pictures
from tests.sources.mutations.damage import NotPossible, pick_file
from tests.sources.mutations.harness import Format, Row, cached_by_content

PROVENANCE = Provenance(source="made for a test", licence="MIT", kind="real", collector="nobody")
_ALOHA = Fields(
    suite="aloha",
    task="cups",
    observation={
        "qpos": ("observations/qpos", Continuous(shape=(3,))),
        "cam": ("observations/images/cam", Image(height=12, width=16)),
    },
    action={"action": ("action", Continuous(shape=(3,), low=-9.0, high=9.0))},
    provenance=PROVENANCE,
)
_FLAT = Fields(
    suite="flat",
    task="cups",
    observation={
        "state": ("arm/state", Continuous(shape=(2,))),
        "said": ("said", Text()),
        "view": ("view", Image(height=6, width=8)),
    },
    action={"grip": ("grip", Discrete(n=4)), "move": ("arm/move", Continuous(shape=(2,), low=-9.0, high=9.0))},
    provenance=PROVENANCE,
    reward="reward",
    success="success",
    timestamps="time",
)


def _write_robomimic(folder: Path):
    (folder / "more").mkdir()
    for number, file in enumerate((folder / "lift.hdf5", folder / "more" / "lift_2.hdf5")):
        about = {"env_name": "Lift", "type": 1, "env_kwargs": {"robots": ["Panda"], "control_freq": 20}}
        random = np.random.default_rng(number)
        with h5py.File(file, "w") as root:
            root.create_group("data").attrs["env_args"] = json.dumps(about)
            for demo, steps in list(enumerate((3, 4)))[number:]:
                group = root.create_group(f"data/demo_{demo}")
                group.attrs["num_samples"] = steps
                group["actions"] = random.uniform(-1, 1, (steps, 3))
                group["rewards"] = random.uniform(size=steps)
                group.create_dataset("obs/eef", data=random.normal(size=(steps, 2)), fletcher32=True)
                group["obs/joint"] = random.integers(0, 99, (steps, 2))
                image = pictures(steps, 8, 8, demo)
                group.create_dataset("obs/view_image", data=image, compression="gzip", chunks=(1, 8, 8, 3))
            root["mask/train"] = np.array(["demo_0", "demo_1"][number:], dtype="S")


def _write_aloha(folder: Path):
    for number, steps in enumerate((3, 4)):
        random, image = np.random.default_rng(number), pictures(steps, 12, 16, number)
        with h5py.File(folder / f"episode_{number}.hdf5", "w") as root:
            root["observations/qpos"] = random.normal(size=(steps, 3)).astype(np.float32)
            root["action"] = random.normal(size=(steps, 3)).astype(np.float32)
            if number:
                root["observations/images/cam"] = image
                continue
            files = [jpeg(picture) for picture in image]
            rows = np.zeros((steps, max(map(len, files)) + 20), np.uint8)
            for row, content in zip(rows, files, strict=True):
                row[: len(content)] = np.frombuffer(content, np.uint8)
            root["observations/images/cam"] = rows


def _write_flat(folder: Path):
    (folder / "a").mkdir()
    for number, name in enumerate(("a/run_0.h5", "run_1.h5")):
        steps, random = 4 + number, np.random.default_rng(number)
        with h5py.File(folder / name, "w") as root:
            root["arm/state"] = random.normal(size=(steps, 2))
            root.create_dataset("arm/move", data=random.uniform(-1, 1, (steps, 2)), chunks=(2, 2), shuffle=True)
            root["grip"], root["reward"] = random.integers(0, 4, steps), np.arange(steps) * 0.5
            root["said"] = ["put it down"] * steps
            root["view"], root["success"] = pictures(steps, 6, 8, number), np.array(number == 0)
            root["time"] = np.arange(steps) * 0.1


def _files(folder: Path) -> list[Path]:
    """Return all HDF5 files below a folder, also behind links."""
    found = [Path(place, name) for place, _, names in os.walk(folder) for name in names]
    return sorted(file for file in found if file.suffix in (".h5", ".hdf5") and file.name[0] != ".")


def walk(read: Callable[[Any], Iterator[Row | None]]) -> Callable[[Path], Iterator[Row | None]]:
    """Return a function that yields the rows of all files below a folder, and None for one that h5py cannot read."""

    @cached_by_content
    def read_file(file: Path) -> list[Row | None]:
        with h5py.File(file) as root:
            return list(read(root))

    def read_all(folder: Path) -> Iterator[Row | None]:
        for file in _files(folder):
            try:
                rows = read_file(file)
            except Exception:  # noqa: BLE001  h5py raises errors of many types
                rows = [None]
            yield from rows

    return read_all


def _images(dataset: Any) -> list[np.ndarray]:
    values = dataset[()]
    if values.ndim != 2:
        return list(values)
    return [np.asarray(PIL.Image.open(io.BytesIO(row.tobytes().rstrip(b"\0")))) for row in values]


def _read_robomimic(root: Any) -> Iterator[Row | None]:
    masks = root.get("mask")
    names = root["data"] if masks is None else np.ravel(masks["train"].asstr()[()]) if "train" in masks else ()
    for name in names:
        try:
            demo = root["data"][name]
            row = {"action/action": demo["actions"][()]} | (
                {"reward": demo["rewards"][()]} if "rewards" in demo else {}
            )
            yield row | {f"observation/{key}": values[()] for key, values in demo["obs"].items()}
        except Exception:  # noqa: BLE001
            yield None


def _read_aloha(root: Any) -> Iterator[Row]:
    yield {
        "observation/qpos": root["observations/qpos"][()],
        "observation/cam": _images(root["observations/images/cam"]),
        "action/action": root["action"][()],
    }


def _read_flat(root: Any) -> Iterator[Row]:
    yield {
        "observation/state": root["arm/state"][()],
        "observation/said": _texts(root["said"], len(root["grip"])),
        "observation/view": _images(root["view"]),
        "action/grip": root["grip"][()],
        "action/move": root["arm/move"][()],
        "reward": root["reward"][()],
        "success": bool(np.ravel(root["success"][()])[-1]),
    }


def _texts(dataset: Any, steps: int) -> list[str]:
    """Return a text for each step; one text holds for all."""
    texts = np.ravel(dataset.asstr()[()]).tolist()
    return texts * steps if len(texts) == 1 else texts


def _of_dataset(change: Callable[[Any, str, random.Random], str]) -> Callable[[Path, random.Random], str]:
    """Return a mutation that applies a function to one dataset of one file; it takes (file, path, chance)."""

    def damage(folder: Path, chance: random.Random) -> str:
        file = pick_file(folder, chance, ".h5", ".hdf5")
        with h5py.File(file, "r+") as root:
            paths: list[str] = []
            root.visititems(lambda path, node: paths.append(path) if isinstance(node, h5py.Dataset) else None)
            if not paths:
                raise NotPossible
            path = chance.choice(sorted(paths))
            try:
                return f"{file.relative_to(folder)}: {path} {change(root, path, chance)}"
            except ValueError:  # text that is no number
                raise NotPossible from None

    return damage


def _rename(root: Any, path: str, chance: random.Random) -> str:
    name = chance.choice((f"{path}_2", path.upper(), f"old/{path}", f"{path} "))
    root.move(path, name)
    return f"renamed to {name!r}"


def _replace(root: Any, path: str, values: Any, **options: Any):
    attributes = dict(root[path].attrs)
    del root[path]
    root.create_dataset(path, data=values, **options).attrs.update(attributes)


def _change_type(root: Any, path: str, chance: random.Random) -> str:
    kinds = "f2 f4 f8 >f4 >f8 i1 u1 i2 u2 >i4 i8 u8 ? c8 S9 g".split()
    kind = chance.choice(kinds)
    values = root[path][()]
    if np.asarray(values).dtype == object:
        raise NotPossible
    with np.errstate(all="ignore"):
        _replace(root, path, values.astype(kind))
    return f"is of type {kind}"


def _change_shape(root: Any, path: str, chance: random.Random) -> str:
    values = np.asarray(root[path][()])
    if values.ndim == 0:
        _replace(root, path, values[None])
        return "has an axis"
    changes = {
        "lacks the last step": lambda: values[:-1],
        "has one step twice": lambda: np.concatenate([values, values[-1:]]),
        "has another axis": lambda: values[..., None],
        "has a leading axis": lambda: values[None],
        "is flat": lambda: values.ravel(),
        "is transposed": lambda: values.T,
        "lacks the last element": lambda: values[..., :-1],
        "is empty": lambda: values[:0],
        "is one value": lambda: values.ravel()[0],
        "is backwards": lambda: values[::-1],
    }
    done = chance.choice(sorted(changes))
    _replace(root, path, changes[done]())
    return done


def _change_value(root: Any, path: str, chance: random.Random) -> str:
    values = np.array(root[path][()])
    if values.dtype == object or not values.size:
        raise NotPossible
    value = chance.choice((np.nan, np.inf, -1, 0, 255, 1e30, 2**40, 0.5))
    with np.errstate(all="ignore"):
        values.ravel()[chance.randrange(values.size)] = np.array(value).astype(values.dtype)
    _replace(root, path, values)
    return f"holds {value}"


def _store_otherwise(root: Any, path: str, chance: random.Random) -> str:
    """Store the same values in another way: filters, chunks, a virtual dataset, an external file."""
    values = root[path][()]
    if np.ndim(values) == 0 or np.asarray(values).dtype == object:
        raise NotPossible
    ways = {
        "compressed": {"compression": "gzip", "fletcher32": True},
        "by lzf": {"compression": "lzf", "shuffle": True},
        "resizable": {"maxshape": (None,) * np.ndim(values)},
        "with another fill value": {"chunks": True, "fillvalue": np.zeros((), values.dtype)[()]},
    }
    way = chance.choice((*sorted(ways), "virtual", "external"))
    if way == "virtual":
        layout = h5py.VirtualLayout(values.shape, values.dtype)
        layout[...] = h5py.VirtualSource(".", f"/{path}_source", values.shape)
        root.move(path, f"{path}_source")
        root.create_virtual_dataset(path, layout)
    elif way == "external":
        del root[path]
        root.create_dataset(path, data=values, external=[(f"{root.filename}.raw", 0, values.nbytes)])
    else:
        _replace(root, path, values, **ways[way])
    return f"is stored {way}"


def _link(root: Any, path: str, chance: random.Random) -> str:
    where = chance.choice(("itself", "nowhere", "another file", "another place", "twice"))
    if where == "twice":
        root[f"{path}_again"] = root[path]
        return "has another name"
    if where == "itself":
        del root[path]
    else:
        root.move(path, f"kept/{path}")
    target = {"itself": f"/{path}", "another place": f"/kept/{path}"}.get(where, "/gone")
    root[path] = h5py.ExternalLink("other.h5", path) if where == "another file" else h5py.SoftLink(target)
    return f"is a link to {where}"


def _other_kind(root: Any, path: str, chance: random.Random) -> str:
    """Replace a dataset by one of a type that is no number and no text, or by a group."""
    steps = len(root[path]) if root[path].ndim else 1
    kind = chance.choice(("group", "references", "ragged", "compound", "empty", "text", "enum", "removed"))
    del root[path]
    if kind == "group":
        root.create_group(path)
    elif kind == "references":
        root.create_dataset(path, data=[root.ref] * steps, dtype=h5py.ref_dtype)
    elif kind == "ragged":
        ragged = root.create_dataset(path, (steps,), dtype=h5py.vlen_dtype(np.float64))
        for step in range(steps):
            ragged[step] = np.arange(step + 1.0)
    elif kind == "compound":
        root[path] = np.zeros(steps, [("x", "f4"), ("y", "i4")])
    elif kind == "empty":
        root[path] = h5py.Empty("f4")
    elif kind == "text":
        root[path] = ["1.0"] * steps
    elif kind == "enum":
        root.create_dataset(path, data=np.ones(steps, int), dtype=h5py.enum_dtype({"A": 0, "B": 1}))
    return f"is {kind}"


def _change_about(folder: Path, chance: random.Random) -> str:
    """Change the description of the environment in a robomimic file, or its groups and masks."""
    file = pick_file(folder, chance, ".h5", ".hdf5")
    with h5py.File(file, "r+") as root:
        if "data" not in root or "env_args" not in root["data"].attrs:
            raise NotPossible
        data: Any = root["data"]
        about = json.loads(data.attrs["env_args"])
        way = chance.choice(("no env_args", "type", "name", "rate", "demo renamed", "demo removed", "no mask", "mask"))
        match way:
            case "no env_args":
                del data.attrs["env_args"]
            case "type" | "name" | "rate":
                value = chance.choice((None, -1, 2, "x", [], {}))
                where = about["env_kwargs"] if way == "rate" else about
                where[{"type": "type", "name": "env_name", "rate": "control_freq"}[way]] = value
                data.attrs["env_args"] = json.dumps(about)
                way += f" is {value!r}"
            case "demo renamed":
                root.move("data/demo_1", chance.choice(("data/demo_7", "data/demo_x", "data/episode_1")))
            case "demo removed":
                del data[chance.choice(("demo_0", "demo_1"))]
            case "no mask":
                del root["mask"]
            case "mask":
                del root["mask/train"]
                root["mask/train"] = np.array(chance.choice((["demo_1"], ["demo_1"] * 2, ["demo_9"], [b"\xff"])), "S")
    return f"{file.relative_to(folder)}: {way}"


OF_DATASETS = tuple(
    map(_of_dataset, (_rename, _change_type, _change_shape, _change_value, _store_otherwise, _link, _other_kind))
)
FORMATS = {
    "robomimic": Format(
        write=_write_robomimic,
        source="hdf5:{}",
        read=walk(_read_robomimic),
        damages=(*OF_DATASETS, _change_about, _change_about),
    ),
    "aloha": Format(
        write=_write_aloha,
        source="hdf5:{}",
        read=walk(_read_aloha),
        damages=OF_DATASETS,
        fields=_ALOHA,
    ),
    "hdf5_flat": Format(
        write=_write_flat,
        source="hdf5:{}#flat",
        read=walk(_read_flat),
        damages=OF_DATASETS,
        fields=_FLAT,
    ),
}
