"""Reader of Minari datasets (minari.farama.org), through their own library."""

from __future__ import annotations

import dataclasses
import functools
import re
from collections.abc import Callable, Hashable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Modality
from gato_jax.episodes.errors import describe_error
from gato_jax.runtime.content_digests import file_key
from gato_jax.sources.assembly import assemble, to_array
from gato_jax.sources.contents import FoundField, MissingFieldsError, missing_fields, unnamed_fields
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import find_files, resolve_within, unread_files
from gato_jax.sources.hdf5.file import find_node, iter_datasets, open_file
from gato_jax.sources.minari.spaces import infer_fields
from gato_jax.sources.reader import (
    EpisodeRejected,
    NoSplitError,
    Omission,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
)

_Result = TypeVar("_Result")


def open_minari(path: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Open a local Minari dataset.

    The last step of each episode holds the final observation and a placeholder action of zeros, clipped to the limits
    of the action. An episode with T actions therefore has T + 1 steps.

    Args:
      path: folder of the dataset, or its name below MINARI_DATASETS_PATH. Nothing is downloaded.
      split: must be "train", because Minari has no splits. Any other raises SourceError.
      fields: the fields to read. A field is a path within Minari's episode data, such as
        `observations/achieved_goal`, `actions`, `rewards` or `infos/time`. Default: all that the spaces define, and
        the rewards. Unless the fields name a success flag, `infos/success` is that of the episodes that have it.

    Raises:
      SourceError: there is no such dataset or the dataset is damaged, a link leads out of it, no episode has metadata
        with a number of steps, or `fields` is None and a space has no modality or an action no finite limits. If some
        episodes have a number of steps, the others are listed in `rejected`. Values are not read: damage in them raises
        EpisodeRejected when the episode is read.
    """
    if split != "train":
        raise NoSplitError(f"{path}: no split {split!r}; it has train")
    if fields is not None and fields.final_observation is False:
        raise SourceError(
            f"{path}: final_observation is false, expected true or none, because a Minari episode ends with an "
            "observation without an action. Omit it."
        )
    folder = _find_folder(str(path))
    files = _list_files(folder)
    storage = _open_storage(folder)
    if fields is None:
        try:
            fields = infer_fields(storage, str(path))
        except MissingFieldsError as error:
            raise missing_fields(f"minari:{path}", _first_fields(folder, storage, error), str(error)) from None
    if not isinstance(storage.total_episodes, int):
        raise SourceError(f"{path}: total_episodes is {storage.total_episodes!r}, expected an integer. Copy it again.")
    import tqdm

    lengths: dict[int, int] = {}
    rejected = []
    for number in tqdm.trange(storage.total_episodes, desc=f"{path}: lengths", unit=" episodes", delay=2.0):
        try:
            lengths[number] = _count_steps(folder, number) + 1
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    if not lengths:
        first = f" The first: {rejected[0].reason}" if rejected else ""
        raise SourceError(f"{path}: none of {storage.total_episodes} episodes can be read.{first}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=tuple(lengths),
        lengths=np.array([*lengths.values()], np.int64),
        fingerprint=fingerprint_files(files, fields.to_json(), label=str(path)),
        read=functools.partial(_read, folder=folder, fields=fields),
        rejected=tuple(rejected),
        fields=fields,
        find_left_out=functools.partial(_find_left_out, folder, files, fields),
    )


_READ = ("observations", "actions", "rewards", "terminations", "truncations")


def _first_fields(folder: Path, storage: Any, problem: MissingFieldsError) -> list[FoundField]:
    """Return the fields of the first episode, [] of a dataset without episodes; SourceError if it cannot be read.

    `problem` is why the fields are not inferred, for the message.
    """
    try:
        return describe_data(folder) if storage.total_episodes else []
    except EpisodeRejected as error:
        raise SourceError(f"{problem}, and the fields cannot be listed, because {error}") from None


def describe_data(folder: Path) -> list[FoundField]:
    """Return the fields of the first episode, or raise EpisodeRejected if it cannot be read."""
    _refuse_links(folder, 0)
    data = _reject_errors(_location(folder, 0), lambda: _read_stored(folder, 0))
    return [one for name in (*_READ, "infos") for one in _describe_values(name, data.get(name))]


def _describe_values(path: str, values: Any) -> Iterator[FoundField]:
    if isinstance(values, (dict, tuple)):
        parts = values.items() if isinstance(values, dict) else enumerate(values)
        for name, part in parts:
            yield from _describe_values(f"{path}/{name}", part)
    elif isinstance(values, np.ndarray):
        yield FoundField(path=path, kind=str(values.dtype), shape=values.shape[1:])
    elif values is not None:
        is_text = isinstance(values, list) and all(isinstance(value, str) for value in values)
        yield FoundField(path=path, kind="text" if is_text else type(values).__name__)


def _find_left_out(folder: Path, files: Sequence[Path], fields: Fields) -> list[Omission]:
    """List the files, episodes and fields of a dataset that are not read."""
    count, omissions = _open_storage(folder).total_episodes, []
    main = folder / "main_data.hdf5"
    if main in files:
        with open_file(main) as root:
            groups = [name for name in root if name not in {f"episode_{number}" for number in range(count)}]
        reason = f"the metadata promise {count} episodes, numbered from 0"
        omissions = [Omission(f"{main}: {name}", reason) for name in groups]
    known = {main, folder / "metadata.json"}
    others = [file for file in files if file not in known and not re.fullmatch(r"\d+", file.parent.name)]
    omissions += unread_files(folder, others, "Minari does not read it", known)
    success = ("infos/success",) if fields.success is None else ()
    try:
        found = describe_data(folder)
    except EpisodeRejected as error:
        return [*omissions, Omission(error.location, f"its content cannot be listed ({error.reason})")]
    return [*omissions, *unnamed_fields(str(folder), found, fields, ("terminations", "truncations", *success))]


def _read(number: int, *, folder: Path, fields: Fields) -> Episode:
    """Read the episode of this number from the dataset in a folder, or raise EpisodeRejected if it is damaged."""
    location, steps = _location(folder, number), _count_steps(folder, number)
    _refuse_links(folder, number)
    return _reject_errors(location, lambda: _read_data(number, folder, fields, location, steps))


def _read_data(number: int, folder: Path, fields: Fields, location: str, steps: int) -> Episode:
    """Read an episode of `steps` actions. Damage raises EpisodeRejected or errors of other types."""
    data = _read_stored(folder, number)
    if len(data["rewards"]) != steps:
        raise EpisodeRejected(location, f"it has {len(data['rewards'])} rewards, expected {steps} by its metadata")
    data["terminations"] = to_array(data["terminations"], Discrete(n=2), "terminations", location)
    if fields.success is None and "success" in (data["infos"] or {}):
        fields = dataclasses.replace(fields, success="infos/success")
    episode = assemble(
        fields,
        functools.partial(_read_field, data),
        location,
        step_flags=("discount", "is_terminal"),
        final_observation=True,
    )
    seed = _read_metadata(folder, number).get("seed")
    action = {key: _clip_last_action(values, fields.spec.action[key]) for key, values in episode.action.items()}
    return dataclasses.replace(episode, action=action, seed=seed if isinstance(seed, int) else None)


def _read_field(data: dict[str, Any], path: str) -> Any:
    """Return the T + 1 values of a field of an episode with T actions.

    RLDS stores reward, discount and action at the step of the observation that they follow, so these are padded by one:
    rewards, actions and discounts with a zero or empty text at the end, the terminal flag with false at the beginning.
    Observations and infos, which have T + 1 values already, are returned as they are.

    Args:
      data: the episode data as Minari reads them.
      path: path within the data, or one of the flags `discount` and `is_terminal`.

    Raises:
      KeyError: there is no such field.
    """
    match path:
        case "discount":
            return np.append(1.0 - data["terminations"], 0.0)
        case "is_terminal":
            return np.append(0, data["terminations"])
    values: Any = data
    for name in path.split("/"):
        parts = {str(number): part for number, part in enumerate(values)} if isinstance(values, tuple) else values
        if not isinstance(parts, dict) or name not in parts:
            raise KeyError(f"no {name!r}")
        values = parts[name]
    if path.split("/")[0] not in ("actions", "rewards"):
        return values
    return [*values, ""] if isinstance(values, list) else np.concatenate([values, np.zeros_like(values[:1])])


def _clip_last_action(values: np.ndarray, modality: Modality) -> np.ndarray:
    """Return actions, (T, ...), with the last one, a placeholder of zeros, clipped to the limits of the modality.

    Only Continuous actions are clipped; others are returned as they are.
    """
    if not isinstance(modality, Continuous):
        return values
    low, high = (limit.reshape(modality.shape) for limit in modality.limits)
    return np.concatenate([values[:-1], np.clip(values[-1:], low, high).astype(values.dtype)])


def _find_folder(path: str) -> Path:
    """Return the folder with metadata.json and the episodes: the subfolder `data` of a dataset, or else the dataset.

    Args:
      path: the folder, or the name of a dataset below MINARI_DATASETS_PATH.

    Raises:
      SourceError: neither `data` nor the folder of the dataset holds a metadata.json.
    """
    import minari.storage

    folder = Path(path) if Path(path).is_dir() else Path(minari.storage.get_dataset_path(path))
    for candidate in (folder / "data", folder):
        if (candidate / "metadata.json").is_file():
            return candidate
    raise SourceError(
        f"{path}: no Minari dataset, because {folder} has no data/metadata.json. Give the folder of a dataset, or "
        f"run `minari download {path}`."
    )


def _list_files(folder: Path) -> list[Path]:
    """Return all files at any depth of a dataset's folder, sorted.

    Raises:
      SourceError: a file is a link out of the folder.
      EpisodeRejected: `main_data.hdf5` cannot be read, or its top level has a link to another file or a broken link.
    """
    found = find_files(folder, lambda file: True)
    for one in found.rejected:  # Minari opens all files by itself, and would follow the link
        resolve_within(folder, str(Path(one.location).relative_to(folder)))
        raise SourceError(str(one))
    _refuse_links(folder, None)
    return found.files


def _refuse_links(folder: Path, number: int | None):
    """Raise EpisodeRejected if the `main_data.hdf5` of a dataset links to another file, which Minari would follow.

    It is also raised if the file cannot be read, lacks the episode, or has a broken link or values in other files. A
    dataset without `main_data.hdf5` passes.

    Args:
      folder: folder of the dataset.
      number: number of the episode whose content is checked. None to check only the top level of the file.
    """
    file = folder / "main_data.hdf5"
    if not file.exists():
        return
    import h5py

    def check():
        with h5py.File(file, "r") as root:
            names = root if number is None else [name for name, _ in iter_datasets(root, f"episode_{number}")]
            for name in names:
                find_node(root, str(name))

    _reject_errors(str(file) if number is None else _location(folder, number), check)


def _read_stored(folder: Path, number: int) -> dict[str, Any]:
    """Return the data of an episode as Minari reads them. Damage raises errors of any type.

    Arrow files are validated first, because Minari's reading of a damaged one would end the process.
    """
    storage = _open_storage(folder)
    if (part := folder / str(number)).is_dir():
        import pyarrow.dataset

        hidden = ["_", ".", "metadata.json"]  # as Minari ignores them
        stored = pyarrow.dataset.dataset(str(part), format=storage.FORMAT, ignore_prefixes=hidden)
        stored.to_table().validate(full=True)
    return next(iter(storage.get_episodes([number])))


def _open_storage(folder: Path) -> Any:
    """Return Minari's `MinariStorage` of a dataset, which keeps no file open. The last eight are cached.

    Raises:
      EpisodeRejected: the dataset is damaged, or its metadata lack the observation or the action space.
    """
    metadata = folder / "metadata.json"
    return _open_storage_of(folder, _reject_errors(str(metadata), lambda: file_key(metadata)))


@functools.lru_cache(maxsize=8)
def _open_storage_of(folder: Path, key: Hashable) -> Any:
    import minari
    from minari.dataset.minari_storage import MinariStorage

    def read_metadata():
        known = MinariStorage.read_raw_metadata(folder)
        if not isinstance(known, dict):
            raise SourceError(f"it is {known!r:.60}, expected a JSON object. Copy it again.")
        if lacking := {"observation_space", "action_space"} - known.keys():
            names = " and ".join(sorted(lacking))
            raise SourceError(f"its metadata lack {names}. Record it with a newer Minari.")

    _reject_errors(str(folder / "metadata.json"), read_metadata)
    return _reject_errors(str(folder), lambda: minari.MinariDataset(folder).storage)


def _read_metadata(folder: Path, number: int) -> dict[str, Any]:
    """Return the metadata of one episode as Minari reads them, or raise EpisodeRejected if they are damaged."""
    return _reject_errors(
        _location(folder, number), lambda: next(iter(_open_storage(folder).get_episode_metadata([number])))
    )


def _count_steps(folder: Path, number: int) -> int:
    """Return the number of steps of one episode, which is its number of actions, from its metadata.

    Raises:
      EpisodeRejected: the number is 0 or exceeds int64, or the metadata cannot be read.
    """
    location, metadata = _location(folder, number), _read_metadata(folder, number)
    if (steps := _reject_errors(location, lambda: int(metadata["total_steps"]))) < 1:
        raise EpisodeRejected(location, "it has no steps")
    if steps >= np.iinfo(np.int64).max:
        raise EpisodeRejected(location, f"its total_steps is {steps}, expected a number of steps")
    return steps


def _reject_errors(location: str, read: Callable[[], _Result]) -> _Result:
    """Return the result of `read()`, and raise EpisodeRejected at `location` in place of any Exception that it raises.

    Minari validates little, so damage raises errors of many types.
    """
    try:
        return read()
    except EpisodeRejected:
        raise
    except SourceError as error:
        raise EpisodeRejected(location, str(error)) from None
    except Exception as error:
        raise EpisodeRejected(location, f"it cannot be read and may be damaged ({describe_error(error)})") from None


def _location(folder: Path, number: int) -> str:
    """Return the beginning of error messages about one episode, `FOLDER: episode NUMBER`."""
    return f"{folder}: episode {number}"
