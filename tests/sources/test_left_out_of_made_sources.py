"""What is left out of sources of every kind, beside the general cases; ids twice; links of RLDS; blank texts."""

import dataclasses
import json
import pickle
import shutil

import h5py
import numpy as np
import PIL.Image
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from mcap_ros2.writer import Writer

from gato_jax.episodes import Continuous, StoreError, write_dataset
from gato_jax.episodes.tfds_writer import atomic_dataset, write_examples
from gato_jax.sources import (
    open_dialogues,
    open_documents,
    open_hdf5,
    open_image_text,
    open_lerobot,
    open_mcap,
    open_minari,
    open_parquet,
    open_rlds,
    open_source,
    open_splits,
    open_tfds_text,
    open_vqa,
    write_bridge_dataset,
)
from gato_jax.sources.images.image_text import _coco_items
from gato_jax.sources.images.vqa import _items, _questions_by_id
from gato_jax.sources.language.chatterbot import _read_corpus
from gato_jax.sources.mcap.file import read_message_times, read_recording
from gato_jax.sources.reader import EpisodeRejected, Rejection, SourceError, find_omissions
from gato_jax.sources.rlds.tfds_dataset import open_tfds
from tests.sources.made_hdf5 import robomimic
from tests.sources.made_lerobot import change_info, data_file, rewrite, unpack
from tests.sources.made_mcap import FIELDS as TOPICS
from tests.sources.made_mcap import START, arm_messages, full_definition
from tests.sources.test_image_text import write_coco, write_vqa
from tests.sources.test_left_out import NUMBERS, names, write_table
from tests.sources.test_minari import collect
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


def test_hdf5_lists_what_only_a_later_episode_holds(tmp_path):
    file = robomimic(tmp_path / "lift.hdf5")
    with h5py.File(file, "a") as root:
        root["data/demo_2/obs/late"] = np.zeros(7)
    assert names(open_hdf5(file))["late"] == "no field names it; it is float64, in 1 of 3 episodes"


def test_lerobot_lists_features_without_a_modality_and_columns_that_are_not_declared(tmp_path):
    root = unpack("v2_1_image", tmp_path)
    odd = {"dtype": "complex64", "shape": [1], "names": None}
    change_info(root, lambda info: info["features"].update({"observation.odd": odd, "gain": odd | {"dtype": "int8"}}))
    rewrite(data_file(root, 0), lambda table: table.append_column("undeclared", [[0.0] * len(table)]))
    said = names(open_lerobot(root))
    assert said["v2_1_image: observation.odd"] == "no field names it; it is complex64 (1,), a complex64"
    assert "v2_1_image: gain" in said
    assert said["episode_000000.parquet: undeclared"] == "info.json does not declare this column"


def test_parquet_refuses_two_columns_of_one_name_and_lists_a_file_without_the_episodes_of_the_others(tmp_path):
    table = pq.read_table(write_table(tmp_path / "a.parquet"))
    pq.write_table(table.drop_columns("episode_index"), tmp_path / "b.parquet")
    reader = open_parquet(tmp_path, fields=NUMBERS)
    assert reader.lengths.tolist() == [2]  # the next episode may go on in the second file
    assert "it has no field 'episode_index'" in reader.rejected[0].reason
    (tmp_path / "b.parquet").unlink()
    pq.write_table(table.append_column("action", table["action"]), tmp_path / "a.parquet")
    with pytest.raises(SourceError, match="it has 2 columns 'action', expected one"):
        open_parquet(tmp_path, fields=NUMBERS)


def test_times_of_arrow_are_integers_in_their_unit(tmp_path):
    when = pa.array(10**9 * (1_700_000_000 + np.arange(5)), pa.timestamp("ns"))
    write_table(tmp_path / "a.parquet", when=when)
    observation = {"seconds": ("scale(relative(when), 1e-9)", Continuous(shape=()))}
    reader = open_parquet(tmp_path, fields=dataclasses.replace(NUMBERS, observation=observation, timestamps="when"))
    assert reader[1].observation["seconds"].tolist() == [0.0, 1.0, 2.0]


def test_mcap_lists_attachments_and_refuses_messages_that_contradict_the_index(tmp_path):
    with (tmp_path / "a.mcap").open("wb") as stream, Writer(stream) as writer:
        kinds = {kind for _, _, (kind, _) in arm_messages(4)}
        schemas = {kind: writer.register_msgdef(kind, full_definition(kind)) for kind in kinds}
        for topic, at, (kind, message) in arm_messages(4):
            writer.write_message(topic, schemas[kind], message, log_time=START + at * 10**6)
        writer._writer.add_attachment(START, START, "calibration.yaml", "text/yaml", b"camera: 1")
    said = names(open_mcap(tmp_path, fields=TOPICS))
    assert said["a.mcap: attachment calibration.yaml"] == "it is an attachment of 9 bytes, text/yaml"
    (file,), topics = tmp_path.glob("*.mcap"), ("/command",)
    times = read_message_times([file], topics, "a.mcap")
    changed = {topic: dataclasses.replace(one, recorded=one.recorded + 1) for topic, one in times.items()}
    selected = {topic: np.ones(len(one.recorded), bool) for topic, one in times.items()}
    with pytest.raises(EpisodeRejected, match="the messages of topic '/command' contradict the index of the file"):
        read_recording([file], selected, changed, "a.mcap")


