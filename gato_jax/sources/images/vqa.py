"""Questions about images in the layout of VQA v2 and OK-VQA, as one-step episodes: the answer is the action."""

from __future__ import annotations

import collections
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from gato_jax.episodes.errors import describe_error
from gato_jax.sources.fields import Fields
from gato_jax.sources.images.image_files import (
    AnnotatedImage,
    find_folder,
    image_fields,
    open_images,
    read_json,
    require_names,
)
from gato_jax.sources.reader import NoSplitError, RecordedEpisodes, Rejection, SourceError

_QUESTIONS = re.compile(r"(v2_)?OpenEnded_mscoco_(?P<subset>(?P<split>[a-z]+)\d*)_questions\.json")
_ANNOTATIONS = re.compile(r"(v2_)?mscoco_(?P<subset>(?P<split>[a-z]+)\d*)_annotations\.json")


def open_vqa(
    path: str | Path, split: str = "train", *, size: tuple[int, int] = (64, 64), fields: Fields | None = None
) -> RecordedEpisodes:
    """Open one split of questions about COCO images, one episode for each question that has an answer.

    Image and question are observations, the answer is the action. The answer is the field `multiple_choice_answer` of
    the annotation. OK-VQA has no such field; there the answer is the most frequent of the annotation's answers, and
    among equally frequent ones the first.

    Args:
      path: A folder with `v2_OpenEnded_mscoco_train2014_questions.json`, `v2_mscoco_train2014_annotations.json` and
        images `COCO_train2014_*.jpg` in `train2014` or `images/train2014`. The `v2_` may be missing, as in OK-VQA.
      split: `train` or `val`, which stand for `train2014` and `val2014`.
      size: (height, width) of the observed image in pixels. Images are resized to it by area averaging, without regard
        to the aspect ratio.
      fields: Fields to read instead, for another fit, another name of the task, or a decoder. Their paths are `image`,
        `question` and `answer`. `size` is then ignored.

    Raises:
      SourceError: The folder has no questions or annotations of this split, or several files of them, a file cannot be
        read, the folder of the images does not exist, or none of the images exists.
    """
    path = Path(path)
    if fields is None:
        fields = image_fields(path, "vqa", size, input_texts=("question",), target_text="answer")
    question_file, subset = _find_file(path, _QUESTIONS, split)
    answer_file, _ = _find_file(path, _ANNOTATIONS, split)
    questions = read_json(question_file, lambda content: _questions_by_id(content["questions"]))
    answers = read_json(answer_file, lambda content: list(content["annotations"]))
    has_choice = any(isinstance(one, Mapping) and "multiple_choice_answer" in one for one in answers)
    answer = "multiple_choice_answer" if has_choice else "answers"
    return open_images(
        path,
        split,
        require_names(fields, ("image", "question", "answer"), path),
        folder=find_folder(path, subset),
        items=_items(questions, answers, subset, str(answer_file)),
        annotations=[question_file, answer_file],
        read_keys=("question_id", "image_id", "question", answer),
    )


def _find_file(path: Path, pattern: re.Pattern[str], split: str) -> tuple[Path, str]:
    """Return the file of the split whose name matches the pattern, and its COCO subset, such as `train2014`.

    Args:
      path: Folder of the files; its subfolders are not searched.
      pattern: Pattern of the whole name, with the groups `subset` and `split`.
      split: Name of the split, without the year.

    Raises:
      SourceError: There is no such file, or there are several.
    """
    found = [(file, match) for file in sorted(path.glob("*.json")) if (match := pattern.fullmatch(file.name))]
    files = [(file, match["subset"]) for file, match in found if match["split"] == split]
    if len(files) != 1:
        existing = ", ".join(file.name for file, _ in found) or "none"
        raise (SourceError if files else NoSplitError)(
            f"cannot open {path}: it has {len(files)} files {pattern.pattern!r} of split {split!r}, expected 1. "
            f"Matching files: {existing}."
        )
    return files[0]


def _questions_by_id(questions: list[Any]) -> dict[Any, Mapping[str, Any]]:
    """Return {question id: question} of the questions that are objects with an id; {} for an id of two questions."""
    found = {}
    for question in questions:
        if isinstance(question, Mapping) and isinstance(number := question.get("question_id"), (int, str)):
            found[number] = question if found.get(number, question) == question else {}
    return found


def _items(
    questions: Mapping[Any, Any], annotations: list[Any], subset: str, file: str
) -> Iterator[AnnotatedImage | Rejection]:
    """Yield the image, question and answer of each annotation, and a Rejection for whatever has no counterpart.

    Rejected are annotations of a question that does not exist, that is one of two with its id, or that an earlier
    annotation has answered, questions without an annotation, annotations whose question or answer is blank, and those
    that lack a key or have a value of the wrong type.

    Args:
      questions: {question id: parsed JSON object of the question}, or {} for an id that two questions have.
      annotations: Parsed JSON objects of the answers.
      subset: Name of the COCO subset, which is part of the names of images.
      file: Path of the annotations, for messages.
    """
    unanswered = dict(questions)
    for place, annotation in enumerate(annotations):
        number = annotation.get("question_id") if isinstance(annotation, Mapping) else None
        if not isinstance(number, (int, str)):
            yield Rejection(
                f"{file}, annotation {place}", f"it is {annotation!r:.60}, expected an object with question_id"
            )
            continue
        location, question = f"{file}, question {number}", unanswered.pop(number, None)
        if question is None:
            yield Rejection(location, "the question does not exist or is answered twice, expected one answer")
            continue
        if not question:
            yield Rejection(location, "two different questions have this question_id, expected one")
            continue
        try:
            texts, image = {"question": question["question"], "answer": _answer(annotation)}, int(question["image_id"])
        except (KeyError, TypeError, ValueError) as error:
            yield Rejection(location, f"it holds no question, image and answer ({describe_error(error)})")
            continue
        if wrong := [f"{key} is {text!r:.40}" for key, text in texts.items() if not _is_text(text)]:
            yield Rejection(location, f"its {wrong[0]}, expected text")
        else:
            yield location, f"COCO_{subset}_{image:012d}.jpg", texts
    for number in unanswered:
        yield Rejection(f"{file}, question {number}", "it has no answer, expected one")


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _answer(annotation: Mapping[str, Any]) -> Any:
    """Return the answer of an annotation of VQA v2 or OK-VQA, which need not be text; None if `answers` is empty.

    Raises:
      KeyError: The annotation has neither `multiple_choice_answer` nor `answers`.
    """
    if "multiple_choice_answer" in annotation:
        return annotation["multiple_choice_answer"]
    counts = collections.Counter(one["answer"] for one in annotation["answers"])
    return counts.most_common(1)[0][0] if counts else None
