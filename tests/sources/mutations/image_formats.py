"""Captioned images and questions: written and read by Pillow, the standard JSON and tarfile."""

from __future__ import annotations

import collections
import io
import json
import random
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import PIL.ImageOps

from tests.sources.made_hdf5 import pictures
from tests.sources.made_images import encode
from tests.sources.mutations.damage import NotPossible, list_files, pick_file
from tests.sources.mutations.harness import Format, Row
from tests.sources.mutations.text_formats import change_json_value

_NAMES = ("cup.jpg", "bowl.jpg", "plate.png", "fork.png")


def _image(number: int, kind: str) -> bytes:
    [picture] = pictures(1, 12, 16, 9 * number)
    return encode(picture, kind)


def _write_imagefolder(folder: Path):
    (folder / "train").mkdir()
    for number, name in enumerate(_NAMES):
        (folder / "train" / name).write_bytes(_image(number, "PNG" if name.endswith("png") else "JPEG"))
    lines = [{"file_name": name, "text": f"a picture of a {name[:-4]}\u2028 \x85 here"} for name in _NAMES]
    (folder / "train" / "metadata.jsonl").write_text(
        "".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines)
    )


def _write_coco(folder: Path):
    (folder / "annotations").mkdir()
    (folder / "train2017").mkdir()
    images, annotations = [], []
    for number in range(4):
        name = f"{number:012d}.jpg"
        (folder / "train2017" / name).write_bytes(_image(number, "JPEG"))
        images.append({"id": number, "file_name": name, "height": 12, "width": 16})
        annotations.append({"id": 9 + number, "image_id": number, "caption": f"picture number {number}"})
    content = {"images": images, "annotations": annotations + [{"id": 99, "image_id": 0, "caption": "the same"}]}
    (folder / "annotations" / "captions_train2017.json").write_text(json.dumps(content))


def _write_vqa(folder: Path):
    (folder / "train2014").mkdir()
    questions, annotations = [], []
    for number in range(4):
        (folder / "train2014" / f"COCO_train2014_{number:012d}.jpg").write_bytes(_image(number, "JPEG"))
        questions.append({"question_id": 10 + number, "image_id": number, "question": f"which number, {number}?"})
        answers = [{"answer": text} for text in (f"number {number}", f"number {number}", "none")]
        one = {"question_id": 10 + number, "image_id": number, "answers": answers}
        annotations.append(one | ({"multiple_choice_answer": f"it is {number}"} if number % 2 else {}))
    file = folder / "v2_OpenEnded_mscoco_train2014_questions.json"
    file.write_text(json.dumps({"questions": questions}))
    (folder / "v2_mscoco_train2014_annotations.json").write_text(json.dumps({"annotations": annotations}))


def _write_webdataset(folder: Path):
    for shard in range(2):
        members = []
        for number in range(4):
            key = f"{shard}/sample_{shard}{number}"
            kind = ("jpg", "png")[number % 2]
            members.append((f"{key}.{kind}", _image(number + 4 * shard, "PNG" if kind == "png" else "JPEG")))
            caption = f"sample {number} of {shard}"
            text = json.dumps({"caption": caption, "id": number}) if number == 2 else caption
            members.append((f"{key}.{'json' if number == 2 else 'txt'}", text.encode()))
        _write_tar(folder / f"{shard:05d}.tar", members)


def _write_tar(file: Path, members: list[tuple[str, bytes]]):
    with tarfile.open(file, "w") as archive:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


def _pixels(content: bytes) -> np.ndarray:
    """Decode an image as Pillow does, turned upright, on white."""
    with PIL.Image.open(io.BytesIO(content)) as picture:
        picture = PIL.ImageOps.exif_transpose(picture)
        if picture.has_transparency_data:
            white = PIL.Image.new("RGBA", picture.size, "white")
            white.alpha_composite(picture.convert("RGBA"))
            picture = white
        return np.asarray(picture.convert("RGB"))


