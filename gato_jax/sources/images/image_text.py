"""Captioned images in the layouts of COCO, WebDataset and imagefolder, as episodes whose action is the caption."""

from __future__ import annotations

import json
import re
from collections.abc import Hashable, Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.sources.fields import Fields
from gato_jax.sources.images.image_files import (
    AnnotatedImage,
    find_folder,
    image_fields,
    open_images,
    read_json,
    require_names,
)
from gato_jax.sources.images.webdataset import open_webdataset
from gato_jax.sources.language.chatterbot import is_held_out
from gato_jax.sources.reader import NoSplitError, Omission, RecordedEpisodes, Rejection, SourceError, is_in_split


def open_image_text(
    path: str | Path, split: str = "train", *, size: tuple[int, int] = (64, 64), fields: Fields | None = None
) -> RecordedEpisodes:
    """Open one split of a dataset of captioned images, one episode for each caption.

    The layout is recognised by the files that exist; the first of these that applies is used:

    - COCO: `annotations/captions_train2017.json`, with the images in `train2017`.
    - WebDataset: `*.tar` files with `KEY.jpg` and `KEY.txt`, or, without KEY.txt, with a `caption` in `KEY.json`.
    - Hugging Face's imagefolder: images with a `metadata.jsonl` of `file_name` and `text`, in the folder itself or in a
      subfolder named like the split.

    WebDataset, and an imagefolder with the `metadata.jsonl` in the folder itself, have no splits. There about one image
    in twenty belongs to `test`, by the hash of its name. The provenance is read from `provenance.json` in the folder,
    if that file exists. A C2PA manifest in an image is stored in the provenance of its episode.

    Args:
      path: The folder, or one shard of a WebDataset.
      split: Name of the split, as in the names of files or folders; `train` or `test` if the layout has no splits.
      size: (height, width) of the observed image in pixels. Images are resized to it by area averaging, without regard
        to the aspect ratio.
      fields: Fields to read instead, for another fit, another name of the task, or a decoder. Their paths are `image`
        and `caption`, for example `grey_to_rgb(depth(image, 200, 4000))`. `size` is then ignored.

    Raises:
      SourceError: The folder has none of these layouts, the split does not exist, no annotation of the split names an
        image that exists, or `provenance.json` is damaged. Damaged images raise EpisodeRejected when they are read.
    """
    path = Path(path)
    if fields is None:
        fields = image_fields(path, "captions", size, input_texts=(), target_text="caption")
    fields = require_names(fields, ("image", "caption"), path)
    if list(path.glob("annotations/captions_*.json")):
        return _open_coco(path, split, fields)
    if path.suffix == ".tar" or list(path.glob("*.tar")):
        return open_webdataset(path, split, fields)
    if (path / split / "metadata.jsonl").is_file() or (path / "metadata.jsonl").is_file():
        return _open_imagefolder(path, split, fields)
    compressed = " Unpack the *.tar.gz files, which have no random access." if list(path.glob("*.tar.gz")) else ""
    raise SourceError(
        f"cannot open {path}: it has no annotations/captions_*.json, *.tar or metadata.jsonl (of split {split!r}). "
        f"Name a folder with one of them.{compressed}"
    )


def _open_coco(path: Path, split: str, fields: Fields) -> RecordedEpisodes:
    """Open a split in the layout of COCO captions, `annotations/captions_SPLITYEAR.json` with images in `SPLITYEAR`.

    `split` is the name without the year, such as `train`. The images may also be in `images/SPLITYEAR`.

    Raises:
      SourceError: The split has no annotation file or several, the file is malformed, the folder of the images does not
        exist, or no caption has an image that exists.
    """
    pattern = re.compile(r"captions_(?P<subset>(?P<split>[a-z]+)\d*)\.json")
    found = [(file, match) for file in sorted(path.glob("annotations/*")) if (match := pattern.fullmatch(file.name))]
    files = [(file, match["subset"]) for file, match in found if match["split"] == split]
    if len(files) != 1:
        existing = ", ".join(f"{match['split']} in {file.name}" for file, match in found)
        raise (SourceError if files else NoSplitError)(
            f"cannot open {path}: it has {len(files)} files of split {split!r}, expected 1. It has {existing}."
        )
    [(file, subset)] = files
    return open_images(
        path,
        split,
        fields,
        folder=find_folder(path, subset),
        items=read_json(file, lambda content: list(_coco_items(content, str(file)))),
        annotations=[file],
        read_keys=("id", "image_id", "caption", "file_name"),
    )


