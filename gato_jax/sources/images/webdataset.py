"""Captioned images in WebDataset shards: tar files in which the members of a sample share a name."""

from __future__ import annotations

import collections
import contextlib
import functools
import itertools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import FoundFiles, find_files, unread_files
from gato_jax.sources.images.image_files import image_episode
from gato_jax.sources.language.chatterbot import is_held_out
from gato_jax.sources.reader import (
    EmptySplitError,
    EpisodeRejected,
    Omission,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    held_out_omission,
    is_in_split,
    weigh_damaged_files,
)

_IMAGES, _TEXTS = ("jpg", "jpeg", "png", "webp"), ("txt", "json")
_BLOCK = 512  # bytes; headers and contents of a tar file are padded to whole blocks, and two empty blocks end the file
_SAMPLE = np.dtype(  # number of the shard; offsets and sizes of image and text in bytes; whether the text is JSON
    [("shard", "i4"), ("image", "i8"), ("image_size", "i8"), ("text", "i8"), ("text_size", "i8"), ("json", "?")]
)


def open_webdataset(path: Path, split: str, fields: Fields) -> RecordedEpisodes:
    """Open one split of WebDataset shards as one-step episodes, one for each captioned image.

    The headers of all shards are read once, to find the samples. A sample is the successive members of a shard that
    share a path up to the first dot of the name; this path is the key of the sample.

    Args:
      path: A shard, or a folder with `*.tar` files directly in it.
      split: `train` or `test`; about one sample in twenty belongs to `test`, by the hash of its key.
      fields: The fields to read, with the paths `image` and `caption`.

    Returns:
      The episodes of all samples with an image and a text. Incomplete samples of both splits, and damaged shards, are
      in `rejected`.

    Raises:
      SourceError: No sample of the split has an image and a text, or `split` is neither `train` nor `test`.
    """
    import tqdm

    found = find_files(path, lambda file: file.suffix == ".tar" and file.parent in (path, path.parent))
    shards = found.files
    is_in_split(split, False)  # refuses an unknown split before anything is read
    other = "train" if split == "test" else "test"
    samples, rejected, in_other = [], [*found.rejected], 0
    for number, shard in enumerate(tqdm.tqdm(shards, desc=f"{path}: members", unit=" shards", delay=2)):
        for key, sample in _scan_shard(shard):
            if isinstance(sample, str):
                rejected.append(Rejection(f"{shard}, {key}" if key else str(shard), sample))
            elif is_in_split(split, is_held_out(key)):
                samples.append((number, *sample))
            else:
                in_other += 1
    if not samples:
        first = f" The first of {len(rejected)} rejected samples: {rejected[0]}" if rejected else ""
        others = f" All {in_other} belong to {other!r}, by the hashes of their keys." if in_other else ""
        raise (EmptySplitError if in_other else SourceError)(
            f"cannot open {path}: split {split!r} has no images with texts in {len(shards)} shards.{others}{first}"
        )
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=range(len(samples)),
        lengths=np.ones(len(samples), np.int64),
        fingerprint=fingerprint_files(shards, fields.to_json(), split, label=str(path)),
        read=functools.partial(_read, fields, shards, np.array(samples, _SAMPLE)),
        rejected=tuple(weigh_damaged_files(rejected, shards, len(samples))),
        fields=fields,
        find_left_out=functools.partial(_find_left_out, path, found, other, in_other, len(samples)),
    )


def _find_left_out(path: Path, found: FoundFiles, other: str, in_other: int, selected: int) -> list[Omission]:
    """List the files that are not read, the members of shards that are neither image nor text, and the other split."""
    omissions = [*found.left_out, *unread_files(path, found.others, "a shard is *.tar", found.files)]
    omissions += held_out_omission(path, "samples", other, in_other, selected)
    counts: collections.Counter[str] = collections.Counter()
    for shard in found.files:
        with contextlib.suppress(OSError, tarfile.TarError), tarfile.open(shard, "r:") as members:  # it is rejected
            for _, parts in itertools.groupby((one.name for one in members if one.isfile()), _key):
                kinds = [name.rpartition("/")[2].partition(".")[2].lower() for name in parts]
                image, text = (next((one for one in known if one in kinds), None) for known in (_IMAGES, _TEXTS))
                if image is not None and text is not None:  # otherwise the whole sample is rejected
                    counts.update(set(kinds) - {image, text})
    reason = "a sample is one image and one text; {} samples have this member too"
    return [*omissions, *(Omission(f"{path}: *.{kind}", reason.format(count)) for kind, count in counts.items())]


