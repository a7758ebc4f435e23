"""Tests of reviews: edits are kept, a conversion applies them, and training samples the phrasings."""

import json
import pickle
from collections import Counter

import numpy as np
import pytest

from gato_jax.batching import Mixture, write_records
from gato_jax.episodes import SpecError, Text
from gato_jax.sources import EpisodeReader, SourceError
from gato_jax.sources.instructions import (
    Entry,
    PhrasedEpisodes,
    Review,
    Template,
    apply_review,
    propose_review,
)
from gato_jax.sources.reader import EpisodeRejected
from gato_jax.tokenization import Tokenization
from tests.episodes.unchecked import unchecked
from tests.sources.made_readers import MadeEpisodes
from tests.tokenization.made_tasks import CONTROL, GAME, ROBOT


@pytest.fixture
def reader():
    return MadeEpisodes(spec=CONTROL, count=6)


@pytest.fixture
def review(reader):
    """Review of three groups: cups in episodes 0, 2 and 4, bowls in 1 and 3, a spoon in 5."""
    texts = {number: ("take the cup", "take the bowl")[number % 2] for number in range(5)} | {5: "spoon"}
    return propose_review(reader, texts)


def edit(file, group, /, **fields):
    content = json.loads(file.read_text())
    for entry in content["entries"]:
        if entry["group"] == group:
            entry.update(fields)
    file.write_text(json.dumps(content))


def groups(review):
    return {entry.group: (entry.episodes, entry.instructions, entry.decision) for entry in review.entries}


def test_a_review_is_written_and_read_back(review, tmp_path):
    assert review.write(tmp_path / "new" / "review.json") == review == Review.read(tmp_path / "new" / "review.json")
    assert groups(review)["take the cup"] == ("0, 2, 4", ("take the cup",), "unreviewed")
    assert [file.name for file in (tmp_path / "new").iterdir()] == ["review.json"]


