"""Tokenization of a dataset into token records, in shards that worker processes make in parallel.

A shard holds whole episodes, and its bounds follow from the lengths of the episodes alone, so the records are the same
whatever the number of processes. A shard that is complete has a file steps-NNNNN.npz, which holds its part of the index
until all shards are there.
"""

from __future__ import annotations

import concurrent.futures
import concurrent.futures.process
import dataclasses
import json
import logging
import multiprocessing
import os
import pathlib
import pickle
import shutil
import uuid
import zipfile
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from array_record.python import array_record_module  # pyright: ignore[reportAttributeAccessIssue]
from tqdm import tqdm

from gato_jax.batching.chunks import LAYOUT, chunks_of, pack
from gato_jax.batching.record_files import FileState
from gato_jax.batching.record_index import RecordIndex
from gato_jax.batching.records import META_FILE, SCHEMA, RecordsError, TokenRecords, shard_path, write_meta
from gato_jax.batching.task_texts import task_texts_of
from gato_jax.episodes import Episode, Image, Provenance, TaskSpec
from gato_jax.episodes.action_extents import ActionExtent, episode_extents, merge_extents
from gato_jax.episodes.dataclass_reader import DataclassReader
from gato_jax.runtime import begin_worker
from gato_jax.runtime.atomic_writes import PARTIAL, replace_folder
from gato_jax.sources import EpisodeReader
from gato_jax.tokenization import Contract, Layout, Tokenization, check_action_limits, measure_action_limits
from gato_jax.tokenization.codecs.image import ImageTokenizer

SHARD_STEPS = 1 << 14  # timesteps of a shard at least; a change changes the bytes, so it needs another SCHEMA
_MAX_SHARDS = 1 << 10
_MIN_SHARDS = 3  # fewer are made in this process: starting workers takes seconds
BAR_DELAY = 1.0  # seconds before a progress bar appears

_log = logging.getLogger(__name__)

Episodes = EpisodeReader | Sequence[Episode]


def write_records(
    directory: pathlib.Path,
    spec: TaskSpec,
    episodes: Episodes,
    fingerprint: str,
    tokenization: Tokenization,
    image_tokenizer: ImageTokenizer | None = None,
    *,
    workers: int | None = None,
    resume: bool = False,
    origin: str = "",
) -> TokenRecords:
    """Tokenize episodes into a folder of records, and return the records, opened.

    The files are written into DIRECTORY.partial, and replace the content of DIRECTORY when all are complete. After an
    error, nothing is left in DIRECTORY.partial without `resume`; with `resume`, complete shards stay for the next call.

    Args:
      directory: Folder of the records.
      spec: Task of the episodes.
      episodes: The episodes, by their index. They are read once more if the tokenization scales actions by the data
        (`actions="rt_2"`), and once more if they have no `lengths`.
      fingerprint: Fingerprint of the dataset that the episodes come from.
      tokenization: Settings of all codecs.
      image_tokenizer: The tokenizer whose codes stand for images, if `tokenization` names one.
      workers: Number of processes; None for one for each core. Datasets with fewer than 3 shards to write, those whose
        reader cannot be sent to another process, and those with an image tokenizer, which uses the accelerator, are
        made in this process.
      resume: Whether to keep complete shards in DIRECTORY.partial that a killed process left. They are not checked to
        be of the same episodes and settings; in the cache, the name of the folder depends on both.
      origin: Description of the dataset, for people.

    Raises:
      RecordsError: There are no episodes, an episode has no step at which an action was taken, images are to be
        predicted as many steps ahead as the longest episode has, or more, or a worker process died.
      TokenizationError: A value has no exact token, in which case the error names episode, step and key; or the limits
        of the actions cannot be measured (see `measure_action_limits`), or are of no use for the data (see
        `check_action_limits`).
    """
    if not len(episodes):
        raise RecordsError(f"{spec.name}: no episodes to tokenize; record or convert some first")
    limits = {spec.name: measure_action_limits(spec, episodes)} if tokenization.actions == "rt_2" else None
    contract = Contract.of(tokenization, [spec], limits, task_texts_of(spec, tokenization))
    partial = directory.with_name(directory.name + PARTIAL)
    if not resume:
        shutil.rmtree(partial, ignore_errors=True)
    job = _Job(partial / "content", contract.to_json(), episodes)
    job.content.mkdir(parents=True, exist_ok=True)
    shards = shard_ranges(_lengths(episodes))
    try:
        _write_shards(job, contract.layout(spec.name, image_tokenizer), shards, workers, image_tokenizer is None)
        _write_index(job.content, contract, len(shards), fingerprint, origin)
        replace_folder(job.content, directory)
        shutil.rmtree(partial, ignore_errors=True)
    except BaseException:
        if not resume:
            shutil.rmtree(partial, ignore_errors=True)
        raise
    return TokenRecords.open(directory)


