"""Images with texts of others, one-step episodes whose action is the text: COCO captions, WebDataset, imagefolder."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from gato_jax.sources.images.image_files import find_folder, image_fields, open_images, read_json
from gato_jax.sources.images.webdataset import open_webdataset
from gato_jax.sources.language.chatterbot import is_held_out
from gato_jax.sources.reader import RecordedEpisodes, Rejection, SourceError, is_in_split

_Item: TypeAlias = tuple[str, str, Mapping[str, str]] | Rejection


def open_image_text(where: str | Path, split: str = "train", *, size: tuple[int, int] = (64, 64)) -> RecordedEpisodes:
    """Opens images with texts, one episode for each text.

    Three layouts are known: COCO's, `annotations/captions_train2017.json` with the images in `train2017`; WebDataset's,
    `*.tar` with `KEY.jpg` and `KEY.txt`, or a `caption` in `KEY.json`; and the imagefolder's of Hugging Face, `*.jpg`
    with a `metadata.jsonl` of `file_name` and `text`, in the folder or in one named as the split.

    Splits are those of the layout. Where it has none, about one image in twenty is of `test`, by the hash of its name.
    `provenance.json` in the folder says where the images come from; a C2PA manifest in an image goes into its episode.

    Args:
      where: the folder; or one shard of a WebDataset.
      split: `train`, or another that is there.
      size: (height, width) to which images are averaged.

    Raises:
      SourceError: the layout is none of these, there is no such split, or nothing in it can be read.
    """
    where = Path(where)
    if list(where.glob("annotations/captions_*.json")):
        return _open_coco(where, split, size)
    if where.suffix == ".tar" or list(where.glob("*.tar")):
        return open_webdataset(where, split, size)
    if (where / split / "metadata.jsonl").is_file() or (where / "metadata.jsonl").is_file():
        return _open_imagefolder(where, split, size)
    compressed = "; unpack the *.tar.gz, which have no random access" if list(where.glob("*.tar.gz")) else ""
    raise SourceError(
        f"{where}: no annotations/captions_*.json, *.tar or metadata.jsonl (of split {split!r}); give a folder with one"
        f"{compressed}"
    )


def _open_coco(where: Path, split: str, size: tuple[int, int]) -> RecordedEpisodes:
    pattern = re.compile(r"captions_(?P<subset>(?P<split>[a-z]+)\d*)\.json")
    found = [(file, match) for file in sorted(where.glob("annotations/*")) if (match := pattern.fullmatch(file.name))]
    here = [(file, match["subset"]) for file, match in found if match["split"] == split]
    if len(here) != 1:
        said = ", ".join(f"{match['split']} in {file.name}" for file, match in found)
        raise SourceError(f"{where}: {len(here)} files of split {split!r}, needs one; it has {said}")
    [(file, subset)] = here
    return open_images(
        where,
        split,
        image_fields(where, "captions", size, given=(), wanted="caption"),
        folder=find_folder(where, subset),
        items=read_json(file, lambda said: list(_coco_items(said, str(file)))),
        annotations=[file],
    )


def _coco_items(said: Any, where: str) -> Iterator[_Item]:
    names = {image["id"]: str(image["file_name"]) for image in said["images"]}
    for number, annotation in enumerate(said["annotations"]):
        at, caption = f"{where}, annotation {number}", annotation.get("caption")
        if annotation.get("image_id") not in names:
            yield Rejection(at, f"its image {annotation.get('image_id')!r} is not described")
        elif not isinstance(caption, str) or not caption.strip():
            yield Rejection(at, f"its caption is {caption!r:.40}, needs text")
        else:
            yield at, names[annotation["image_id"]], {"caption": caption.strip()}


def _open_imagefolder(where: Path, split: str, size: tuple[int, int]) -> RecordedEpisodes:
    own = (where / split / "metadata.jsonl").is_file()
    folder = where / split if own else where
    items = _imagefolder_items(folder / "metadata.jsonl", None if own else split)
    fields = image_fields(where, "captions", size, given=(), wanted="caption")
    return open_images(where, split, fields, folder=folder, items=items, annotations=[folder / "metadata.jsonl"])


def _imagefolder_items(file: Path, split: str | None) -> Iterator[_Item]:
    """Of all lines, or of those that the hash gives to a split."""
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        at = f"{file}, line {number}"
        try:
            said = json.loads(line.decode())
            name, text = said["file_name"], said["text"]
        except (ValueError, KeyError, TypeError) as error:
            yield Rejection(at, f"it is no JSON with file_name and text ({error!r:.80})")
            continue
        if not isinstance(name, str) or not isinstance(text, str) or not text.strip():
            yield Rejection(at, f"its file_name is {name!r:.40} and its text {text!r:.40}; both have to be text")
        elif split is None or is_in_split(split, is_held_out(name)):
            yield at, name, {"caption": text}
