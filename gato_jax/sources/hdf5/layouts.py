"""The layouts in which episodes are known to lie in HDF5 files."""

from __future__ import annotations

import dataclasses
import itertools
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Embodiment, Image, Modality, Provenance
from gato_jax.sources.assembly import decode_image
from gato_jax.sources.fields import Fields
from gato_jax.sources.hdf5.file import Hdf5Episode, find, has, video_frames, walk
from gato_jax.sources.reader import SourceError, resolve_within


def _no_fields(group: Any, file_name: str) -> Fields:
    found = ", ".join(f"{path} {dataset.shape}" for path, dataset in itertools.islice(walk(group), 30))
    raise SourceError(
        f"it does not say what its fields mean nor within which limits its actions are; give fields, as "
        f"in a fields.json beside it, out of: {found}"
    )


def _whole_file(group: Any) -> dict[str, list[str]]:
    return {"train": [""]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hdf5Layout:
    """One way in which episodes lie in HDF5 files.

    Attributes:
      marks: paths that every such file has and by which it is recognised; without any it has to be named.
      splits: an open file to {split: the groups that are its episodes}.
      fields: an open file and its name to what its fields mean; raises SourceError where it does not say.
      column: an episode and the name of a field to its values; raises KeyError.
      provenance: an episode's own, from that of the fields.
      beside: a file's path to the further files that belong to it.
    """

    marks: tuple[str, ...] = ()
    splits: Callable[[Any], dict[str, list[str]]] = _whole_file
    fields: Callable[[Any, str], Fields] = _no_fields
    column: Callable[[Hdf5Episode, str], Any] = Hdf5Episode.column
    provenance: Callable[[Hdf5Episode, Provenance], Provenance] = lambda episode, provenance: provenance
    beside: Callable[[Path], list[Path]] = lambda file: []


# robomimic (robomimic.github.io/docs/datasets/overview.html), and with it robosuite, MimicGen and LIBERO.


def _robomimic_splits(group: Any) -> dict[str, list[str]]:
    if not has(group, "mask"):
        return {"train": _demos(group)}
    try:
        return {
            path: [f"data/{name}" for name in np.ravel(mask.asstr()[()])] for path, mask in walk(find(group, "mask"))
        }
    except TypeError as error:
        raise SourceError(f"a mask holds no names of demonstrations ({error})") from None


def _demos(group: Any) -> list[str]:
    demos = [name for name in find(group, "data") if re.fullmatch(r"demo_\d+", name)]
    return [f"data/{name}" for name in sorted(demos, key=lambda name: int(name[5:]))]


def _robomimic_fields(group: Any, file_name: str) -> Fields:
    """Low-dimensional observations and pictures at 64 by 64; depth and point clouds are not among them."""
    try:
        about = json.loads(find(group, "data").attrs["env_args"])
        name, kind, settings = about["env_name"], about["type"], about.get("env_kwargs", {})
        if kind not in (1, 2, 3):  # robosuite, gym and iGibson
            raise SourceError(f"type {kind!r} of environment may be simulated or real")
        demo = find(group, _demos(group)[0])
        modalities = {path: _modality(dataset) for path, dataset in walk(find(demo, "obs"))}
        rate, robots = settings.get("control_freq"), settings.get("robots", "")
        robot = robots if isinstance(robots, str) else ", ".join(robots)
        action = Continuous(shape=find(demo, "actions").shape[1:], low=-1.0, high=1.0)  # as robomimic demands
        fields = Fields(
            suite="robomimic",
            task=str(name),
            observation={key: (f"obs/{key}", modality) for key, modality in modalities.items() if modality},
            action={"action": ("actions", action)},
            provenance=Provenance(
                source=f"robomimic, {file_name}",
                licence="",
                kind="simulated",
                collector="",
                equipment=f"simulated {robot}".strip(),
            ),
            control_rate_hz=None if rate is None else float(rate),
            embodiment=Embodiment(robot=robot) if robot else None,
            reward="rewards" if has(demo, "rewards") else None,
        )
        return fields if fields.spec else fields  # which raises where they contradict each other
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"what its fields mean is not known ({error}); give fields") from None