def shard_ranges(lengths: Sequence[int] | np.ndarray) -> list[range]:
    """Return the ranges of episode indices that make the shards, consecutive and in order.

    A shard has about 2^14 timesteps; there are at most 1024 shards, which are larger where the dataset needs it.

    Args:
      lengths: Number of timesteps of each episode, of at least one episode.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    target = max(SHARD_STEPS, -(-int(ends[-1]) // _MAX_SHARDS))
    shard = (ends - lengths) // target
    firsts = [0, *(np.flatnonzero(np.diff(shard)) + 1).tolist(), len(ends)]
    return [range(first, stop) for first, stop in zip(firsts, firsts[1:], strict=False)]


@dataclasses.dataclass(frozen=True)
class _Job:
    """Everything that a worker process needs to make shards; it can be pickled if the reader of the episodes can.

    Attributes:
      content: Folder of the unfinished records.
      contract: The contract as JSON.
      episodes: All episodes of the dataset.
    """

    content: pathlib.Path
    contract: dict[str, Any]
    episodes: Episodes


def _write_shards(job: _Job, layout: Layout, shards: Sequence[range], workers: int | None, parallel: bool):
    waiting = [number for number in range(len(shards)) if not _is_complete(_part_path(job.content, number))]
    total, done = len(job.episodes), len(job.episodes) - sum(len(shards[number]) for number in waiting)
    workers = min(workers or _available_cores(), len(waiting))
    title = f"tokenize {layout.spec.name}"
    with tqdm(total=total, initial=done, desc=title, unit="episode", delay=BAR_DELAY) as bar:
        if not parallel or workers < 2 or len(waiting) < _MIN_SHARDS or not _can_be_sent(job):
            for number in waiting:
                _write_shard(job, layout, number, shards[number], bar.update)
            return
        context = multiprocessing.get_context("spawn")  # a fork would copy the locks of the threads of JAX
        pool = concurrent.futures.ProcessPoolExecutor(workers, context, initializer=_begin_worker, initargs=(job,))
        try:
            with pool:
                results = pool.map(_write_shard_in_worker, waiting, [shards[number] for number in waiting])
                for number, _ in zip(waiting, results, strict=True):
                    bar.update(len(shards[number]))
        except concurrent.futures.process.BrokenProcessPool:
            raise RecordsError(
                f"{layout.spec.name}: a worker process died while it tokenized, perhaps for lack of memory; free some "
                "and run again"
            ) from None


def _write_shard(
    job: _Job, layout: Layout, number: int, episodes: range, tell: Callable[[int], Any] = lambda count: None
):
    """Write one shard of records, then its part of the index, which says that the shard is complete.

    Both get their names when they are complete, so that the worker of a killed process, which may not have ended yet,
    does no harm.

    Args:
      job: Folder and episodes.
      layout: Layout of the task's tokens.
      number: Index of the shard.
      episodes: Indices of its episodes.
      tell: Called with 1 after each episode.

    Raises:
      RecordsError: An episode has no step at which an action was taken.
      TokenizationError: A value has no exact token.
    """
    sizes, episode_steps, chunk_steps, owners, actions = [], [], [], [], ()
    provenances: dict[Provenance, int] = {}
    path = shard_path(job.content, number)
    unfinished = path.with_name(f"{path.name}.{uuid.uuid4().hex}")
    writer = array_record_module.ArrayRecordWriter(str(unfinished), "group_size:1,uncompressed")
    for index in episodes:
        episode = job.episodes[index]
        steps = layout.encode_timesteps(episode, index)
        if not steps:
            raise RecordsError(f"{layout.spec.name}: episode {index} holds no action that was taken; filter it out")
        for count, chunk in chunks_of(steps):
            writer.write(pack(chunk))
            chunk_steps.append(count)
        actions = merge_extents((*actions, *episode_extents(layout.spec, episode)))
        owners.append(provenances.setdefault(episode.provenance, len(provenances)))
        sizes += [(len(step), len(step.patch_slots), int(step.loss_mask.sum())) for step in steps]
        episode_steps.append(len(steps))
        tell(1)
    writer.close()
    unfinished.replace(path)
    part = unfinished.with_name(f"{unfinished.name}.npz")
    np.savez(
        part, sizes=np.array(sizes, np.int32).T, episode_steps=episode_steps, chunk_steps=chunk_steps, owners=owners,
        provenances=json.dumps([dataclasses.asdict(provenance) for provenance in provenances]),
        actions=json.dumps([dataclasses.asdict(extent) for extent in actions]),
    )  # fmt: skip
    part.replace(_part_path(job.content, number))


def _write_index(content: pathlib.Path, contract: Contract, shards: int, fingerprint: str, origin: str):
    """Join the parts of the index that the shards left, write meta.json last, and remove all other files.

    Args:
      content: Folder of the unfinished records.
      contract: Contract of the one task.
      shards: Number of shards.
      fingerprint: Fingerprint of the dataset that the episodes come from.
      origin: Description of the dataset, for people.

    Raises:
      RecordsError: Images are to be predicted as many steps ahead as the longest episode has, or more.
      TokenizationError: The limits of an action are of no use for the data (see `check_action_limits`).
    """
    parts = [_read_part(content, number) for number in range(shards)]
    provenances: dict[Provenance, int] = {}
    owners = []
    for part in parts:
        part_provenances = [Provenance(**fields) for fields in json.loads(str(part["provenances"]))]
        numbers = np.array([provenances.setdefault(provenance, len(provenances)) for provenance in part_provenances])
        owners.append(numbers[part["owners"]])
    joined = {
        name: np.concatenate([part[name] for part in parts], -1) for name in ("sizes", "episode_steps", "chunk_steps")
    }
    (spec,) = contract.tasks.values()
    _require_image_targets(spec, contract.tokenization, int(joined["episode_steps"].max()))
    if contract.tokenization.actions != "rt_2":  # which takes its limits from the data
        listed = (fields for part in parts for fields in json.loads(str(part.get("actions", "[]"))))
        extents = [DataclassReader().read(ActionExtent, fields, "actions") for fields in listed]
        check_action_limits(spec, contract.tokenization, extents)
    index = RecordIndex.build(**joined, provenances=np.concatenate(owners))
    files = {path.name: FileState.of(path, checksum=False) for path in (shard_path(content, n) for n in range(shards))}
    files |= index.write(content)
    meta = {
        "schema": SCHEMA, "layout": LAYOUT, "fingerprint": fingerprint, "contract": contract.to_json(),
        "provenances": [dataclasses.asdict(provenance) for provenance in provenances],
        "maxima": dataclasses.asdict(index.maxima), "origin": origin,
        "files": {name: dataclasses.asdict(state) for name, state in files.items()},
        "shards": [len(part["chunk_steps"]) for part in parts],
    }  # fmt: skip
    write_meta(content, meta)
    for path in content.iterdir():
        if path.name not in files and path.name != META_FILE:
            path.unlink()


def _require_image_targets(spec: TaskSpec, tokenization: Tokenization, longest: int):
    """Check that at least one image is a target, if the task has images and `tokenization.image_ahead` is set.

    `longest` is the number of timesteps of the longest episode. Raises RecordsError if it is at most `image_ahead`, as
    no image is a target then.
    """
    ahead = tokenization.image_ahead
    if ahead is None or longest > ahead or not any(isinstance(m, Image) for m in spec.observation.values()):
        return
    raise RecordsError(
        f"{spec.name}: tokenization.image_ahead is {ahead}, but its longest episode has {longest} steps, so no image "
        f"is ever a target; set it below {longest}, or leave it out so that images are not predicted"
    )


def _lengths(episodes: Episodes) -> np.ndarray:
    """Return the timesteps of each episode, (E,): the reader's `lengths`, or else by reading all episodes."""
    lengths = getattr(episodes, "lengths", None)
    return np.array([len(episode) for episode in episodes]) if lengths is None else np.asarray(lengths)


