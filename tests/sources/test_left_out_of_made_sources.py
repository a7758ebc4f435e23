"""What is left out of recorded datasets, emoji, the dialogue corpus and JSON dialogues; ids twice; links of RLDS."""

import json
import pickle

import PIL.Image
import pytest

from gato_jax.episodes import StoreError, write_dataset
from gato_jax.sources import open_dialogues, open_source, write_bridge_dataset
from gato_jax.sources.images.image_text import _coco_items
from gato_jax.sources.images.vqa import _items, _questions_by_id
from gato_jax.sources.reader import Rejection, SourceError, find_omissions
from gato_jax.sources.rlds.tfds_dataset import open_tfds
from tests.sources.test_left_out import names
from tests.tokenization.made_tasks import CONTROL, random_episode


def write_recorded(root):
    episodes = [random_episode(CONTROL, seed, steps=2) for seed in range(3)]
    return write_dataset(root / "data", CONTROL, {"train": episodes[:2], "test": episodes[2:]})


def test_a_recorded_dataset_lists_other_splits_and_files_that_are_none_of_its_own(tmp_path):
    folder = write_recorded(tmp_path)
    (folder / "notes.txt").write_text("mine")
    reader = open_source(f"recorded:{folder}")
    assert names(reader) == {
        f"{folder.name}: split 'test'": "its 1 episodes belong to no split that is read",
        "notes.txt": "the description of the dataset does not name it",
    }
    assert len(reader) == len(pickle.loads(pickle.dumps(reader))) == 2
    both = [open_source(f"recorded:{folder}", split) for split in ("train", "test")]
    assert [one.location for one in find_omissions(both)] == [f"{folder}/notes.txt"]


def test_emoji_of_a_folder_list_files_without_a_caption_and_the_other_split(tmp_path):
    for name in ("1f600.png", "1f601.png", "1f3fb.png", "readme.txt"):  # 1f3fb is a skin tone
        if name.endswith(".png"):
            PIL.Image.new("RGBA", (4, 4)).save(tmp_path / name)
        else:
            (tmp_path / name).write_text("")
    found = names(open_source(f"captions:{tmp_path}"))
    assert found == dict.fromkeys(("1f3fb.png", "readme.txt"), "no emoji with a caption has its name")


def test_the_dialogue_corpus_lists_other_languages_repeats_and_the_other_split():
    found = names(open_source("dialogue:chatterbot"))
    assert "repeat an earlier one" in found["english: repeats"]
    assert "belong to it, by their hashes" in found["english: split 'test'"]
    assert "a dialogue is read from english/*.yml alone" in found["french"]


@pytest.mark.parametrize("name", ["chat.jsonl", "chat.json"])
def test_the_tools_of_a_dialogue_are_listed_and_its_system_message_is_read(tmp_path, name):
    messages = [{"role": "user", "content": "Is it cold?"}, {"role": "assistant", "content": "No."}]
    dialogue = {"messages": messages, "tools": [{"type": "function"}], "system": "Be short."}
    (tmp_path / name).write_text(json.dumps(dialogue))
    reader = next(reader for split in ("train", "test") if (reader := opened(tmp_path, split)))
    assert reader[0].action["text"][0].startswith("Be short.\n")
    [reason] = [text for location, text in names(reader).items() if location.endswith(": tools")]
    assert reason == "a text is read from turns or messages or conversations or system alone; 1 records have it"
    assert not any(location.endswith(": system") for location in names(reader))


def opened(folder, split):
    try:
        return open_dialogues(folder, split)
    except SourceError:
        return None


def test_ids_that_two_images_two_captions_or_two_questions_have_are_rejected():
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}, {"id": 2, "file_name": "c.jpg"}]
    captions = [{"id": 7, "image_id": 1, "caption": "one"}, {"id": 7, "image_id": 1, "caption": "two"}]
    captions += [{"id": 8, "image_id": 2, "caption": "three"}]
    first, *rejected = _coco_items({"images": [*images, images[0]], "annotations": captions}, "coco.json")
    assert first == ("coco.json, annotation 0", "a.jpg", {"caption": "one"})
    assert [one.reason for one in rejected if isinstance(one, Rejection)] == [
        "its id 7 is that of an earlier annotation, expected one of its own",
        "its image_id 2 is that of several images (b.jpg, c.jpg)",
    ]
    asked = [{"question_id": 1, "question": "Where?", "image_id": 3}, {"question_id": 2, "question": "Who?"}]
    questions = _questions_by_id([*asked, asked[0], {"question_id": 2, "question": "When?", "image_id": 4}])
    answers = [{"question_id": number, "multiple_choice_answer": "here"} for number in (1, 2)]
    first, second = _items(questions, answers, "train2014", "vqa.json")
    assert not isinstance(first, Rejection) and first[2] == {"question": "Where?", "answer": "here"}
    assert isinstance(second, Rejection) and second.reason.startswith("two different questions have this question_id")


def test_links_out_of_the_folder_of_an_rlds_dataset_are_refused(tmp_path):
    folder, outside = write_recorded(tmp_path), tmp_path / "outside"
    outside.mkdir()
    [record] = folder.glob("*-test.*")
    record.rename(outside / record.name)
    record.symlink_to(outside / record.name)
    dataset = open_tfds(folder, "test")
    assert (
        dataset.name == folder.parent.name
        and not dataset.files
        and "lies outside of its folder" in dataset.missing[0].reason
    )
    assert dataset.missing[0].episodes == 1
    (folder / "features.json").rename(outside / "features.json")
    (folder / "features.json").symlink_to(outside / "features.json")
    with pytest.raises(SourceError, match="lies outside of its folder"):
        open_tfds(folder, "train")


def test_a_bridge_dataset_without_splits_is_refused(tmp_path):
    with pytest.raises(StoreError, match="splits is empty, expected one or more"):
        write_bridge_dataset(tmp_path, {}, control_rate_hz=5.0)