def _modality(dataset: Any) -> Modality | None:
    if dataset.dtype == np.uint8 and dataset.ndim == 4 and dataset.shape[3] in (1, 3):
        return Image(height=64, width=64, channels=dataset.shape[3])
    return Continuous(shape=dataset.shape[1:]) if dataset.dtype.kind in "fiu" and dataset.ndim in (1, 2) else None


# DROID as it was recorded (droid-dataset.github.io): a folder for each episode, with the cameras' videos beside
# trajectory.h5 and, where it is complete, its metadata. `metadata/KEY` is a field of these; `{KEY}` in the name of a
# field is replaced by it: recordings/MP4/{wrist_cam_serial}.mp4.


def _droid_metadata(file: Path) -> dict[str, Any]:
    found = sorted(file.parent.glob("metadata_*.json"))
    if len(found) > 1:
        raise SourceError(f"{file.parent} has {len(found)} files of metadata; leave one")
    content = resolve_within(file.parent, found[0].name).read_bytes() if found else b"{}"
    try:
        return dict(json.loads(content))
    except (TypeError, ValueError) as error:
        raise SourceError(f"{found[0].name} holds no object in JSON ({error})") from None


def _droid_column(episode: Hdf5Episode, path: str) -> Any:
    if path.startswith("metadata/"):
        return _droid_metadata(episode.file)[path.removeprefix("metadata/")]
    if "{" in path:
        metadata = _droid_metadata(episode.file)
        path = re.sub(r"\{(\w+)\}", lambda key: str(metadata[key[1]]), path)
    if path.startswith("recordings/"):
        video = resolve_within(episode.file.parent, path)
        if not video.is_file():
            raise KeyError(f"no file {path}")
        return video_frames(video, path)
    return episode.column(path)


def _droid_provenance(episode: Hdf5Episode, provenance: Provenance) -> Provenance:
    metadata = _droid_metadata(episode.file)
    serials = [str(metadata[key]) for key in sorted(metadata) if key.endswith("_serial") and metadata[key]]
    said = {
        "collector": ", ".join(str(metadata[key]) for key in ("user", "lab") if metadata.get(key)),
        "recorded_at": str(metadata.get("date", "")),
        "serial_numbers": ", ".join(serials),
    }
    return dataclasses.replace(provenance, **{key: value for key, value in said.items() if value})


def _droid_files(file: Path) -> list[Path]:
    found = [*file.parent.glob("metadata_*.json"), *file.parent.glob("recordings/MP4/*.mp4")]
    return sorted(file for file in found if file.is_file())


# RoboNet (github.com/SudeepDasari/RoboNet): a camera's pictures are one MP4 or JPEG file after file, in RGB or BGR as
# an attribute says. Its states and pictures are one more than its actions: the last is what the last action led to.


def _robonet_column(episode: Hdf5Episode, path: str) -> Any:
    camera, _, name = path.rpartition("/")
    folder, pictures = find(episode.group, camera), path in episode.images
    if pictures and has(folder, "frame0"):
        dataset = find(folder, "frame0")
        values = [find(folder, f"frame{number}")[:].tobytes() for number in range(len(folder))]
    else:
        dataset = find(folder, name)
        values = episode.values(dataset, path)
        values = list(values) if pictures else values
    if isinstance(values, (list, np.ndarray)) and len(values) == episode.steps + 1:
        values = values[:-1]
    if pictures and dataset.attrs.get("image_format", "RGB") == "BGR":
        return (decode_image(picture, path, str(episode.file))[..., ::-1] for picture in values)
    return values


HDF5_LAYOUTS: dict[str, Hdf5Layout] = {
    "robomimic": Hdf5Layout(marks=("data/demo_0",), splits=_robomimic_splits, fields=_robomimic_fields),
    "aloha": Hdf5Layout(marks=("observations/qpos", "action")),  # github.com/tonyzhaozh/act
    "droid_raw": Hdf5Layout(
        marks=("observation/robot_state", "action/gripper_position"),
        column=_droid_column,
        provenance=_droid_provenance,
        beside=_droid_files,
    ),
    "robonet": Hdf5Layout(marks=("env", "policy/actions"), column=_robonet_column),
    "flat": Hdf5Layout(),  # every file an episode, its fields named by their paths
}
