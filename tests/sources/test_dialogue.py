"""Tests of the chatterbot corpus and of `open_source`."""

import pytest

from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.sources import EpisodeReader, SourceError, chatterbot_dialogues, open_source
from gato_jax.sources.language.chatterbot import format_dialogue


def texts(reader) -> list[str]:
    return [episode.action["text"][0] for episode in reader]


def test_splits_are_disjoint_and_without_repeats():
    train, test = chatterbot_dialogues("train"), chatterbot_dialogues("test")
    assert isinstance(train, EpisodeReader)
    taught, held_out = texts(train), texts(test)
    assert len(taught) + len(held_out) == len({*taught, *held_out}) > 800
    assert 0.03 < len(held_out) / (len(taught) + len(held_out)) < 0.08
    assert all(text.startswith("Human: ") and "\nAgent: " in text for text in taught)
    episode = train[0]
    assert dict(episode.observation) == {} and len(episode) == 1 and episode.is_terminal.all()
    assert episode.provenance.licence == "BSD License" and episode.provenance.source.startswith("chatterbot-corpus ")


def test_speakers_take_turns():
    assert format_dialogue(["Hi", "Hello\nyou ", "Bye"]) == "Human: Hi\nAgent: Hello\nyou\nHuman: Bye"


def test_rests_in_the_store(tmp_path):
    test = chatterbot_dialogues("test")
    assert texts(open_dataset(write_dataset(tmp_path, test.spec, {"test": test}), "test")) == texts(test)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("recordd:x", "unknown kind 'recordd'; did you mean 'recorded'"),
        ("recorded", "nothing after 'recorded'"),
        ("zzz:x", "KIND one of recorded, captions, dialogue"),
        ("dialogue:other", "other"),
    ],
)
def test_unknown_sources(source, message):
    with pytest.raises(SourceError, match=message):
        open_source(source)


def test_recorded_is_our_store(tmp_path):
    test = chatterbot_dialogues("test")
    directory = write_dataset(tmp_path, test.spec, {"test": test})
    assert open_source(f"recorded:{directory}", "test").fingerprint == open_dataset(directory, "test").fingerprint
