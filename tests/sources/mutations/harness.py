"""Mutations of small recordings: what our readers make of them, compared with an independent reading.

A `Format` writes a small recording with the format's own library, names the mutations that make sense in it, and reads
any recording of this format without our readers. `try_mutation` copies the recording, mutates the copy, reads it both
ways, and returns the fault if there is one. Everything follows from the name of the format and a seed.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import random
import re
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes import Continuous, DatasetError, Discrete, Episode, Image, Modality
from gato_jax.runtime.content_digests import hash_file
from gato_jax.sources import EpisodeRejected, Fields, NoSplitError, SourceError, open_source
from tests.sources.mutations.damage import DAMAGES

# An episode as raw columns, such as {"observation/state": (T, 3), "action/arm": (T, 2), "reward": (T,)}. Images are
# lists of (H, W, C) uint8. None is an episode that the recording promises and the library cannot read.
Row = Mapping[str, Any]
Damage = Callable[[Path, random.Random], str]

_SIDES = ("observation", "action")
_ADDRESS = re.compile(r"\bat 0x[0-9a-f]{6,}")
_READ_BEFORE = 0.25  # share of the mutations that are made after the recording was read, under the same path
_KEPT_READINGS = 64
_OF_FORMAT = 0.5  # share of the mutations that know the format


@dataclasses.dataclass(frozen=True, kw_only=True)
class Format:
    """A format of recordings, with a small example and an independent reader.

    Attributes:
      write: writes the recording below an empty folder.
      source: the source of `open_source`, in which `{}` stands for the folder.
      read: reads all episodes below a folder with the format's own library. It may raise anything for a recording
        that the library cannot read at all.
      damages: mutations that know the format. Each returns what it did, in words, or raises NotPossible.
      fields: the fields to read, or None for those that the recording defines.
      splits: splits to read, one after the other.
    """

    write: Callable[[Path], None]
    source: str
    read: Callable[[Path], Iterable[Row | None]]
    damages: Sequence[Damage]
    fields: Fields | None = None
    splits: Sequence[str] = ("train",)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outcome:
    """The result of one mutation.

    Attributes:
      done: the mutation, in words.
      fault: the fault of our reader, in words, or None.
      kind: `exact` if all episodes were read, `listed` if some were rejected, `refused` if the source was.
    """

    done: str
    kind: str
    fault: str | None


@dataclasses.dataclass(kw_only=True)
class _Reading:
    """Everything that our reader says of a recording."""

    episodes: list[tuple[Any, Episode]] = dataclasses.field(default_factory=list)  # (spec, episode)
    messages: list[str] = dataclasses.field(default_factory=list)  # rejections, omissions and refusals
    refused: bool = False
    fault: str | None = None

    @property
    def fields(self) -> set[str]:
        """Keys of the rows that are read."""
        return {f"{side}/{key}" for spec, _ in self.episodes for side in _SIDES for key in getattr(spec, side)}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Original:
    """The recording before any mutation.

    Attributes:
      folder: its folder.
      rows: its rows, all of which its library reads.
      messages: what our reader lists of it already, without the folder.
      unread: keys of the rows that our reader leaves out already.
    """

    folder: Path
    rows: Sequence[Row]
    messages: frozenset[str]
    unread: frozenset[str]


def write_original(kind: Format, folder: Path) -> Original:
    """Write the recording of a format below a folder, and read it; our reader must read every row exactly."""
    pristine = folder / "recording"
    pristine.mkdir(parents=True)
    kind.write(pristine)
    rows = list(kind.read(pristine))
    assert rows and None not in rows, "the library does not read the recording that it wrote"
    copy = folder / "read" / pristine.name  # our reader may leave files behind
    shutil.copytree(pristine, copy, symlinks=True)
    ours = _read_ours(kind, copy)
    original = Original(
        folder=pristine,
        rows=[row for row in rows if row is not None],
        messages=frozenset(message.replace(str(copy), "") for message in ours.messages),
        unread=frozenset(key for row in rows for key in row or () if key.split("/")[0] in _SIDES) - ours.fields,
    )
    fault = ours.fault or _compare(ours, rows, [], set(), original)
    assert fault is None and len(ours.episodes) == len(rows), fault or f"ours reads {len(ours.episodes)} of {len(rows)}"
    return original


def try_mutation(kind: Format, name: str, seed: int, original: Original, folder: Path) -> Outcome:
    """Mutate a copy of the recording and compare both readings of it.

    Args:
      kind: the format.
      name: its name, part of the seed.
      seed: number of the mutation.
      original: the recording.
      folder: folder for the copy, which must not exist. It is deleted afterwards.
    """
    chance = random.Random(f"{name} {seed}")
    copy = folder / original.folder.name
    try:
        shutil.copytree(original.folder, copy, symlinks=True)
        if chance.random() < _READ_BEFORE:
            _read_ours(kind, copy)
        done = _mutate(kind, copy, chance)
        ours = _read_ours(kind, copy)
        listed = {message.replace(str(copy), "") for message in ours.messages} - original.messages
        fault = ours.fault or _compare(ours, *_read_reference(kind, copy, original), listed, original)
        fault = fault or next(filter(None, (_problem_of_message(text, copy) for text in ours.messages)), None)
        return Outcome(done=done, fault=fault, kind="refused" if ours.refused else "listed" if listed else "exact")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def read_mutation(kind: Format, name: str, seed: int, folder: Path):
    """Mutate a new recording as `try_mutation` does, and read it with the format's own library alone."""
    pristine = folder / "recording"
    pristine.mkdir()
    kind.write(pristine)
    chance = random.Random(f"{name} {seed}")
    chance.random()
    _mutate(kind, pristine, chance)
    with contextlib.suppress(Exception):
        list(kind.read(pristine))


