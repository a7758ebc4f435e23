"""Episodes of one step with an image: where its file lies, how it becomes pixels, and what credentials it has."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image

from gato_jax.episodes import Episode, Image, Modality, Provenance, Text
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.images.credentials import read_credentials
from gato_jax.sources.provenance_file import read_provenance
from gato_jax.sources.reader import (
    EpisodeRejected,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    resolve_within,
)


def image_fields(where: Path, suite: str, size: tuple[int, int], *, given: Sequence[str], wanted: str) -> Fields:
    """Fields of the task `suite/FOLDER`: an image of (height, width) and the `given` texts, and the `wanted` one."""
    observation: dict[str, tuple[str, Modality]] = {"image": ("image", Image(height=size[0], width=size[1]))}
    name = where.resolve().name.partition(".")[0]
    unknown = Provenance(source=name, licence="unknown", kind="synthetic", collector="")
    return Fields(
        suite=suite,
        task=name,
        observation=observation | {key: (key, Text()) for key in given},
        action={wanted: (wanted, Text())},
        provenance=read_provenance(where if where.is_dir() else where.parent, unknown),
    )


def image_episode(fields: Fields, image: bytes, texts: Mapping[str, str | bytes], where: str) -> Episode:
    """The episode of an image file and its texts. Raises EpisodeRejected where either cannot be decoded or is empty."""
    if empty := [key for key, text in texts.items() if not text.strip()]:
        raise EpisodeRejected(where, f"its {empty[0]} is empty")
    pixels, mime = _decode(image, where)
    try:
        credentials = read_credentials(image, mime)
    except SourceError as error:
        raise EpisodeRejected(where, str(error)) from None
    provenance = dataclasses.replace(fields.provenance, content_credentials=credentials)
    columns = {"image": [pixels], **{key: [text] for key, text in texts.items()}}
    return assemble(fields, columns.__getitem__, where, provenance=provenance if credentials else None)


def _decode(image: bytes, where: str) -> tuple[np.ndarray, str]:
    """(H, W, 3) uint8, on white where it is transparent, and the file's MIME type."""
    try:
        with PIL.Image.open(io.BytesIO(image)) as picture:
            mime = PIL.Image.MIME.get(picture.format or "", "")
            if picture.has_transparency_data:
                ground = PIL.Image.new("RGBA", picture.size, "white")
                ground.alpha_composite(picture.convert("RGBA"))
                return np.asarray(ground.convert("RGB")), mime
            return np.asarray(picture.convert("RGB")), mime
    except (OSError, ValueError, SyntaxError, PIL.Image.DecompressionBombError) as error:
        raise EpisodeRejected(where, f"its image cannot be decoded ({error})") from None


def open_images(
    where: Path,
    split: str,
    fields: Fields,
    *,
    folder: Path,
    items: Iterable[tuple[str, str, Mapping[str, str]] | Rejection],
    annotations: Sequence[Path],
) -> RecordedEpisodes:
    """Episodes of images in a folder, whose texts are known.

    Args:
      where: the recording, to begin a message with.
      split: which of its splits this is.
      fields: from `image_fields`.
      folder: where the images lie.
      items: of each episode its place in the annotations, the image's name, and its texts by key; or why it is none.
      annotations: the files that the items are from.

    Raises:
      SourceError: there is no item whose image is there.
    """
    there, places, rejected = _listing(folder), [], []
    for item in items:
        if isinstance(item, Rejection):
            rejected.append(item)
            continue
        at, name, texts = item
        if (problem := _absent(folder, name, there)) is None:
            places.append((at, name, texts))
        else:
            rejected.append(Rejection(at, problem))
    if not places:
        said = f"; the first of {len(rejected)} that are none: {': '.join(rejected[0])}" if rejected else ""
        raise SourceError(f"{where}: no images with texts in split {split!r}{said}")
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=places,
        lengths=np.ones(len(places), np.int64),
        fingerprint=fingerprint_files(annotations, fields.to_json(), split, sorted(there.items())),
        read=functools.partial(_read, fields, folder),
        rejected=tuple(rejected),
    )


def _read(fields: Fields, folder: Path, place: tuple[str, str, Mapping[str, str]]) -> Episode:
    at, name, texts = place
    try:
        image = resolve_within(folder, name).read_bytes()
    except OSError as error:
        raise EpisodeRejected(at, f"its image {name!r} cannot be read ({error})") from None
    return image_episode(fields, image, texts, f"{at}, image {name!r}")


def _listing(folder: Path) -> dict[str, int]:
    """{name: bytes} of the files in a folder. One call for all, for there may be a hundred thousand."""
    with os.scandir(folder) as entries:
        return {entry.name: entry.stat().st_size for entry in entries if entry.is_file()}


def _absent(folder: Path, name: str, there: Mapping[str, int]) -> str | None:
    """Why an image is not there, None if it is."""
    try:
        if name in there or resolve_within(folder, name).is_file():
            return None
    except SourceError as error:
        return str(error)
    return f"its image {name!r} is not in {folder}"


def read_json(file: Path, read: Callable[[Any], Any]) -> Any:
    """What `read` finds in the JSON of a file. Raises SourceError where it is none, or has another form."""
    try:
        return read(json.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{file}: no annotations in JSON ({error!r:.80}); copy it again") from None


def find_folder(where: Path, name: str) -> Path:
    """The images' folder: `name` in the recording or in its `images`. Raises SourceError where there is neither."""
    for folder in (where / name, where / "images" / name):
        if folder.is_dir():
            return folder
    raise SourceError(f"{where}: no folder {name!r} with the images, nor images/{name}; unpack them there")
