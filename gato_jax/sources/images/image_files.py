"""One-step episodes with an image: finding its file, decoding it, and reading its content credentials."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import functools
import io
import json
import os
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import PIL.Image

from gato_jax.episodes import Episode, Image, Modality, Provenance, Text
from gato_jax.episodes.errors import describe_error
from gato_jax.sources.assembly import assemble
from gato_jax.sources.fields import Fields
from gato_jax.sources.files import find_files, resolve_within, unread_files
from gato_jax.sources.images.credentials import read_credentials
from gato_jax.sources.pixels import decode_image
from gato_jax.sources.provenance_file import read_provenance
from gato_jax.sources.reader import (
    EmptySplitError,
    EpisodeRejected,
    NoSplitError,
    Omission,
    RecordedEpisodes,
    Rejection,
    SourceError,
    fingerprint_files,
    held_out_omission,
)

# An annotated image: location of the annotation (for messages), name of the image file, {key: text}.
AnnotatedImage: TypeAlias = tuple[str, str, Mapping[str, str]]


def image_fields(
    path: Path, suite: str, size: tuple[int, int], *, input_texts: Sequence[str], target_text: str
) -> Fields:
    """Return the fields of a task with an image and texts; the task is named after the recording.

    The name is that of the folder or file up to its first dot. The path of each field is its key.

    Args:
      path: Folder or file of the recording. The provenance is read from `provenance.json` in the folder, or in the
        parent folder of a file. What `provenance.json` does not give has defaults: the source is the name of the task,
        the licence "unknown", the kind "synthetic" and the collector "".
      suite: Suite of the task.
      size: (height, width) in pixels of the observation `image`.
      input_texts: Keys of the texts that are observed.
      target_text: Key of the text that is the action.

    Raises:
      SourceError: `provenance.json` exists and is not a valid provenance.
    """
    observation: dict[str, tuple[str, Modality]] = {"image": ("image", Image(height=size[0], width=size[1]))}
    name = path.resolve().name.partition(".")[0]
    unknown = Provenance(source=name, licence="unknown", kind="synthetic", collector="")
    return Fields(
        suite=suite,
        task=name,
        observation=observation | {key: (key, Text()) for key in input_texts},
        action={target_text: (target_text, Text())},
        provenance=read_provenance(path if path.is_dir() else path.parent, unknown),
    )


def require_names(fields: Fields, names: Sequence[str], path: Path) -> Fields:
    """Return fields whose paths are the names that a recording has.

    Args:
      fields: The fields.
      names: The names, such as `image` and `caption`.
      path: Path of the recording, for messages.

    Raises:
      SourceError: A field has another name, or the fields contradict each other.
    """
    if unknown := sorted({field.name for field, _ in fields.paths} - set(names)):
        raise SourceError(f"cannot open {path}: it has no field {unknown[0]!r}, expected one of {', '.join(names)}")
    _ = fields.spec  # raises an error if the fields contradict each other
    return fields


def image_episode(fields: Fields, image: bytes, texts: Mapping[str, str | bytes], location: str) -> Episode:
    """Build the one-step episode of an encoded image and its texts.

    Args:
      fields: The fields from `image_fields`.
      image: Bytes of the image file.
      texts: {key: text} of all texts of the fields; bytes are decoded as UTF-8.
      location: File and number of the episode, for messages.

    Raises:
      EpisodeRejected: A text is blank or not UTF-8, or the image or its credentials cannot be read.
      ImportError: The image has credentials and c2pa-python is not installed.
    """
    if empty := [key for key, text in texts.items() if _is_blank(text)]:
        raise EpisodeRejected(location, f"its {empty[0]} is empty, expected text. Add the text.")
    pixels, mime = _decode(image, location), _mime_type(image)
    try:
        credentials = read_credentials(image, mime)
    except SourceError as error:
        raise EpisodeRejected(location, str(error)) from None
    provenance = dataclasses.replace(fields.provenance, content_credentials=credentials)
    columns = {"image": [pixels], **{key: [text] for key, text in texts.items()}}
    return assemble(fields, columns.__getitem__, location, provenance=provenance if credentials else None)


def _is_blank(text: str | bytes) -> bool:
    """Return whether a text has nothing but white space, which bytes alone do not tell beyond ASCII."""
    return not (text.decode(errors="replace") if isinstance(text, bytes) else text).strip()


def _decode(image: bytes, location: str) -> np.ndarray:
    """Decode an image file, turned upright, with grey as RGB and transparency shown as white.

    Returns:
      (H, W, 3) uint8 RGB; an image of more than 8 bits in each channel as `decode_image` returns it.

    Raises:
      EpisodeRejected: The image cannot be decoded.
    """
    pixels = decode_image(image, "its image", location, channels=4)  # with 4, transparency is kept
    if pixels.dtype != np.uint8:
        return pixels
    if pixels.ndim == 2:
        return np.repeat(pixels[..., None], 3, axis=2)
    if pixels.shape[2] == 3:
        return pixels
    picture = PIL.Image.fromarray(pixels).convert("RGBA")
    background = PIL.Image.new("RGBA", picture.size, "white")
    background.alpha_composite(picture)
    return np.asarray(background.convert("RGB"))


def _mime_type(image: bytes) -> str:
    """Return the MIME type of an image file that can be decoded, or "" if its format has none."""
    with PIL.Image.open(io.BytesIO(image)) as picture:
        return PIL.Image.MIME.get(picture.format or "", "")


def open_images(
    path: Path,
    split: str,
    fields: Fields,
    *,
    folder: Path,
    items: Iterable[AnnotatedImage | Rejection | Omission],
    annotations: Sequence[Path],
    read_keys: Collection[str],
) -> RecordedEpisodes:
    """Open the images of a folder, with the texts of their annotations, as one-step episodes.

    Args:
      path: Path of the recording, for messages.
      split: Name of the split.
      fields: The fields from `image_fields`.
      folder: Folder of the image files.
      items: One item for each annotation: the annotated image, or why it is rejected or left out. An annotated image
        of the other split, where the hash of its name decides, is an omission that names this split.
      annotations: The files from which the items were read. The fingerprint covers them and the images.
      read_keys: Keys of the JSON objects in these files that are read; others are listed as left out.

    Returns:
      One episode for each item whose image file exists, in order. The other items are in `rejected`. Image files are
      not opened here; a damaged one raises EpisodeRejected when its episode is read.

    Raises:
      SourceError: No item has an image file.
    """
    present, images, rejected, left_out = _file_names(folder), [], [], []
    for item in items:
        if isinstance(item, Omission):
            left_out.append(item)
            continue
        if isinstance(item, Rejection):
            rejected.append(item)
            continue
        location, name, _ = item
        if (problem := _missing_image(folder, name, present)) is None:
            images.append(item)
        else:
            rejected.append(Rejection(location, problem))
    if not images:
        first = f" The first of {len(rejected)} rejected annotations: {rejected[0]}" if rejected else ""
        others = (
            f" {len(left_out)} belong to {left_out[0].splits[0]!r}, by the hashes of their names." if left_out else ""
        )
        raise (EmptySplitError if left_out else NoSplitError)(
            f"cannot open {path}: split {split!r} has no images with texts.{others}{first}"
        )
    names = sorted({name for _, name, _ in images})
    return RecordedEpisodes(
        spec=fields.spec,
        split=split,
        addresses=images,
        lengths=np.ones(len(images), np.int64),
        fingerprint=fingerprint_files(
            [*annotations, *(folder / name for name in names)], fields.to_json(), split, names, label=str(path)
        ),
        read=functools.partial(_read, fields, folder),
        rejected=tuple(rejected),
        fields=fields,
        find_left_out=functools.partial(_find_left_out, path, folder, annotations, read_keys, images, left_out),
    )


def _find_left_out(
    path: Path,
    folder: Path,
    annotations: Sequence[Path],
    read_keys: Collection[str],
    images: Sequence[AnnotatedImage],
    in_other_split: Sequence[Omission],
) -> list[Omission]:
    """List the files that no annotation of the split names, keys that are not read, and images of the other split."""
    named = (
        {folder / name for _, name, _ in images} | set(annotations) | {folder / one.location for one in in_other_split}
    )
    found = find_files(path, named.__contains__)
    omissions = [*found.left_out, *unread_files(path, found.others, "no annotation of the split names it", found.files)]
    for file in annotations:
        unread = (key for row in _rows(file) for key in row if key.rpartition("/")[2] not in read_keys)
        counts = collections.Counter(unread)
        omissions += [Omission(f"{file}: {key}", f"it is not read; {n} entries have it") for key, n in counts.items()]
    if in_other_split:
        omissions += held_out_omission(path, "images", in_other_split[0].splits[0], len(in_other_split), len(images))
    return omissions


def _rows(file: Path) -> Iterator[list[str]]:
    """Yield the keys of each JSON object in a file of annotations: its lines, or the entries of its lists.

    Those of the entries of a list begin with its name, as in `images/width`.
    """
    if file.suffix == ".jsonl":
        for line in file.read_bytes().split(b"\n"):
            with contextlib.suppress(ValueError):  # it is rejected
                yield [*row] if isinstance(row := json.loads(line), Mapping) else []
        return
    for name, values in read_json(file, lambda content: content.items()):
        if not isinstance(values, list):
            yield [name]
            continue
        for row in values:
            yield [f"{name}/{key}" for key in row] if isinstance(row, Mapping) else []


def _read(fields: Fields, folder: Path, item: AnnotatedImage) -> Episode:
    """Read the image file of an annotated image in `folder` and return its episode.

    Raises:
      EpisodeRejected: The image file or its credentials cannot be read or decoded, or a text is blank or not UTF-8.
      SourceError: The name of the image leads out of the folder.
    """
    location, name, texts = item
    try:
        image = resolve_within(folder, name).read_bytes()
    except OSError as error:
        raise EpisodeRejected(location, f"its image {name!r} cannot be read ({error}). Copy it again.") from None
    return image_episode(fields, image, texts, f"{location}, image {name!r}")


def _file_names(folder: Path) -> set[str]:
    """Return the names of all files directly in a folder; files in subfolders are left out.

    One directory scan is much faster than a look-up for each of the hundred thousand images that a folder may hold.
    """
    with os.scandir(folder) as entries:  # a link is looked up by its name, to refuse one that leads out of the folder
        return {entry.name for entry in entries if not entry.is_symlink() and entry.is_file()}


def _missing_image(folder: Path, name: str, present: Collection[str]) -> str | None:
    """Return the reason why the image file `name` cannot be used, or None if it exists inside the folder.

    Args:
      folder: Folder of the images.
      name: Path of the file relative to `folder`.
      present: Files in the folder, from `_file_names`. Another name, such as one in a subfolder, is looked up on disk.
    """
    try:
        if name in present or resolve_within(folder, name).is_file():
            return None
    except SourceError as error:
        return str(error)
    except (OSError, ValueError) as error:  # the name is too long, or holds a NUL
        return f"its image {name!r:.60} cannot be looked up ({describe_error(error)})"
    return f"its image {name!r} is not in {folder}. Copy it there."


def read_json(file: Path, parse: Callable[[Any], Any]) -> Any:
    """Load a JSON file and return `parse(content)`.

    Raises:
      SourceError: The file cannot be read or is not JSON, or `parse` raises KeyError, TypeError or ValueError.
    """
    try:
        return parse(json.loads(file.read_bytes()))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(
            f"cannot read {file}: it holds no annotations in JSON ({error!r:.80}). Copy it again."
        ) from None


def find_folder(path: Path, name: str) -> Path:
    """Return the folder of the images: `path/name` if it exists, otherwise `path/images/name`.

    Raises:
      SourceError: Neither folder exists.
    """
    for folder in (path / name, path / "images" / name):
        if folder.is_dir():
            return folder
    raise SourceError(f"cannot open {path}: it has no folder {name!r} or images/{name}. Unpack the images there.")