def cached_by_content(read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a function that reads a file only if it has not lately read one with the same content.

    A mutation changes one file of several. Errors are kept as results are. Callers must not change a result.
    """
    results: dict[str, tuple[Any, Exception | None]] = {}

    @functools.wraps(read)
    def read_once(file: Path) -> Any:
        digest = hash_file(file)
        if digest not in results:
            if len(results) == _KEPT_READINGS:
                del results[next(iter(results))]
            try:
                results[digest] = read(file), None
            except Exception as error:  # noqa: BLE001  libraries raise errors of many types
                results[digest] = None, error
        else:
            results[digest] = results.pop(digest)  # the latest is the last to be forgotten
        result, error = results[digest]
        if error is not None:
            raise error.with_traceback(None)  # whose frames would keep files and the threads of decoders
        return result

    return read_once


def _mutate(kind: Format, copy: Path, chance: random.Random) -> str:
    """Apply one mutation that is possible, and return what was done."""
    for _ in range(100):
        damage = chance.choice(kind.damages if chance.random() < _OF_FORMAT else DAMAGES)
        try:
            return damage(copy, chance)
        except Exception:  # noqa: BLE001  also what the format's own library refuses to write
            continue
    raise AssertionError("no mutation was possible in 100 tries")


def _read_ours(kind: Format, copy: Path) -> _Reading:
    """Read all splits with our reader; an exception that is no refusal is a fault."""
    reading, refusals = _Reading(), 0
    for split in kind.splits:
        try:
            reader = open_source(kind.source.format(copy), split, fields=kind.fields)
            reading.messages += [f"{one.location}: {one.reason}" for one in getattr(reader, "rejected", ())]
            reading.messages += [f"{one.location}: {one.reason}" for one in getattr(reader, "left_out", ())]
            for number, length in enumerate(reader.lengths.tolist()):
                try:
                    episode = reader[number]
                except EpisodeRejected as error:
                    reading.messages.append(str(error))
                    continue
                reading.episodes.append((reader.spec, episode))
                if len(episode) != length:
                    reading.fault = f"episode {number} has {len(episode)} steps, its length says {length}"
        except NoSplitError as error:
            refusals += 1
            if len(kind.splits) == 1 or refusals == len(kind.splits):
                reading.messages.append(str(error))
        except (SourceError, DatasetError) as error:
            refusals += 1
            reading.messages.append(str(error))
        except Exception as error:  # noqa: BLE001  any other error is the fault that is looked for
            reading.fault = f"{type(error).__name__} in {_innermost(error)}: {error!s:.300}"
    reading.refused = refusals == len(kind.splits)
    return reading


def _innermost(error: BaseException) -> str:
    """Return the file and line of our code nearest to where an exception was raised."""
    place, traceback = "?", error.__traceback__
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if "/gato_jax/" in file:
            place = f"{file.rpartition('/gato_jax/')[2]}:{traceback.tb_lineno}"
        traceback = traceback.tb_next
    return place


def _read_reference(kind: Format, copy: Path, original: Original) -> tuple[list[Row | None], list[Row]]:
    """Return the rows that the library reads, and those that count as exact where it reads none."""
    try:
        rows = list(kind.read(copy))
    except Exception:  # noqa: BLE001  the library cannot read it
        return [], list(original.rows)
    return rows, list(original.rows) if None in rows else []


def _compare(
    ours: _Reading, rows: Sequence[Row | None], spare: list[Row], listed: set[str], original: Original
) -> str | None:
    """Return the fault if an episode is in no row, or something is not read although nothing more is listed."""
    left = [row for row in rows if row is not None]
    for number, (spec, episode) in enumerate(ours.episodes):
        both = (*left, *spare)
        place = next((n for n, row in enumerate(both) if not _difference(spec, episode, row, bool(listed))), None)
        if place is None:
            problems = [_difference(spec, episode, row, bool(listed)) for row in both[:4]]
            return f"episode {number} differs from the library's reading: {'; '.join(map(str, problems)) or 'none'}"
        pool, place = (left, place) if place < len(left) else (spare, place - len(left))
        unread = {key for key in pool.pop(place) if key.split("/")[0] in _SIDES} - ours.fields - original.unread
        if unread and not listed:
            return f"{sorted(unread)} of episode {number} are not read, and nothing is listed"
    if len(rows) > len(ours.episodes) and not listed:
        return f"{len(rows)} episodes are in the recording, {len(ours.episodes)} were read, and nothing is listed"
    return None


def _difference(spec: Any, episode: Episode, row: Row, is_listed: bool) -> str | None:
    """Return the first key whose values differ from those of a row, with both, or None if all agree.

    If something is listed, rewards may be zero, as they are without a field of rewards.
    """
    for side in _SIDES:
        for key, modality in getattr(spec, side).items():
            if f"{side}/{key}" not in row:
                return f"{side}/{key} is not in the recording"
            values, raw = getattr(episode, side)[key], row[f"{side}/{key}"]
            if side == "action" and episode.final_observation:
                values, raw = values[:-1], raw[: len(values) - 1]
            if not _agree(values, raw, modality):
                return f"{side}/{key} is {_show(values)}, expected {_show(raw)}"
    for key in ("reward", "discount", "is_terminal", "success"):
        value = getattr(episode, key)
        if key == "reward" and is_listed and not np.any(value):
            continue
        if key in row and not np.array_equal(
            value, np.reshape(row[key], np.shape(value)).astype(np.asarray(value).dtype)
        ):
            return f"{key} is {_show(value)}, expected {_show(row[key])}"
    return None


def _agree(values: np.ndarray, raw: Any, modality: Modality) -> bool:
    """Return whether the values of an episode are those that were recorded, for their modality."""
    if getattr(raw, "ndim", 1) == 0 or not hasattr(raw, "__len__") or len(values) != len(raw):
        return False
    match modality:
        case Continuous():
            try:
                with np.errstate(over="ignore"):
                    expected = np.asarray(raw).astype(np.float32)
            except (TypeError, ValueError):  # a value that is no number
                return False
            return expected.size == values.size and np.array_equal(expected.reshape(values.shape), values)
        case Discrete():
            raw = np.asarray(raw)
            same = raw.dtype.kind in "biuf" and raw.size == values.size
            return same and np.array_equal(raw.reshape(values.shape), values)
        case Image():
            return all(np.array_equal(_fit(one, modality), value) for one, value in zip(raw, values, strict=True))
    return [one.decode() if isinstance(one, bytes) else one for one in raw] == list(values)


def _fit(image: np.ndarray, modality: Image) -> np.ndarray:
    """Return an image (H, W, C), stretched to the size of a modality by area averaging; (H, W) for one channel."""
    image = np.asarray(image)
    image = image[..., None] if image.ndim == 2 else image
    if image.shape == modality.shape or image.dtype != np.uint8 or image.shape[2] not in (1, 3):
        return image
    picture = PIL.Image.fromarray(image[..., 0] if image.shape[2] == 1 else image)
    resized = np.asarray(picture.resize((modality.width, modality.height), PIL.Image.Resampling.BOX))
    return resized.reshape(modality.height, modality.width, -1)


def _show(values: Any) -> str:
    """Return the shape and the first numbers of some values."""
    try:
        array = np.asarray(values)
    except ValueError:
        array = np.array(list(map(str, values)))
    return f"{array.dtype}{array.shape} {array.ravel()[:6].tolist()!r:.90}"


def _problem_of_message(message: str, folder: Path) -> str | None:
    """Return why a message is not a named reason: it holds a memory address, or does not name a file."""
    if _ADDRESS.search(message):
        return f"a message holds a memory address: {message:.300}"
    if str(folder) not in message:
        return f"a message does not name the recording: {message:.300}"
    return None