def test_without_texts_the_entries_are_of_what_metadata_say(reader):
    metadata = {number: {"object": "cup", "colour": ("red", "blue")[number // 4]} for number in range(6)}
    review = propose_review(
        reader, dict.fromkeys(range(6), ""), metadata=metadata, templates=[Template("take the {object}")]
    )
    assert [(entry.group, entry.episodes) for entry in review.entries] == [
        ("take the red cup", "0-3"), ("take the blue cup", "4-5")
    ]  # fmt: skip
    (entry,) = propose_review(reader, dict.fromkeys(range(6), ""), count=3).entries
    assert entry.episodes == "0-5" and len(entry.instructions) == 3


def test_writing_again_loses_no_edit(review, reader, tmp_path):
    file = tmp_path / "review.json"
    review.write(file)
    edit(file, "take the cup", instructions=["grasp the mug", "take the mug"], comment="it is a mug")
    edit(file, "spoon", status="reject")
    merged = propose_review(
        reader, {0: "take the cup", 1: "open it", 2: "open it", 3: "open it", 4: "take the cup"}
    ).write(file)
    assert merged == Review.read(file)
    assert groups(merged) == {
        "take the cup": ("0, 2, 4", ("grasp the mug", "take the mug"), "accept"),  # episode 2 stays in the edited entry
        "open it": ("1, 3", ("open it",), "unreviewed"),  # replaces the entry that was not edited
        "spoon": ("5", ("spoon",), "reject"),
    }
    assert merged.entries[0].comment == "it is a mug" and merged.entries[0].proposed == ("take the cup",)
    assert merged.write(file) == merged


def test_an_entry_that_a_person_split_off_keeps_its_episodes(review, tmp_path):
    file = tmp_path / "review.json"
    review.write(file)
    content = json.loads(file.read_text())
    content["entries"][0]["episodes"] = "0, 2"
    content["entries"].append({"group": "mine", "episodes": "4", "instructions": ["take the glass"]})
    file.write_text(json.dumps(content))
    merged = review.write(file)
    assert (
        groups(merged)["mine"] == ("4", ("take the glass",), "accept") and groups(merged)["take the cup"][0] == "0, 2"
    )


def test_of_other_data_texts_are_kept_and_episodes_are_not(review, tmp_path):
    file = tmp_path / "review.json"
    review.write(file)
    edit(file, "take the cup", status="accept")
    edit(file, "spoon", instructions=["take the spoon"])
    other = MadeEpisodes(spec=CONTROL, count=9, seed=5)
    merged = propose_review(other, {0: "take the bowl", 1: "take the cup", 2: "take the cup"}).write(file)
    assert groups(merged)["take the cup"] == ("1-2", ("take the cup",), "accept")
    assert groups(merged)["spoon"] == ("", ("take the spoon",), "accept")
    assert merged.phrasings == (("take the bowl",), ("take the cup",))


@pytest.mark.parametrize(
    "change, said",
    [
        (
            {"status": "accepted"},
            r"entries\[0\].status is 'accepted', expected 'unreviewed' or 'accept' or 'reject'",
        ),
        ({"instructions": []}, "instructions is empty, expected one or more. Write one, or set status to reject"),
        ({"instructions": ["a", " "]}, "none of them empty"),
        ({"episodes": "0 to 4"}, "episodes is '0 to 4', expected numbers and ranges"),
        ({"episodes": "0-2"}, "episode 1 is in the groups 'take the cup' and 'take the bowl'"),
        ({"group": "spoon"}, "group 'spoon' occurs twice"),
        ({"statsu": "accept"}, "unknown key 'statsu'. Did you mean 'status'"),
    ],
)
def test_an_edit_that_cannot_be_is_refused_with_its_place_and_stays(change, said, review, tmp_path):
    file = tmp_path / "review.json"
    review.write(file)
    edit(file, "take the cup", **change)
    before = file.read_text()
    with pytest.raises(SourceError, match=said) as refused:
        review.write(file)
    assert str(refused.value).startswith(str(file)) and file.read_text() == before


def test_a_file_that_is_no_review_is_not_overwritten(review, tmp_path):
    file = tmp_path / "review.json"
    file.write_text("{")
    with pytest.raises(SourceError, match="no review in JSON"):
        review.write(file)
    other = propose_review(MadeEpisodes(spec=GAME, count=2), {0: "play", 1: "play"})
    other.write(tmp_path / "other.json")
    with pytest.raises(
        SourceError, match="task of the existing review is 'made/game', expected 'made/control'. Name another file"
    ):
        review.write(tmp_path / "other.json")


def accepted(review, file):
    review.write(file)
    for group in ("take the cup", "take the bowl"):
        edit(file, group, status="accept")
    edit(file, "take the cup", instructions=["take the mug", "grasp the mug"])
    edit(file, "spoon", status="reject", comment="no verb")
    return Review.read(file)


def test_the_conversion_obeys_the_review(review, reader, tmp_path):
    reviewed = accepted(review, tmp_path / "review.json")
    transform = pickle.loads(pickle.dumps(apply_review(reviewed)))
    spec = reviewed.spec(reader.spec)
    assert spec.observation["instruction"] == Text() and spec.instructions is None  # it differs by episode
    given = [transform(number, reader[number]) for number in range(5)]
    assert [set(episode.observation["instruction"]) for episode in given] == [
        {"take the mug"}, {"take the bowl"}, {"take the mug"}, {"take the bowl"}, {"take the mug"}
    ]  # fmt: skip
    assert set(given[0].observation) == set(spec.observation) and given[0].observation["instruction"].dtype == object
    with pytest.raises(
        EpisodeRejected, match=r"made/control: episode 5: .*\('spoon'\) was rejected in review: no verb"
    ):
        transform(5, reader[5])
    with pytest.raises(EpisodeRejected, match="episode 6: no entry of the review contains it"):
        transform(6, reader[0])


def test_phrasings_are_dealt_out_and_are_the_tasks_where_all_episodes_are_about_the_same(reader):
    review = propose_review(reader, dict.fromkeys(range(6), ""), count=3)
    transform = apply_review(review, allow_unreviewed=True)
    phrasings = review.spec(reader.spec).instructions
    assert phrasings is not None and len(phrasings) == 3
    counts = Counter(transform(number, reader[number]).observation["instruction"][0] for number in range(6))
    assert counts == dict.fromkeys(phrasings, 2)


def test_unreviewed_entries_are_an_error_unless_they_are_allowed(review, tmp_path):
    with pytest.raises(SourceError, match="3 of 3 entries are unreviewed, the first is 'take the cup'"):
        apply_review(review)
    assert apply_review(accepted(review, tmp_path / "review.json")) and apply_review(review, allow_unreviewed=True)


def test_a_review_of_another_task_is_refused(review):
    with pytest.raises(SourceError, match="it is of made/control, expected made/game"):
        review.spec(GAME)
    with pytest.raises(SourceError, match="it is of made/control train made0-6 .* Write the review again"):
        review.require_data(MadeEpisodes(spec=CONTROL, count=6, seed=3))


def test_a_review_is_of_the_data_it_was_made_from(review, reader):
    review.require_data(reader)
    assert (
        review.fingerprint
        == propose_review(
            reader, dict(enumerate(("take the cup", "take the bowl") * 2)) | {4: "take the cup", 5: "spoon"}
        ).fingerprint
        != propose_review(reader, dict.fromkeys(range(6), "take the cup")).fingerprint
    )


PHRASINGS = ("take the cup", "grasp the cup", "pick up the cup", "lift the cup", "get the cup")


def test_copies_of_an_episode_have_different_phrasings_and_all_are_used_alike():
    phrased = PhrasedEpisodes(reader=MadeEpisodes(spec=CONTROL, count=15), phrasings=(PHRASINGS,), copies=2)
    assert isinstance(phrased, EpisodeReader) and len(phrased) == 30 and phrased.spec.instructions == PHRASINGS
    texts = [episode.observation["instruction"][0] for episode in phrased]
    assert Counter(texts) == dict.fromkeys(PHRASINGS, 6)
    assert all(one != other for one, other in zip(texts[::2], texts[1::2], strict=True))
    assert texts[:10] != texts[10:20]  # no pattern
    np.testing.assert_array_equal(phrased.lengths, [len(episode) for episode in phrased])
    np.testing.assert_array_equal(phrased[7].action["action"], phrased.reader[3].action["action"])
    assert texts[-1] == phrased[-1].observation["instruction"][0]


def test_the_draw_and_the_fingerprint_follow_from_data_and_phrasings():
    def phrased(seed=0, phrasings=PHRASINGS, copies=2):
        return PhrasedEpisodes(
            reader=MadeEpisodes(spec=CONTROL, count=15, seed=seed), phrasings=(phrasings,), copies=copies
        )

    def texts(reader):
        return [episode.observation["instruction"][0] for episode in reader]

    assert texts(phrased()) == texts(phrased()) != texts(phrased(seed=1))
    others = [phrased(), phrased(seed=1), phrased(phrasings=PHRASINGS[:4]), phrased(copies=3)]
    assert len({reader.fingerprint for reader in others}) == 4 and phrased().fingerprint == phrased().fingerprint


def test_with_several_groups_an_episode_stays_in_its_own():
    reader = MadeEpisodes(spec=ROBOT, count=4, texts=("take the cup", "open it"))
    phrased = PhrasedEpisodes(reader=reader, phrasings=(PHRASINGS, ("open it", "open the box")), copies=3)
    for number, episode in enumerate(phrased):
        about_cups = number // 3 % 2 == 0
        assert episode.observation["instruction"][0] in (PHRASINGS if about_cups else ("open it", "open the box"))
    with pytest.raises(SourceError, match="episode 1 has the instruction 'open it', which is in no group"):
        list(PhrasedEpisodes(reader=reader, phrasings=(PHRASINGS, ("close it",)), copies=1))


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"copies": 0}, "copies is 0, expected 1 or more"),
        ({"phrasings": ()}, "Give each group at least one"),
        ({"phrasings": (("a", "b"), ("c", "a"))}, "'a' occurs twice"),
        ({"phrasings": (("a",), ("b",))}, "need an observation 'instruction' that tells the group"),
        ({"key": "position"}, "observation 'position' is Continuous.* expected Text"),
    ],
)
def test_phrasings_that_cannot_be_drawn_are_refused(fields, said, reader):
    with pytest.raises(SourceError, match=said):
        PhrasedEpisodes(reader=reader, **{"phrasings": (("a",),), **fields})


def test_a_mixture_over_phrased_episodes_draws_their_copies(reader, tmp_path):
    phrased = PhrasedEpisodes(reader=reader, phrasings=(PHRASINGS,), copies=2)
    records = write_records(tmp_path / "records", phrased.spec, phrased, phrased.fingerprint, Tokenization())
    mixture = Mixture.uniform({"told": records}, batch_size=4, context=96, seed=0)
    plans = [mixture.build(row)[0] for row in range(40)]
    drawn = {piece.episode for plan in plans for segment in plan.segments for piece in segment}
    assert drawn == set(range(12)) and mixture.contract.tasks["made/control"] == phrased.spec


def test_instructions_of_another_type_are_refused():
    with pytest.raises(SpecError, match="group 'cups': instructions is 'take it', expected a list of texts"):
        unchecked(Entry, group="cups", episodes="0", instructions="take it")
