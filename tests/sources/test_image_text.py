"""Tests of the readers of captioned images and questions: all layouts, damaged files, content credentials."""

import io
import json
import pickle
import sys
import tarfile

import numpy as np
import pytest

from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.sources.images.credentials import read_credentials
from gato_jax.sources.images.image_text import open_image_text
from gato_jax.sources.images.vqa import open_vqa
from gato_jax.sources.reader import EpisodeReader, EpisodeRejected, SourceError
from tests.sources.made_images import encode, pixels, sign


def write_coco(folder, *, subset: str = "train2017", count: int = 6, annotations=()):
    """Write COCO annotations with two captions for each image."""
    (folder / subset).mkdir(parents=True)
    (folder / "annotations").mkdir(exist_ok=True)
    names = [f"{number:012}.jpg" for number in range(count)]
    for number, name in enumerate(names):
        (folder / subset / name).write_bytes(encode(pixels(number)))
    said = [{"id": number, "image_id": number // 2, "caption": f"Caption {number}. \n"} for number in range(2 * count)]
    images = [{"id": number, "file_name": name} for number, name in enumerate(names)]
    images += [{"id": 90, "file_name": "../annotations/x.jpg"}, {"id": 91, "file_name": "gone.jpg"}]
    file = folder / "annotations" / f"captions_{subset}.json"
    file.write_text(json.dumps({"images": images, "annotations": said + list(annotations)}))
    return folder


def write_shard(file, samples):
    with tarfile.open(file, "w") as shard:
        for name, content in samples:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            shard.addfile(member, io.BytesIO(content))
    return file


def samples(numbers) -> list[tuple[str, bytes]]:
    """Return the members of samples; every other caption is in a JSON file."""
    return [
        part
        for number in numbers
        for part in (
            (f"{number:06}.jpg", encode(pixels(number))),
            (f"{number:06}.json", json.dumps({"caption": f"Caption {number}"}).encode())
            if number % 2
            else (f"{number:06}.txt", f"Caption {number}".encode()),
        )
    ]


def captions(reader) -> list[str]:
    return [episode.action["caption"][0] for episode in reader]


def check_pixels(episode):
    """Check that the colour of the image belongs to the number in the caption."""
    number = int(episode.action["caption"][0].split()[1])
    colours = np.abs(episode.observation["image"][0].astype(int) - pixels(number)[0, 0])
    assert episode.observation["image"].shape == (1, 64, 64, 3) and colours.max() <= 3


def test_coco_has_an_episode_for_each_caption(tmp_path):
    write_coco(tmp_path)
    write_coco(tmp_path, subset="val2017", count=2)
    reader = pickle.loads(pickle.dumps(open_image_text(tmp_path)))
    assert isinstance(reader, EpisodeReader) and reader.rejected == ()
    assert captions(reader) == [f"Caption {number}." for number in range(12)]
    assert abs(int(reader[4].observation["image"][0, 0, 0, 0]) - 10) <= 2
    assert len(open_image_text(tmp_path, "val")) == 4
    assert open_image_text(tmp_path, "val", size=(16, 32))[0].observation["image"].shape == (1, 16, 32, 3)
    with pytest.raises(SourceError, match="0 files of split 'test', expected 1. It has train in captions_train2017"):
        open_image_text(tmp_path, "test")
    stored = open_dataset(write_dataset(tmp_path / "store", reader.spec, {"train": reader}), "train")
    np.testing.assert_array_equal(stored[3].observation["image"], reader[3].observation["image"])


def test_coco_annotations_that_are_refused(tmp_path):
    wrong = [
        ({"image_id": 90, "caption": "x"}, "lies outside of its folder"),
        ({"image_id": 91, "caption": "x"}, "its image 'gone.jpg' is not in"),
        ({"image_id": 7000, "caption": "x"}, "its image_id 7000 is not among the images"),
        ({"image_id": 0, "caption": " "}, "its caption is ' ', expected text"),
        ({"image_id": 0}, "its caption is None, expected text"),
        ("a text", "it is 'a text', expected an object with image_id and caption"),
        (None, "it is None, expected an object"),
        ({"image_id": [0], "caption": "x"}, r"its image_id [0] is not among the images"),
    ]
    reader = open_image_text(write_coco(tmp_path, annotations=[annotation for annotation, _ in wrong]))
    assert len(list(reader)) == 12 and len(reader.rejected) == len(wrong)
    for rejection, (number, (_, reason)) in zip(
        sorted(reader.rejected), sorted(enumerate(wrong, start=12)), strict=True
    ):
        assert rejection.location.endswith(f"annotation {number}") and reason in rejection.reason
    (tmp_path / "annotations" / "captions_train2017.json").write_text('{"images": []')
    with pytest.raises(SourceError, match="captions_train2017.json: it holds no annotations in JSON"):
        open_image_text(tmp_path)


def test_damaged_images_are_rejected_when_they_are_read(tmp_path):
    write_coco(tmp_path)
    whole = (tmp_path / "train2017" / "000000000001.jpg").read_bytes()
    (tmp_path / "train2017" / "000000000001.jpg").write_bytes(whole[: len(whole) // 2])
    flipped = bytearray(encode(pixels(2), "PNG"))
    flipped[flipped.index(b"IDAT") + 6] ^= 1
    (tmp_path / "train2017" / "000000000002.jpg").write_bytes(flipped)
    reader = open_image_text(tmp_path)
    for number in (2, 4):
        with pytest.raises(EpisodeRejected, match=f"annotation {number}, image '0.*{number // 2}.jpg'.*be decoded"):
            reader[number]
    assert reader[6].action["caption"].tolist() == ["Caption 6."]


def test_webdataset_shards_at_random(tmp_path):
    for shard in range(3):
        write_shard(tmp_path / f"{shard:06}.tar", samples(range(20 * shard, 20 * shard + 20)))
    train, test = (pickle.loads(pickle.dumps(open_image_text(tmp_path, split))) for split in ("train", "test"))
    assert train.rejected == test.rejected == () and 1 <= len(test) < 10
    assert sorted(captions(train) + captions(test)) == sorted(f"Caption {number}" for number in range(60))
    for position in np.random.default_rng(0).permutation(len(train)):
        check_pixels(train[position])
    one = captions(open_image_text(tmp_path / "000001.tar"))
    assert one == [caption for caption in captions(train) if 20 <= int(caption.split()[1]) < 40]


def test_webdataset_shards_that_are_damaged(tmp_path):
    whole = write_shard(tmp_path / "0.tar", samples(range(20))).read_bytes()
    wrong = [("a/7.txt", b"no image"), ("b.jpg", encode(pixels(0))), ("c.jpg", encode(pixels(0))), ("c.txt", b"\xe9")]
    wrong += [("d.jpg", encode(pixels(0))), ("d.json", b"{}"), ("e.jpg", encode(pixels(0))), ("e.txt", b"")]
    write_shard(tmp_path / "1.tar", wrong)
    reader = open_image_text(tmp_path)
    assert {(one.location.rpartition("/")[2], one.reason[:10]) for one in reader.rejected} == {
        ("7", "it has txt"), ("1.tar, b", "it has jpg")
    }  # fmt: skip
    reasons = []
    for position in range(len(reader)):
        try:
            check_pixels(reader[position])
        except EpisodeRejected as error:
            reasons.append(error.reason)
    assert (
        ["not UTF-8" in reasons[0], "caption" in reasons[1], "is empty" in reasons[2]]
        == [True] * 3
        == [True for _ in reasons]
    )
    header = bytearray(whole)
    header[whole.index(b"000010.jpg")] ^= 1
    for number, content in enumerate((whole[: len(whole) // 2], whole[: whole.index(b"000010.jpg")], bytes(header))):
        (tmp_path / "1.tar").write_bytes(content)
        reader = open_image_text(tmp_path / "1.tar")
        assert 6 <= len(list(reader)) <= 10, number
        assert any("1.tar" == one.location.rpartition("/")[2] for one in reader.rejected)
        assert any("damaged or cut short" in one.reason for one in reader.rejected)


def test_a_webdataset_shard_that_is_cut_within_a_caption_has_no_part_of_it(tmp_path):
    shard = write_shard(tmp_path / "0.tar", samples(range(20)))
    *before, last = captions(open_image_text(shard))
    whole = shard.read_bytes()
    shard.write_bytes(whole[: whole.index(last.encode()) + 4])
    reader = open_image_text(shard)
    assert captions(reader) == before
    assert any("is cut short" in one.reason for one in reader.rejected)


def test_imagefolder_with_and_without_splits(tmp_path):
    rows = [{"file_name": f"{number}.png", "text": f"Caption {number}"} for number in range(40)]
    for number in range(40):
        (tmp_path / f"{number}.png").write_bytes(encode(pixels(number), "PNG"))
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    train, test = open_image_text(tmp_path), open_image_text(tmp_path, "test")
    assert sorted(captions(train) + captions(test)) == sorted(row["text"] for row in rows)
    check_pixels(train[-1])
    (tmp_path / "validation").mkdir()
    (tmp_path / "validation" / "x.png").write_bytes(encode(pixels(3, "L"), "PNG"))
    (tmp_path / "validation" / "y.png").write_bytes(encode(pixels(3, "RGBA"), "PNG"))
    said = [{"file_name": name, "text": "x"} for name in ("x.png", "y.png", "../0.png", "z.png")]
    (tmp_path / "validation" / "metadata.jsonl").write_text("\n".join(map(json.dumps, said)) + '\n{"text": "x"}\n')
    own = open_image_text(tmp_path, "validation")
    assert own[0].observation["image"][0, 0, 0].tolist() == [15, 15, 15]
    assert own[1].observation["image"][0, 0, 0].tolist() == [255, 255, 255]  # transparent, on white
    assert len(own) == 2 and len(own.rejected) == 3
    assert "lies outside of its folder" in " ".join(one.reason for one in own.rejected)


def test_no_layout(tmp_path):
    with pytest.raises(SourceError, match=r"no annotations/captions_\*.json, \*.tar or metadata.jsonl"):
        open_image_text(tmp_path)
    (tmp_path / "0.tar.gz").touch()
    with pytest.raises(SourceError, match="Unpack the .*tar.gz files, which have no random access"):
        open_image_text(tmp_path)


def write_vqa(folder, *, prefix: str = "v2_", questions=(), annotations=()):
    (folder / "images" / "train2014").mkdir(parents=True)
    for number in range(3):
        (folder / "images" / "train2014" / f"COCO_train2014_{number:012}.jpg").write_bytes(encode(pixels(number)))
    asked = [{"image_id": n % 3, "question": f"What is {n}?", "question_id": 1000 + n} for n in range(5)]
    answered = [
        {"question_id": 1000 + n, "image_id": n % 3, "answers": [{"answer": a} for a in ("a", f"b{n}", f"b{n}")]}
        for n in range(5)
    ]
    if prefix:
        answered = [{**one, "multiple_choice_answer": "yes"} for one in answered]
    for kind, name, said in (
        ("questions", f"{prefix}OpenEnded_mscoco_train2014_questions.json", asked + list(questions)),
        ("annotations", f"{prefix}mscoco_train2014_annotations.json", answered + list(annotations)),
    ):
        (folder / name).write_text(json.dumps({kind: said, "data_subtype": "train2014"}))
    return folder


@pytest.mark.parametrize(("prefix", "answers"), [("v2_", ["yes"] * 5), ("", [f"b{n}" for n in range(5)])])
def test_questions_about_images(tmp_path, prefix, answers):
    reader = open_vqa(write_vqa(tmp_path, prefix=prefix))
    assert reader.rejected == () and set(reader.spec.observation) == {"image", "question"}
    assert [episode.action["answer"][0] for episode in reader] == answers
    assert reader[4].observation["question"].tolist() == ["What is 4?"]
    assert abs(int(reader[4].observation["image"][0, 0, 0, 0]) - 5) <= 2
    with pytest.raises(
        SourceError, match="0 files .* of split 'val', expected 1. Matching files: .*train2014_questions.json"
    ):
        open_vqa(tmp_path, "val")


def test_questions_that_are_refused(tmp_path):
    questions = [
        {"image_id": 0, "question": "Unanswered?", "question_id": 1},
        {"image_id": 77, "question": "Of what?", "question_id": 2},
        {"image_id": 0, "question": "", "question_id": 3},
    ]
    annotations = [{"question_id": n, "multiple_choice_answer": "no"} for n in (2, 3, 4, 1000)]
    reader = open_vqa(write_vqa(tmp_path, questions=questions, annotations=annotations))
    reasons = {one.location.rpartition(" ")[2]: one.reason for one in reader.rejected}
    assert len(list(reader)) == 5 and reasons.keys() == {"1", "2", "3", "4", "1000"}
    assert "no answer" in reasons["1"] and "is not in" in reasons["2"] and "question is ''" in reasons["3"]
    assert "does not exist" in reasons["4"] and "answered twice" in reasons["1000"]


def test_rows_of_any_other_kind_are_refused_one_by_one(tmp_path):
    odd = [None, 5, "x", [], {}, {"question_id": [1]}, {"question_id": 2, "multiple_choice_answer": "y"}]
    questions = [None, "x", {"question_id": 2, "image_id": [1], "question": "?"}, {"question_id": 3}]
    reader = open_vqa(write_vqa(tmp_path / "vqa", questions=questions, annotations=odd))
    reasons = [one.reason for one in reader.rejected]
    assert len(list(reader)) == 5 and len(reasons) == len(odd) + 1
    assert "it is None, expected an object with question_id" in reasons
    assert sum("it holds no question, image and answer" in reason for reason in reasons) == 1
    (tmp_path / "a.png").write_bytes(encode(pixels(1)))
    names = ["a.png", "a\0b", "a" * 300]
    rows = [json.dumps({"file_name": name, "text": "x"}) for name in names]
    (tmp_path / "metadata.jsonl").write_text("\n".join(rows))
    reader = open_image_text(tmp_path)
    assert len(reader) == 1 and [
        "without NUL" in one.reason or "too long" in one.reason for one in reader.rejected
    ] == [
        True,
        True,
    ]


@pytest.mark.parametrize(("kind", "mime"), [("JPEG", "image/jpeg"), ("PNG", "image/png"), ("WEBP", "image/webp")])
def test_credentials_are_kept_with_the_episode(tmp_path, kind, mime):
    plain = encode(pixels(1), kind)
    signed = sign(plain, mime)
    name = f"{kind}.{kind.lower()}"
    (tmp_path / name).write_bytes(signed)
    (tmp_path / "plain.png").write_bytes(plain)
    said = [{"file_name": name, "text": "x"}, {"file_name": "plain.png", "text": "y"}]
    (tmp_path / "metadata.jsonl").write_text("\n".join(map(json.dumps, said)))
    episodes = {one.action["caption"][0]: one for one in open_image_text(tmp_path)}
    credentials = json.loads(episodes["x"].provenance.content_credentials)
    [manifest] = credentials["manifests"].values()
    assert manifest["claim_generator_info"][0]["name"] == "a camera" and credentials["validation_state"] == "Valid"
    assert episodes["y"].provenance.content_credentials == "" == read_credentials(plain, mime)


def test_credentials_of_a_changed_image_say_so():
    changed = bytearray(sign(encode(pixels(1)), "image/jpeg"))
    changed[-30] ^= 1
    credentials = json.loads(read_credentials(bytes(changed), "image/jpeg"))
    assert credentials["validation_state"] == "Invalid"
    assert "assertion.dataHash.mismatch" in {status["code"] for status in credentials["validation_status"]}


def test_credentials_that_cannot_be_read():
    damaged = bytearray(sign(encode(pixels(1)), "image/jpeg"))
    damaged[damaged.index(b"jumb") + 60] ^= 255
    with pytest.raises(SourceError, match="cannot read its C2PA manifest"):
        read_credentials(bytes(damaged), "image/jpeg")


def test_without_the_library_only_images_with_credentials_fail(monkeypatch):
    signed, plain = sign(encode(pixels(1)), "image/jpeg"), encode(pixels(1))
    monkeypatch.setitem(sys.modules, "c2pa", None)
    assert read_credentials(plain, "image/jpeg") == ""
    with pytest.raises(ImportError, match="pip install c2pa-python"):
        read_credentials(signed, "image/jpeg")