def _key(name: str) -> str:
    """Return the key of a member: its path up to the first dot of its name."""
    folder, slash, name = name.rpartition("/")
    return folder + slash + name.partition(".")[0]


def _scan_shard(shard: Path) -> Iterator[tuple[str, tuple[int, int, int, int, bool] | str]]:
    """Yield (key, sample) of each sample of a shard.

    A sample is (image offset, image size, text offset, text size, whether the text is JSON), in bytes, or a sentence
    that says what is wrong with the sample. Two members of a sample with the same suffix yield an additional sentence
    under its key, and the second member is used. A damaged shard yields the key "" and a sentence; the samples before
    the damage are yielded too, the last of them after that sentence.
    """
    end, key, parts = 0, "", dict[str, tuple[int, int]]()
    try:
        size = shard.stat().st_size
        with tarfile.open(shard, "r:") as members:
            for member in members:
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                if not member.isfile():
                    continue
                if member.offset_data + member.size > size:  # tarfile notices this at the next member only
                    raise tarfile.ReadError(f"{member.name} is cut short")
                kind = member.name.rpartition("/")[2].partition(".")[2]
                if (member_key := _key(member.name)) != key:
                    if parts:
                        yield key, _image_and_text(parts)
                    key, parts = member_key, {}
                if kind.lower() in parts:
                    yield key, f"it has {kind} twice, expected once. The second one is used."
                parts[kind.lower()] = member.offset_data, member.size
        with shard.open("rb") as content:  # tarfile mistakes a damaged header for the end of the file
            content.seek(end)
            if content.read(2 * _BLOCK) != bytes(2 * _BLOCK):
                raise tarfile.ReadError(f"byte {end} begins neither a member nor the end of the file")
    except (OSError, tarfile.TarError) as error:
        yield "", f"it is damaged or cut short ({error}). Copy it again."
    if parts:
        yield key, _image_and_text(parts)


def _image_and_text(parts: dict[str, tuple[int, int]]) -> tuple[int, int, int, int, bool] | str:
    """Return the sample of {suffix: (offset, size)}, or a sentence if image or text is missing.

    Suffixes of images are jpg, jpeg, png and webp, those of texts txt and json. If a sample has several images or
    texts, the suffix that is earlier in these lists is taken.
    """
    image = next((parts[kind] for kind in _IMAGES if kind in parts), None)
    text = next((kind for kind in _TEXTS if kind in parts), None)
    if image is None or text is None:
        return f"it has {', '.join(parts)}, expected one of {', '.join(_IMAGES)} and one of {', '.join(_TEXTS)}"
    return *image, *parts[text], text == "json"


def _read(fields: Fields, shards: list[Path], samples: np.ndarray, number: int) -> Episode:
    """Read the episode of a sample, without searching the shard.

    Args:
      fields: The fields from `image_fields`.
      shards: The shards that the samples refer to by number.
      samples: All samples of the split, (N,) of dtype `_SAMPLE`.
      number: Index of the sample among them.

    Raises:
      EpisodeRejected: The shard cannot be read, the image is damaged, or the caption is missing, blank or not UTF-8.
    """
    sample = samples[number]
    shard = shards[sample["shard"]]
    location = f"{shard}, byte {sample['image']}"
    try:
        with shard.open("rb") as content:
            content.seek(sample["image"])
            image = content.read(sample["image_size"])
            content.seek(sample["text"])
            text = content.read(sample["text_size"])
    except OSError as error:
        raise EpisodeRejected(location, f"it cannot be read ({error}). Copy the shard again.") from None
    if sample["json"]:
        try:
            text = json.loads(text)["caption"]
        except (ValueError, KeyError, TypeError) as error:
            raise EpisodeRejected(location, f"it is not a JSON object with a caption ({error!r:.80})") from None
        if not isinstance(text, str):
            raise EpisodeRejected(location, f"its caption is {text!r:.40}, expected text")
    return image_episode(fields, image, {"caption": text}, location)