def _row(read: Callable[[], tuple[bytes, dict[str, Any]]]) -> Row | None:
    """Return the row of an image and its texts, or None if one of them cannot be read."""
    try:
        content, texts = read()
        if not all(isinstance(text, str) and text.strip() for text in texts.values()):
            return None
        return {"observation/image": [_pixels(content)], **{key: [text] for key, text in texts.items()}}
    except Exception:  # noqa: BLE001
        return None


def _read_imagefolder(folder: Path) -> Iterator[Row | None]:
    place = folder / "train" if (folder / "train" / "metadata.jsonl").exists() else folder
    for line in (place / "metadata.jsonl").read_bytes().split(b"\n"):
        if line.strip():

            def read(line: bytes = line) -> tuple[bytes, dict[str, Any]]:
                row = json.loads(line.decode())
                return (place / row["file_name"]).read_bytes(), {"action/caption": row["text"]}

            yield _row(read)


def _read_coco(folder: Path) -> Iterator[Row | None]:
    content = json.loads((folder / "annotations" / "captions_train2017.json").read_bytes())
    names = {image["id"]: image["file_name"] for image in content["images"] if {"id", "file_name"} <= {*image}}
    for one in content["annotations"]:
        yield _row(
            lambda one=one: (
                (folder / "train2017" / names[one["image_id"]]).read_bytes(),
                {"action/caption": one["caption"].strip()},
            )
        )


def _read_vqa(folder: Path) -> Iterator[Row | None]:
    [asked] = folder.glob("*_questions.json")
    [answered] = folder.glob("*_annotations.json")
    questions = {one["question_id"]: one for one in json.loads(asked.read_bytes())["questions"] if "question_id" in one}
    for one in json.loads(answered.read_bytes())["annotations"]:

        def read(one: Any = one) -> tuple[bytes, dict[str, Any]]:
            question = questions[one["question_id"]]
            answers = collections.Counter(answer["answer"] for answer in one.get("answers", ()))
            answer = one["multiple_choice_answer"] if "multiple_choice_answer" in one else answers.most_common(1)[0][0]
            image = folder / "train2014" / f"COCO_train2014_{int(question['image_id']):012d}.jpg"
            return image.read_bytes(), {"observation/question": question["question"], "action/answer": answer}

        yield _row(read)


def _read_webdataset(folder: Path) -> Iterator[Row | None]:
    for file in sorted(folder.glob("*.tar")):
        samples: dict[str, dict[str, bytes]] = {}
        broken = False
        try:
            with tarfile.open(file, "r:") as archive:
                for member in archive:
                    if member.isfile():
                        base, _, name = member.name.rpartition("/")
                        stem, _, kind = name.partition(".")
                        opened = archive.extractfile(member)
                        samples.setdefault(f"{base}/{stem}", {})[kind.lower()] = opened.read() if opened else b""
        except (tarfile.TarError, OSError, ValueError):
            broken = True
        for parts in samples.values():
            yield _row(lambda parts=parts: _sample(parts))
        if broken:
            yield None


def _sample(parts: dict[str, bytes]) -> tuple[bytes, dict[str, Any]]:
    image = next(parts[kind] for kind in ("jpg", "jpeg", "png", "webp") if kind in parts)
    text = parts["txt"].decode() if "txt" in parts else json.loads(parts["json"])["caption"]
    return image, {"action/caption": text}


def _change_json(folder: Path, chance: random.Random) -> str:
    """Change one value of an annotation file, or one line of a metadata.jsonl."""
    file = pick_file(folder, chance, ".json", ".jsonl")
    lines = file.read_text().split("\n") if file.suffix == ".jsonl" else [file.read_text()]
    number = chance.randrange(len(lines))
    try:
        lines[number] = json.dumps(changed := change_json_value(json.loads(lines[number]), chance))
    except ValueError:
        raise NotPossible from None
    file.write_text("\n".join(lines))
    return f"{file.relative_to(folder)}: line {number}: {changed!r:.120}"


