"""Minari datasets (minari.farama.org): their spaces and metadata say what they hold, and their own library reads it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Episode, Modality
from gato_jax.sources.assembly import assemble, to_array
from gato_jax.sources.fields import Fields
from gato_jax.sources.hdf5.file import find, walk
from gato_jax.sources.minari.spaces import infer_fields
from gato_jax.sources.reader import (
    EpisodeRejected,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    resolve_within,
)

Answer = TypeVar("Answer")


def open_minari(where: str | Path, split: str = "train", *, fields: Fields | None = None) -> RecordedEpisodes:
    """Opens a Minari dataset of this machine, each episode of which ends with an observation that nothing acts upon.

    Args:
      where: the dataset's folder, or its name below MINARI_DATASETS_PATH. Nothing is downloaded.
      split: `train`, for Minari has no splits.
      fields: what is wanted, where the spaces are not to be taken as they are. A field is a path in Minari's episodes:
        `observations/achieved_goal`, `actions`, `rewards`, `infos/time`.

    Raises:
      SourceError: there is no such dataset, a space has no modality, an action no finite limits, or all is damaged.
    """
    if split != "train":
        raise SourceError(f"{where}: no split {split!r}; it has train")
    folder = _find_folder(str(where))
    files = _list_files(folder)
    storage = _storage(folder)
    fields = fields or infer_fields(storage, str(where))
    import tqdm

    lengths: dict[int, int] = {}
    rejected = []
    for number in tqdm.trange(storage.total_episodes, desc=f"{where}: lengths", unit=" episodes", delay=2.0):
        try:
            lengths[number] = _count_steps(folder, number) + 1
        except EpisodeRejected as error:
            rejected.append(Rejection(error.location, error.reason))
    if not lengths:
        raise SourceError(f"{where}: no episode can be read. {rejected[0].reason if rejected else 'It has none'}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=tuple(lengths),
        lengths=np.array([*lengths.values()], np.int64),
        fingerprint=fingerprint_files(files, fields.to_json()),
        read=functools.partial(_read, folder=folder, fields=fields),
        rejected=tuple(rejected),
    )


def _read(number: int, *, folder: Path, fields: Fields) -> Episode:
    where, steps = _said(folder, number), _count_steps(folder, number)
    _refuse_links(folder, number)
    data = _ask(where, lambda: next(iter(_storage(folder).get_episodes([number]))))
    if len(data["rewards"]) != steps:
        raise EpisodeRejected(where, f"it has {len(data['rewards'])} rewards, its metadata say {steps} steps")
    data["terminations"] = to_array(data["terminations"], Discrete(n=2), "terminations", where)
    if fields.success is None and "success" in (data["infos"] or {}):
        fields = dataclasses.replace(fields, success="infos/success")
    episode = assemble(
        fields,
        functools.partial(_column, data),
        where,
        step_flags=("discount", "is_terminal"),
        final_observation=True,
    )
    seed = _metadata_of(folder, number).get("seed")
    action = {key: _place(values, fields.spec.action[key]) for key, values in episode.action.items()}
    return dataclasses.replace(episode, action=action, seed=seed if isinstance(seed, int) else None)


def _column(data: dict[str, Any], path: str) -> Any:
    """T + 1 values. RLDS has the reward, discount and action of a step with the observation that they follow."""
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


def _place(values: np.ndarray, modality: Modality) -> np.ndarray:
    """Actions with the last, which is a placeholder of zeros, moved within the limits."""
    if not isinstance(modality, Continuous):
        return values
    low, high = (limit.reshape(modality.shape) for limit in modality.limits)
    return np.concatenate([values[:-1], np.clip(values[-1:], low, high).astype(values.dtype)])


def _find_folder(where: str) -> Path:
    """The folder that holds metadata.json and the data."""
    import minari.storage

    folder = Path(where) if Path(where).is_dir() else Path(minari.storage.get_dataset_path(where))
    for candidate in (folder / "data", folder):
        if (candidate / "metadata.json").is_file():
            return candidate
    raise SourceError(
        f"{where}: no dataset of Minari, for {folder} holds no data/metadata.json; name its folder, or download it "
        f"with `minari download {where}`"
    )


def _list_files(folder: Path) -> list[Path]:
    """The dataset's files. Raises SourceError where one of them, or an episode in HDF5, is a link out of it."""
    files = sorted(file for file in folder.rglob("*") if file.is_symlink() or file.is_file())
    for file in files:
        resolve_within(folder, str(file.relative_to(folder)))
    _refuse_links(folder, None)
    return files


def _refuse_links(folder: Path, number: int | None):
    """Raises EpisodeRejected where in HDF5 an episode, or a part of this one, is a link, which Minari would follow."""
    file = folder / "main_data.hdf5"
    if not file.exists():
        return
    import h5py

    def look():
        with h5py.File(file, "r") as root:
            names = root if number is None else [name for name, _ in walk(root, f"episode_{number}")]
            for name in names:
                find(root, str(name))

    _ask(str(file) if number is None else _said(folder, number), look)


@functools.lru_cache(maxsize=8)
def _storage(folder: Path) -> Any:
    """Minari's own reader of a dataset; it keeps no file open."""
    import minari
    from minari.dataset.minari_storage import MinariStorage

    def open_dataset() -> Any:
        known = MinariStorage.read_raw_metadata(folder)
        if lacking := {"observation_space", "action_space"} - known.keys():
            raise SourceError(f"its metadata lack {' and '.join(sorted(lacking))}; record it with a newer Minari")
        return minari.MinariDataset(folder).storage

    return _ask(str(folder), open_dataset)


def _metadata_of(folder: Path, number: int) -> dict[str, Any]:
    return _ask(_said(folder, number), lambda: next(iter(_storage(folder).get_episode_metadata([number]))))


def _count_steps(folder: Path, number: int) -> int:
    where, metadata = _said(folder, number), _metadata_of(folder, number)
    if (steps := _ask(where, lambda: int(metadata["total_steps"]))) < 1:
        raise EpisodeRejected(where, "it has no steps")
    return steps


def _ask(where: str, question: Callable[[], Answer]) -> Answer:
    """What Minari answers. Raises EpisodeRejected for whatever it stumbles over, for it checks little itself."""
    try:
        return question()
    except SourceError as error:
        raise EpisodeRejected(where, str(error)) from None
    except Exception as error:
        raise EpisodeRejected(where, f"it cannot be read, and may be damaged ({error!r})") from None


def _said(folder: Path, number: int) -> str:
    return f"{folder}: episode {number}"