def _part_path(content: pathlib.Path, number: int) -> pathlib.Path:
    """Return the path, in the folder `content`, of a shard's part of the index: steps-00000.npz for number 0."""
    return content / f"steps-{number:05d}.npz"


def _read_part(content: pathlib.Path, number: int) -> dict[str, np.ndarray]:
    with np.load(_part_path(content, number), allow_pickle=False) as arrays:
        return dict(arrays)


def _is_complete(part: pathlib.Path) -> bool:
    """Return whether a shard's part of the index is there and can be read; a warning is logged if it is damaged."""
    if not part.exists():
        return False
    try:
        with zipfile.ZipFile(part) as arrays:
            problem = arrays.testzip()
    except Exception as error:  # zipfile raises several for a file that was changed
        problem = error
    if problem is not None:
        _log.warning("%s is damaged (%s), and its shard is made again", part, problem)
    return problem is None


def _available_cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _can_be_sent(job: _Job) -> bool:
    """Return whether the reader of the episodes can be pickled for another process, and log if it cannot."""
    try:
        pickle.dumps(job)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        _log.info("tokenizing in one process: the reader of the episodes cannot be sent to others (%s)", error)
        return False
    return True


_worker: dict[str, Any] = {}  # the job and the layout of this process, if it is a worker


def _begin_worker(job: _Job):
    """Prepare a worker process, which ends with its parent and leaves signals to it."""
    begin_worker()
    contract = Contract.from_json(job.contract)
    _worker["job"], _worker["layout"] = job, contract.layout(next(iter(contract.tasks)))


def _write_shard_in_worker(number: int, episodes: range):
    _write_shard(_worker["job"], _worker["layout"], number, episodes)
