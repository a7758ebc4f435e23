"""Known layouts of episodes in HDF5 files."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Embodiment, Image, Modality, Provenance, Text
from gato_jax.episodes.errors import describe_error
from gato_jax.sources.contents import MissingFieldsError
from gato_jax.sources.decoders import bgr_to_rgb
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import resolve_within
from gato_jax.sources.hdf5.datasets import describe_datasets
from gato_jax.sources.hdf5.file import (
    EpisodePlace,
    Hdf5Episode,
    contains,
    decode_video,
    find_node,
    is_numeric,
    iter_datasets,
    list_names,
)
from gato_jax.sources.hdf5.several_episodes import (
    has_demonstrations,
    has_groups,
    is_maniskill,
    list_d4rl_episodes,
    list_flat_episode,
    list_groups,
    read_d4rl_field,
    read_maniskill_field,
)
from gato_jax.sources.pixels import decode_image
from gato_jax.sources.reader import SourceError


def _refuse_to_infer(group: Any, file_name: str) -> Fields:
    """Raise MissingFieldsError, because the layout does not define its fields."""
    raise MissingFieldsError("its layout does not define them and the limits of its actions", describe_datasets(group))


def _refuse_to_infer_from_group(group: Any, file_name: str) -> Fields:
    """Raise SourceError as `_refuse_to_infer` does, with the datasets of the first episode."""
    first = next(iter(list_groups(group).values()))[0]
    return _refuse_to_infer(find_node(group, first.path), file_name)


def _single_episode(group: Any) -> dict[str, list[EpisodePlace]]:
    """Return the split "train" with one episode, the whole file."""
    return {"train": [EpisodePlace()]}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Hdf5Layout:
    """A layout of episodes in HDF5 files, as functions that read them.

    Attributes:
      required_paths: paths that exist in every file of this layout, and by which it is recognised.
      is_content: takes an open file and returns whether it is of this layout, which has no `required_paths`. A layout
        with neither is used only if the caller names it.
      content: clause on the content of its files, for messages. Default: the required paths.
      list_splits: takes an open file and returns {split: places of its episodes}. It raises KeyError if the file is of
        another layout, or SourceError if it is damaged.
      infer_fields: takes an open file and its name, and returns the fields. It raises SourceError if the layout does
        not define them.
      read_field: takes an episode and the name of a field, and returns its values in the form that `assemble` takes. It
        raises KeyError if there is no such field.
      read_provenance: takes an episode and the provenance of the fields, and returns the provenance of the episode.
      list_sidecars: takes the path of a file and returns further files that belong to it.
      step_flags: flags that `read_field` returns by these names; see `assemble`.
    """

    required_paths: tuple[str, ...] = ()
    is_content: Callable[[Any], bool] | None = None
    content: str = ""
    list_splits: Callable[[Any], dict[str, list[EpisodePlace]]] = _single_episode
    infer_fields: Callable[[Any, str], Fields] = _refuse_to_infer
    read_field: Callable[[Hdf5Episode, str], Any] = Hdf5Episode.read_field
    read_provenance: Callable[[Hdf5Episode, Provenance], Provenance] = lambda episode, provenance: provenance
    list_sidecars: Callable[[Path], list[Path]] = lambda file: []
    step_flags: tuple[str, ...] = ()

    def __post_init__(self):
        object.__setattr__(self, "content", self.content or " and ".join(self.required_paths))

    def recognises(self, root: Any) -> bool:
        """Return whether an open file is of this layout; false if it cannot be told.

        Raises:
          SourceError: a link leads to another file or is broken.
        """
        if self.is_content is not None:
            return self.is_content(root)
        return bool(self.required_paths) and all(contains(root, path) for path in self.required_paths)


# robomimic (robomimic.github.io/docs/datasets/overview.html). robosuite, MimicGen and LIBERO share its layout.


def _list_robomimic_splits(group: Any) -> dict[str, list[EpisodePlace]]:
    """Return the masks of the file as splits, or all demonstrations as "train" if it has no group `mask`.

    Returns:
      {name of the mask: groups such as `data/demo_3`, in the order of the mask}. The groups need not exist.

    Raises:
      SourceError: a mask does not hold strings.
      KeyError: the file has neither a group `mask` nor a group `data`.
    """
    if not contains(group, "mask"):
        return {"train": [EpisodePlace(path) for path in _list_demonstrations(group)]}
    try:
        return {
            path: [EpisodePlace(f"data/{name}") for name in np.ravel(mask.asstr()[()])]
            for path, mask in iter_datasets(find_node(group, "mask"))
        }
    except (TypeError, UnicodeDecodeError) as error:
        raise SourceError(f"a mask does not hold names of demonstrations ({error})") from None


def _list_demonstrations(group: Any) -> list[str]:
    """Return the paths of all demonstrations, such as `data/demo_3`, ordered by number.

    Raises:
      KeyError: the file has no group `data`.
    """
    demos = [name for name in list_names(find_node(group, "data")) if re.fullmatch(r"demo_\d+", name)]
    return [f"data/{name}" for name in sorted(demos, key=lambda name: int(name[5:]))]


def _infer_robomimic_fields(group: Any, file_name: str) -> Fields:
    """Infer fields from the environment metadata and the datasets of a robomimic file.

    Observations are the numbers and vectors of the first demonstration's `obs`, and its images at 64 by 64 pixels.
    Depth images and point clouds are left out. Actions have the limits -1 and 1. The instruction of a LIBERO file is
    that of the task, whose name contains it. The instruction of each episode of RoboCasa is an observation.

    Args:
      group: the open file.
      file_name: name of the file, for the provenance.

    Raises:
      SourceError: the metadata are missing or malformed, the environment is not simulated, there is no demonstration,
        or the first has no `obs` or `actions`.
    """
    try:
        environment = json.loads(find_node(group, "data").attrs["env_args"])
        name, kind = environment["env_name"], environment["type"]
        settings = environment.get("env_kwargs", {})
        if kind not in (1, 2, 3):  # robosuite, gym and iGibson
            raise SourceError(f"environment type is {kind!r}, expected 1, 2 or 3, which are simulated")
        demo = find_node(group, _list_demonstrations(group)[0])
        modalities = {path: _infer_modality(dataset) for path, dataset in iter_datasets(find_node(demo, "obs"))}
        rate, robots = settings.get("control_freq"), settings.get("robots", "")
        robot = robots if isinstance(robots, str) else ", ".join(robots)
        # robomimic requires this range
        action = Continuous(shape=find_node(demo, "actions").shape[1:], low=-1.0, high=1.0)
        observation = {key: (f"obs/{key}", modality) for key, modality in modalities.items() if modality}
        if "lang" in _read_json_attribute(demo, "ep_meta"):
            observation.setdefault("instruction", ("ep_meta/lang", Text()))
        instruction = _read_libero_instruction(find_node(group, "data"))
        slug = re.sub(r"\W+", "_", instruction or "").strip("_").lower()
        fields = Fields(
            suite="robomimic",
            task="/".join(filter(None, (str(name), slug))),
            instructions=(instruction,) if instruction else None,
            observation=observation,
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
            reward="rewards"
            if any(contains(group, f"{path}/rewards") for path in _list_demonstrations(group))
            else None,
        )
        _ = fields.spec  # raises SpecError if the fields contradict each other
        return fields
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise SourceError(f"cannot infer its fields: {describe_error(error)}. Pass fields.") from None


def _read_libero_instruction(data: Any) -> str | None:
    """Return the instruction of a LIBERO file, which holds one task; None for other files.

    Args:
      data: the group `data`. Its attribute `problem_info` is a JSON object, in which the instruction is a string, or a
        list of its words or characters.

    Raises:
      SourceError: the attribute is no JSON object, or the instruction in it is not text.
    """
    value = _read_json_attribute(data, "problem_info").get("language_instruction")
    if value is None:
        return None
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        value = ("" if all(len(part) == 1 for part in value) else " ").join(value)
    if not isinstance(value, str) or not value.strip():
        raise SourceError(f"problem_info.language_instruction is {value!r:.60}, expected text")
    return value.strip()


def _read_json_attribute(group: Any, name: str) -> dict[str, Any]:
    """Return the JSON object in an attribute of a group, {} if there is no such attribute.

    Raises:
      SourceError: the attribute is no JSON object.
    """
    if name not in group.attrs:
        return {}
    try:
        return dict(json.loads(group.attrs[name]))
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"attribute {name!r} of {group.name} is not a JSON object ({describe_error(error)})"
        ) from None


def _read_robomimic_field(episode: Hdf5Episode, path: str) -> Any:
    """Return the values of a field, which may also be an entry of the metadata that LIBERO and RoboCasa add.

    `problem_info/language_instruction` is the instruction of a LIBERO file, `ep_meta/lang` that of an episode of
    RoboCasa. Other entries are read in the same way.

    Raises:
      KeyError: there is no such field or entry.
      SourceError: the field cannot be read, or the metadata are malformed.
    """
    folder, _, name = path.partition("/")
    if folder not in ("problem_info", "ep_meta") or contains(episode.group, folder):
        return episode.read_field(path)
    if path == "problem_info/language_instruction" and (text := _read_libero_instruction(episode.group.parent)):
        return text
    return _read_json_attribute(episode.group if folder == "ep_meta" else episode.group.parent, folder)[name]


def _infer_modality(dataset: Any) -> Modality | None:
    """Return the modality of an observation dataset, or None if it is not numbers, vectors, or RGB or grey images.

    (T,) and (T, n) numbers are Continuous without limits; (T, H, W, 3) and (T, H, W, 1) uint8 are 64 by 64 images.
    """
    if not is_numeric(dataset):
        return None
    if dataset.dtype == np.uint8 and dataset.ndim == 4 and dataset.shape[3] in (1, 3):
        return Image(height=64, width=64, channels=dataset.shape[3])
    return Continuous(shape=dataset.shape[1:]) if dataset.dtype.kind in "fiu" and dataset.ndim in (1, 2) else None


# DROID in its raw form (droid-dataset.github.io): one folder for each episode, with trajectory.h5, the videos of the
# cameras and, if the recording is complete, a metadata file. The field `metadata/KEY` is an entry of that file, and
# `{KEY}` in the name of a field is replaced by the entry, as in recordings/MP4/{wrist_cam_serial}.mp4.


def _read_droid_metadata(file: Path) -> dict[str, Any]:
    """Return the entries of the `metadata_*.json` beside a trajectory, or an empty dict if there is no such file.

    Raises:
      SourceError: there are several such files, or the file is not a JSON object or is a link out of the folder.
    """
    found = sorted(file.parent.glob("metadata_*.json"))
    if len(found) > 1:
        raise SourceError(f"{file.parent} has {len(found)} metadata files, expected one. Remove the others.")
    content = resolve_within(file.parent, found[0].name).read_bytes() if found else b"{}"
    try:
        return dict(json.loads(content))
    except (TypeError, ValueError) as error:
        raise SourceError(f"{found[0].name} is not a JSON object ({error})") from None


def _read_droid_field(episode: Hdf5Episode, path: str) -> Any:
    """Return the values of a field from the metadata, from a video, or from the HDF5 file.

    Paths of the first two begin with `metadata/` and `recordings/`. `{key}` in a path of a video or of the HDF5
    file stands for a value of the metadata.

    Returns:
      One JSON value for the whole episode, an iterator of (H, W, 3) uint8 RGB frames, or the values of a dataset.

    Raises:
      KeyError: there is no such entry, video or dataset.
      SourceError: the metadata are malformed, the path of a video leads out of the folder, or the dataset cannot be
        read. The video is opened only when its frames are iterated over.
    """
    if path.startswith("metadata/"):
        return _read_droid_metadata(episode.file)[path.removeprefix("metadata/")]
    if "{" in path:
        metadata = _read_droid_metadata(episode.file)
        path = re.sub(r"\{(\w+)\}", lambda key: str(metadata[key[1]]), path)
    if path.startswith("recordings/"):
        video = resolve_within(episode.file.parent, path)
        if not video.is_file():
            raise KeyError(f"no file {path}")
        return decode_video(video, path)
    return episode.read_field(path)


def _read_droid_provenance(episode: Hdf5Episode, provenance: Provenance) -> Provenance:
    """Return a copy of `provenance` with collector, date and serial numbers from the metadata of the episode.

    Values that the metadata lack stay. The collector is "USER, LAB"; serial numbers are joined by commas.

    Raises:
      SourceError: the metadata are malformed.
      EpisodeError: the date is not in ISO 8601.
    """
    metadata = _read_droid_metadata(episode.file)
    serials = [str(metadata[key]) for key in sorted(metadata) if key.endswith("_serial") and metadata[key]]
    recorded = {
        "collector": ", ".join(str(metadata[key]) for key in ("user", "lab") if metadata.get(key)),
        "recorded_at": str(metadata.get("date", "")),
        "serial_numbers": ", ".join(serials),
    }
    return dataclasses.replace(provenance, **{key: value for key, value in recorded.items() if value})


def _list_droid_sidecars(file: Path) -> list[Path]:
    """Return the files `metadata_*.json` and `recordings/MP4/*.mp4` that exist beside a trajectory, sorted."""
    found = [*file.parent.glob("metadata_*.json"), *file.parent.glob("recordings/MP4/*.mp4")]
    return sorted(file for file in found if file.is_file())


# RoboNet (github.com/SudeepDasari/RoboNet): the images of a camera are a single MP4 file, or a JPEG file for each step.
# An attribute tells whether they are RGB or BGR. There is one state and image more than there are actions: the last
# one follows the last action, and is dropped here.


def _read_robonet_field(episode: Hdf5Episode, path: str) -> Any:
    """Return the values of a field, without the observation after the last action, and with images in RGB.

    If a field has one value more than the episode has steps, the last is dropped. Other lengths are not checked.

    Raises:
      KeyError: there is no such field.
      SourceError: the field cannot be read.
    """
    camera, _, name = path.rpartition("/")
    folder, is_image = find_node(episode.group, camera), path in episode.images
    if is_image and contains(folder, "frame0"):
        dataset = find_node(folder, "frame0")
        values = [find_node(folder, f"frame{number}")[:].tobytes() for number in range(len(folder))]
    else:
        dataset = find_node(folder, name)
        values = episode.read_values(dataset, path)
        values = list(values) if is_image and np.iterable(values) else values
    if isinstance(values, (list, np.ndarray)) and len(values) == episode.steps + 1:
        values = values[:-1]
    if is_image and dataset.attrs.get("image_format", "RGB") == "BGR":
        return (bgr_to_rgb(decode_image(image, path, str(episode.file))) for image in values)
    return values


HDF5_LAYOUTS: dict[str, Hdf5Layout] = {
    "robomimic": Hdf5Layout(
        is_content=has_demonstrations,
        content="data/demo_0, data/demo_1 and so on",
        list_splits=_list_robomimic_splits,
        infer_fields=_infer_robomimic_fields,
        read_field=_read_robomimic_field,
    ),
    "aloha": Hdf5Layout(required_paths=("observations/qpos", "action")),  # github.com/tonyzhaozh/act
    "droid_raw": Hdf5Layout(
        required_paths=("observation/robot_state", "action/gripper_position"),
        read_field=_read_droid_field,
        read_provenance=_read_droid_provenance,
        list_sidecars=_list_droid_sidecars,
    ),
    "robonet": Hdf5Layout(required_paths=("env", "policy/actions"), read_field=_read_robonet_field),
    "d4rl": Hdf5Layout(
        required_paths=("actions", "terminals", "timeouts"),
        list_splits=list_d4rl_episodes,
        read_field=read_d4rl_field,
        step_flags=("is_terminal",),
    ),
    "maniskill": Hdf5Layout(
        is_content=is_maniskill,
        content="traj_0/obs and traj_0/actions",
        list_splits=list_groups,
        infer_fields=_refuse_to_infer_from_group,
        read_field=read_maniskill_field,
    ),
    "groups": Hdf5Layout(
        is_content=has_groups,
        content="one group for each episode, such as episode_0",
        list_splits=list_groups,
        infer_fields=_refuse_to_infer_from_group,
    ),
    "flat": Hdf5Layout(list_splits=list_flat_episode),  # one episode in each file, with fields named by their paths
}
