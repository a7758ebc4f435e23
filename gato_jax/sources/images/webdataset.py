"""Images with texts in WebDataset shards, tar files in which what has one name belongs together."""

from __future__ import annotations

import functools
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from gato_jax.episodes import Episode
from gato_jax.sources.fields import Fields
from gato_jax.sources.images.image_files import image_episode, image_fields
from gato_jax.sources.language.chatterbot import is_held_out
from gato_jax.sources.reader import (
    EpisodeRejected,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    is_in_split,
)

_IMAGES, _TEXTS = ("jpg", "jpeg", "png", "webp"), ("txt", "json")
_BLOCK = 512  # bytes, of which all that is in a tar file is a multiple; it ends with two empty ones
_PLACE = np.dtype(
    [("shard", "i4"), ("image", "i8"), ("image_size", "i8"), ("text", "i8"), ("text_size", "i8"), ("json", "?")]
)


def open_webdataset(where: Path, split: str, size: tuple[int, int]) -> RecordedEpisodes:
    """Opens the shards in a folder, or one; see `open_image_text`."""
    import tqdm

    shards = [where] if where.is_file() else sorted(where.glob("*.tar"))
    fields = image_fields(where, "captions", size, given=(), wanted="caption")
    is_in_split(split, False)  # a split that there is none of is an error before anything is read
    places, rejected = [], []
    for number, shard in enumerate(tqdm.tqdm(shards, desc=f"{where}: members", unit=" shards", delay=2)):
        for key, place in _samples(shard):
            if isinstance(place, str):
                rejected.append(Rejection(f"{shard}, {key}" if key else str(shard), place))
            elif is_in_split(split, is_held_out(key)):
                places.append((number, *place))
    if not places:
        said = f"; the first of {len(rejected)} that are none: {': '.join(rejected[0])}" if rejected else ""
        raise SourceError(f"{where}: no images with texts of split {split!r} in {len(shards)} shards{said}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=range(len(places)),
        lengths=np.ones(len(places), np.int64),
        fingerprint=fingerprint_files(shards, fields.to_json(), split),
        read=functools.partial(_read, fields, shards, np.array(places, _PLACE)),
        rejected=tuple(rejected),
    )


def _samples(shard: Path) -> Iterator[tuple[str, tuple[int, int, int, int, bool] | str]]:
    """The key of each sample and where its image and text lie, or what is wrong with it, or with the shard (key "")."""
    end, key, parts = 0, "", dict[str, tuple[int, int]]()
    try:
        with tarfile.open(shard, "r:") as members:
            for member in members:
                end = member.offset_data + -(-member.size // _BLOCK) * _BLOCK
                if not member.isfile():
                    continue
                folder, slash, name = member.name.rpartition("/")
                stem, _, kind = name.partition(".")
                if (of := folder + slash + stem) != key:
                    if parts:
                        yield key, _place(parts)
                    key, parts = of, {}
                if kind.lower() in parts:
                    yield key, f"it has {kind} twice, of which the second counts"
                parts[kind.lower()] = member.offset_data, member.size
        with shard.open("rb") as content:  # the library takes a damaged header for the end
            content.seek(end)
            if content.read(2 * _BLOCK) != bytes(2 * _BLOCK):
                raise tarfile.ReadError(f"at byte {end} there is neither a member nor the end")
    except (OSError, tarfile.TarError) as error:
        yield "", f"it is damaged or cut short ({error}); copy it again"
    if parts:
        yield key, _place(parts)


def _place(parts: dict[str, tuple[int, int]]) -> tuple[int, int, int, int, bool] | str:
    image = next((parts[kind] for kind in _IMAGES if kind in parts), None)
    text = next((kind for kind in _TEXTS if kind in parts), None)
    if image is None or text is None:
        return f"it has {', '.join(parts)}; needs one of {', '.join(_IMAGES)} and one of {', '.join(_TEXTS)}"
    return *image, *parts[text], text == "json"


def _read(fields: Fields, shards: list[Path], places: np.ndarray, number: int) -> Episode:
    place = places[number]
    shard = shards[place["shard"]]
    where = f"{shard}, byte {place['image']}"
    try:
        with shard.open("rb") as content:
            content.seek(place["image"])
            image = content.read(place["image_size"])
            content.seek(place["text"])
            text = content.read(place["text_size"])
    except OSError as error:
        raise EpisodeRejected(where, f"it cannot be read ({error})") from None
    if place["json"]:
        try:
            text = json.loads(text)["caption"]
        except (ValueError, KeyError, TypeError) as error:
            raise EpisodeRejected(where, f"it has no JSON with a caption ({error!r:.80})") from None
        if not isinstance(text, str):
            raise EpisodeRejected(where, f"its caption is {text!r:.40}, needs text")
    return image_episode(fields, image, {"caption": text}, where)