def _change_image(folder: Path, chance: random.Random) -> str:
    """Replace an image file by one of another mode, depth, size, format or orientation."""
    images = list_files(folder, ".jpg", ".png")
    if not images:
        raise NotPossible
    file = chance.choice(images)
    content, done = other_image(chance)
    file.write_bytes(content)
    return f"{file.relative_to(folder)}: {done}"


def other_image(chance: random.Random) -> tuple[bytes, str]:
    """Return an encoded image of any mode, and what it is."""
    random = np.random.default_rng(chance.randrange(2**31))
    side = chance.choice((1, 12, 40))
    colours = random.integers(0, 256, (side, 16, 4), dtype=np.uint8)
    modes = {
        "L": colours[..., 0], "RGB": colours[..., :3], "RGBA": colours, "LA": colours[..., :2],
        "I;16": colours[..., 0].astype(np.uint16) * 250, "F": colours[..., 0].astype(np.float32),
    }  # fmt: skip
    mode = chance.choice((*sorted(modes), "P", "CMYK", "1", "EXIF", "BMP", "GIF", "TIFF", "WEBP", "APNG"))
    out = io.BytesIO()
    picture = PIL.Image.fromarray(np.ascontiguousarray(modes.get(mode, colours[..., :3])))
    if mode == "F":
        picture.save(out, "TIFF")
    elif mode in modes:
        picture.save(out, "PNG")
    elif mode in ("P", "1"):
        picture.convert(mode).save(out, "PNG", **({"transparency": 3} if mode == "P" else {}))
    elif mode == "CMYK":
        picture.convert("CMYK").save(out, "JPEG")
    elif mode == "EXIF":
        exif = PIL.Image.Exif()
        exif[0x0112] = orientation = chance.randrange(10)
        picture.save(out, chance.choice(("JPEG", "PNG")), exif=exif)
        mode = f"orientation {orientation}"
    elif mode == "APNG":
        picture.save(out, "PNG", save_all=True, append_images=[picture.rotate(180)])
    else:
        picture.save(out, mode)
    return out.getvalue(), f"an image of {mode}, {side} high"


def _change_member(folder: Path, chance: random.Random) -> str:
    """Change one member of a tar file: its name, order, content or number."""
    file = pick_file(folder, chance, ".tar")
    with tarfile.open(file) as archive:
        members = [(one.name, archive.extractfile(one).read()) for one in archive if one.isfile()]  # type: ignore
    number = chance.randrange(len(members))
    name, content = members[number]
    way = chance.choice(("renamed", "removed", "twice", "moved", "image", "text", "upper", "json"))
    match way:
        case "renamed":
            members[number] = (chance.choice((f"x{name}", f"{name}.gz", name.replace(".", "_"), f"../{name}")), content)
        case "removed":
            members.pop(number)
        case "twice":
            members.insert(chance.randrange(len(members)), (name, content))
        case "moved":
            members.insert(chance.randrange(len(members)), members.pop(number))
        case "image":
            members[number] = (name, other_image(chance)[0])
        case "text":
            members[number] = (name, chance.choice((b"", b"  ", b"\xff", "\u2028".encode(), b"other")))
        case "upper":
            members[number] = (name.upper(), content)
        case "json":
            members[number] = (
                f"{name.partition('.')[0]}.json",
                chance.choice((b"[]", b'{"caption": 1}', b'{"text": "x"}')),
            )
    _write_tar(file, members)
    return f"{file.relative_to(folder)}: {name} {way}"


_SPLITS = ("train", "test")
FORMATS = {
    "imagefolder": Format(
        write=_write_imagefolder,
        source="image_text:{}",
        read=_read_imagefolder,
        damages=(_change_json, _change_image),
    ),
    "coco": Format(write=_write_coco, source="image_text:{}", read=_read_coco, damages=(_change_json, _change_image)),
    "vqa": Format(write=_write_vqa, source="vqa:{}", read=_read_vqa, damages=(_change_json, _change_image)),
    "webdataset": Format(
        write=_write_webdataset,
        source="image_text:{}",
        read=_read_webdataset,
        damages=(_change_member,),
        splits=_SPLITS,
    ),
}