def _coco_items(content: Any, file: str) -> Iterator[AnnotatedImage | Rejection]:
    """Yield an annotated image for each caption of a COCO annotation file, in order.

    A caption that is blank, whose image_id is not in the file's list of images or is that of two images, or whose own
    id is that of an earlier caption, yields a Rejection. Whether the image file exists is not checked. Entries of the
    list of images without an id and a file name are ignored.

    Args:
      content: The parsed file. KeyError or TypeError is raised if it has no lists `images` and `annotations`.
      file: Path of the file, for messages.
    """
    names: dict[Hashable, set[str]] = {}
    for image in content["images"]:
        if not isinstance(image, Mapping):
            continue
        if isinstance(image.get("id"), (int, str)) and isinstance(image.get("file_name"), str):
            names.setdefault(image["id"], set()).add(image["file_name"])
    numbers: set[int | str] = set()
    for number, annotation in enumerate(content["annotations"]):
        location = f"{file}, annotation {number}"
        if not isinstance(annotation, Mapping):
            yield Rejection(location, f"it is {annotation!r:.40}, expected an object with image_id and caption")
            continue
        caption, image_id, own = (annotation.get(key) for key in ("caption", "image_id", "id"))
        if isinstance(own, (int, str)) and (own in numbers or numbers.add(own)):
            yield Rejection(location, f"its id {own!r:.40} is that of an earlier annotation, expected one of its own")
        elif not isinstance(image_id, Hashable) or image_id not in names:
            yield Rejection(location, f"its image_id {image_id!r:.40} is not among the images of the file")
        elif len(names[image_id]) > 1:
            files = ", ".join(sorted(names[image_id]))
            yield Rejection(location, f"its image_id {image_id!r:.40} is that of several images ({files:.80})")
        elif not isinstance(caption, str) or not caption.strip():
            yield Rejection(location, f"its caption is {caption!r:.40}, expected text")
        else:
            yield location, next(iter(names[image_id])), {"caption": caption.strip()}


def _open_imagefolder(path: Path, split: str, fields: Fields) -> RecordedEpisodes:
    """Open a split in the layout of Hugging Face's imagefolder.

    `path/SPLIT/metadata.jsonl` is used as a whole, if it exists. Otherwise `path/metadata.jsonl` is used, and `split`,
    which must be `train` or `test`, selects from it by the hash of the images' names.

    Raises:
      SourceError: `split` is another name, or no line of the split has a text and an image that exists.
    """
    has_split_folder = (path / split / "metadata.jsonl").is_file()
    folder = path / split if has_split_folder else path
    items = _imagefolder_items(folder / "metadata.jsonl", None if has_split_folder else split)
    return open_images(
        path, split, fields, folder=folder, items=items, annotations=[folder / "metadata.jsonl"],
        read_keys=("file_name", "text"),
    )  # fmt: skip


def _imagefolder_items(file: Path, split: str | None) -> Iterator[AnnotatedImage | Rejection | Omission]:
    """Yield the captioned images of a metadata.jsonl, and a Rejection for each line that is malformed or blank.

    An image of the other split yields an Omission, located by its name.

    Args:
      file: The metadata.jsonl, with {"file_name": ..., "text": ...} in each line.
      split: `train` or `test`, to select images by the hash of their names; None yields all.
    """
    for number, line in enumerate(file.read_bytes().removesuffix(b"\n").split(b"\n"), start=1):
        location = f"{file}, line {number}"
        try:
            row = json.loads(line.decode())
            name, text = row["file_name"], row["text"]
        except (ValueError, KeyError, TypeError) as error:
            yield Rejection(location, f"it is not a JSON object with file_name and text ({error!r:.80})")
            continue
        if not isinstance(name, str) or not isinstance(text, str) or not text.strip():
            yield Rejection(location, f"its file_name is {name!r:.40} and its text {text!r:.40}, expected two texts")
        elif split is None or is_in_split(split, is_held_out(name)):
            yield location, name, {"caption": text}
        else:
            yield Omission(name, f"it does not belong to {split!r}", ("train" if split == "test" else "test",))