def test_keys_of_annotations_that_are_not_read_are_listed(tmp_path):
    coco = write_coco(tmp_path / "coco")
    (coco / "train2017" / "extra.jpg").write_bytes(b"")
    file = coco / "annotations" / "captions_train2017.json"
    content = json.loads(file.read_text())
    content["images"] = [one | {"license": 3} for one in content["images"]]
    file.write_text(json.dumps(content | {"info": {"year": 2017}}))
    said = names(open_image_text(coco))
    assert said["license"] == f"it is not read; {len(content['images'])} entries have it"
    assert "captions_train2017.json: info" in said and "no annotation" in said["extra.jpg"]
    assert not {"caption", "file_name", "image_id"} & said.keys()
    said = names(open_vqa(write_vqa(tmp_path / "vqa")))
    assert said["answers"] == "it is not read; 5 entries have it"  # multiple_choice_answer is
    assert "v2_OpenEnded_mscoco_train2014_questions.json: data_subtype" in said and "question" not in said
    (tmp_path / "folder").mkdir()
    shutil.copy(coco / "train2017" / "000000000000.jpg", tmp_path / "folder" / "a.jpg")
    row = json.dumps({"file_name": "a.jpg", "text": "grey", "label": 3})
    (tmp_path / "folder" / "metadata.jsonl").write_text(f"{row}\n{{")
    said = [names(one) for one in open_splits(f"image_text:{tmp_path / 'folder'}", ("train", "test")).readers]
    assert [one["metadata.jsonl: label"] for one in said] == ["it is not read; 1 entries have it"]


def test_files_of_other_suffixes_are_listed_beside_texts(tmp_path):
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": f"text {n}"}) + "\n" for n in range(40)))
    (tmp_path / "b.csv").write_text("x")
    assert names(open_documents(tmp_path))["b.csv"] == "a text is *.txt, *.md, *.jsonl, *.jsonl.gz, *.parquet"
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"turns": [f"{n}", "b"]}) + "\n" for n in range(40)))
    assert names(open_dialogues(tmp_path))["b.csv"] == "a text is *.jsonl, *.jsonl.gz, *.json"
    with pytest.raises(SourceError, match="it has no \\*.yml files. Reinstall chatterbot-corpus"):
        _read_corpus(tmp_path)


def test_minari_lists_infos_and_files_that_are_not_read(tmp_path, monkeypatch):
    folder = collect(tmp_path, monkeypatch)
    (folder / "data" / "notes.txt").touch()
    said = names(open_minari(folder))
    assert said["time"].startswith("no field names it") and said["notes.txt"] == "Minari does not read it"
    assert "success" not in said  # it is read


def test_a_description_of_rlds_that_was_repaired_counts_anew(tmp_path, arm_episode):
    directory = write_bridge_dataset(tmp_path, {"train": [arm_episode(0), arm_episode(1)]}, control_rate_hz=5.0)
    info = json.loads((directory / "dataset_info.json").read_text())
    said = "its number of records differs from the description; "
    cases = (("5", [3], f"{said}2 of 5 records can be read"), ("2", [], ""), ("1", [0], f"{said}it has 2, expected 1"))
    for count, lost, reason in cases:
        info["splits"][0]["shardLengths"] = [count]
        (directory / "dataset_info.json").write_text(json.dumps(info))
        rejected = open_rlds(directory).rejected
        assert [one.episodes for one in rejected] == lost and all(one.reason == reason for one in rejected)


@pytest.mark.parametrize("answer", ["", " \n"])
def test_a_blank_text_of_tfds_is_refused(tmp_path, answer):
    import tensorflow_datasets as tfds

    directory = tmp_path / "gsm8k" / "1.0.0"
    features = tfds.features.FeaturesDict({"question": tfds.features.Text(), "answer": tfds.features.Text()})
    examples = [{"question": "How many?", "answer": "4"}, {"question": "How many?", "answer": answer}]
    with atomic_dataset(directory) as staging:
        write_examples(staging, directory, features, {"train": examples})
    reader = open_tfds_text(directory)
    assert reader[0].action["answer"].tolist() == ["4"]
    with pytest.raises(EpisodeRejected, match="record 1: action 'answer' is .* expected text"):
        reader[1]
