"""Questions about images in the layout of VQA v2 and OK-VQA: one-step episodes whose action is the answer."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.sources.images.image_files import find_folder, image_fields, open_images, read_json
from gato_jax.sources.reader import RecordedEpisodes, Rejection, SourceError

_QUESTIONS = re.compile(r"(v2_)?OpenEnded_mscoco_(?P<subset>(?P<split>[a-z]+)\d*)_questions\.json")
_ANNOTATIONS = re.compile(r"(v2_)?mscoco_(?P<subset>(?P<split>[a-z]+)\d*)_annotations\.json")


def open_vqa(where: str | Path, split: str = "train", *, size: tuple[int, int] = (64, 64)) -> RecordedEpisodes:
    """Opens questions about COCO's images, one episode each: image and question are seen, the answer is the action.

    The answer is `multiple_choice_answer`, in OK-VQA, which has none, the most frequent one, of those the first.

    Args:
      where: the folder of `v2_OpenEnded_mscoco_train2014_questions.json`, `v2_mscoco_train2014_annotations.json` and
        `train2014/COCO_train2014_*.jpg`, or of OK-VQA's files, whose names lack the `v2_`; `images/train2014` will do.
      split: `train` or `val`; that is, `train2014` or `val2014`.
      size: (height, width) to which images are averaged.

    Raises:
      SourceError: there are no such files of this split, or they cannot be read.
    """
    where = Path(where)
    questions, subset = _find(where, _QUESTIONS, split)
    annotations, _ = _find(where, _ANNOTATIONS, split)
    asked = read_json(questions, lambda said: {one["question_id"]: one for one in said["questions"]})
    items = read_json(annotations, lambda said: list(_items(asked, said["annotations"], subset, str(annotations))))
    return open_images(
        where,
        split,
        image_fields(where, "vqa", size, given=("question",), wanted="answer"),
        folder=find_folder(where, subset),
        items=items,
        annotations=[questions, annotations],
    )


def _find(where: Path, pattern: re.Pattern[str], split: str) -> tuple[Path, str]:
    """The one file of the split, and the subset of COCO's images that it is about."""
    found = [(file, match) for file in sorted(where.glob("*.json")) if (match := pattern.fullmatch(file.name))]
    here = [(file, match["subset"]) for file, match in found if match["split"] == split]
    if len(here) != 1:
        said = ", ".join(file.name for file, _ in found) or "none"
        raise SourceError(
            f"{where}: {len(here)} files {pattern.pattern!r} of split {split!r}, needs one; there: {said}"
        )
    return here[0]


def _items(
    asked: Mapping[Any, Any], annotations: list[Any], subset: str, where: str
) -> Iterator[tuple[str, str, Mapping[str, str]] | Rejection]:
    left = dict(asked)
    for annotation in annotations:
        number = annotation["question_id"]
        at, question = f"{where}, question {number}", left.pop(number, None)
        if question is None:
            yield Rejection(at, "there is no such question, or it is answered twice")
            continue
        texts = {"question": question["question"], "answer": _answer(annotation)}
        if wrong := [f"{key} is {text!r:.40}" for key, text in texts.items() if not _is_text(text)]:
            yield Rejection(at, f"its {wrong[0]}, needs text")
        else:
            yield at, f"COCO_{subset}_{question['image_id']:012d}.jpg", texts
    for number in left:
        yield Rejection(f"{where}, question {number}", "it has no answer")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _answer(annotation: Mapping[str, Any]) -> Any:
    if "multiple_choice_answer" in annotation:
        return annotation["multiple_choice_answer"]
    counts = collections.Counter(one["answer"] for one in annotation["answers"])
    return counts.most_common(1)[0][0] if counts else None
