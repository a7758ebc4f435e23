"""Tests of emoji captions: split, variants, images, and errors."""

import unicodedata

import numpy as np
import PIL.Image
import PIL.ImageDraw
import pytest

from gato_jax.episodes import open_dataset, write_dataset
from gato_jax.sources import EpisodeReader, GeneratedEpisodes, SourceError, emoji_captions, open_source


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Folder of 64 by 64 PNG files named as in the npm package; some of them are not single emoji."""
    folder = tmp_path_factory.mktemp("npm") / "img" / "google" / "64"
    folder.mkdir(parents=True)
    for code_point in range(0x1F300, 0x1F5FF):
        picture = PIL.Image.new("RGBA", (64, 64))
        colour = (code_point % 200, code_point // 7 % 200, 90, 255)
        PIL.ImageDraw.Draw(picture).ellipse((4, 4, 59, 59), fill=colour)
        suffix = "-fe0f" if code_point % 5 == 0 else ""
        picture.save(folder / f"{code_point:x}{suffix}.png")
    for name in ("0023-fe0f-20e3", "1f1e6-1f1e8", "1f44d-1f3fb", "sheet"):
        picture.save(folder / f"{name}.png")
    return folder.parent.parent.parent


def captions(reader) -> list[str]:
    """Return all captions; the items are used if they exist, because drawing a thousand images is slow."""
    if isinstance(reader, GeneratedEpisodes):
        return [name for _, name, _ in reader.items]
    return [episode.action["caption"][0] for episode in reader]


def check_splits(train, test):
    taught, held_out = captions(train), captions(test)
    assert not set(taught) & set(held_out)
    assert len(held_out) == (len(taught) + len(held_out)) // 20
    words = {word for name in taught for word in name.split()}
    assert all(word in words for name in held_out for word in name.split())
    assert all(name == name.lower() and unicodedata.lookup(name) for name in taught)


def test_splits_from_a_folder(folder):
    train, test = emoji_captions("train", folder=folder), emoji_captions("test", folder=folder / "img/google/64")
    assert isinstance(train, EpisodeReader)
    check_splits(train, test)
    assert train.provenance.licence.startswith("Apache-2.0") and train[0].provenance.kind == "synthetic"
    np.testing.assert_array_equal(train.lengths, np.ones(len(train)))
    assert len(train) + len(test) == 0x1F5FF - 0x1F300 - 5  # five code points are skin tones


@pytest.mark.needs_emoji_font
def test_splits_from_the_font():
    train, test = open_source("captions:emoji"), open_source("captions:emoji", "test")
    check_splits(train, test)
    assert 1300 < len(train) + len(test) < 1600
    assert train.fingerprint != test.fingerprint and train.fingerprint == emoji_captions("train").fingerprint
    episode = train[captions(train).index("grinning face")]
    assert episode.action["caption"].tolist() == ["grinning face"]
    image = episode.observation["image"][0]
    assert image.shape == (64, 64, 3) and image.dtype == np.uint8
    assert image[0, 0].tolist() == [255, 255, 255] and image[32, 32, 2] < 120 < image[20, 50, 0]  # white ground, yellow


def test_variants_teach_and_never_leak(folder):
    train = emoji_captions("train", folder=folder, variants=4)
    assert len(train) == 4 * len(emoji_captions("train", folder=folder))
    assert len(emoji_captions("test", folder=folder, variants=4)) == len(emoji_captions("test", folder=folder))
    images = [train[position].observation["image"][0] for position in range(4)]
    assert len({image.tobytes() for image in images}) == 4 and len(set(captions(train)[:4])) == 1
    np.testing.assert_array_equal(train[3].observation["image"], train[3].observation["image"])
    np.testing.assert_array_equal(images[0], emoji_captions("train", folder=folder)[0].observation["image"][0])
    assert all((image[:, 0] == 255).all() or (image == 255).mean() < 0.9 for image in images)


def test_rests_in_the_store(folder, tmp_path):
    test = emoji_captions("test", folder=folder)
    stored = open_dataset(write_dataset(tmp_path, test.spec, {"test": test}), "test")
    np.testing.assert_array_equal(stored[3].observation["image"], test[3].observation["image"])
    assert captions(stored) == captions(test)


def test_neither_font_nor_folder(tmp_path, folder):
    with pytest.raises(SourceError, match="fonts-noto-color-emoji.*emoji-datasource-google"):
        emoji_captions("train", font=tmp_path / "absent.ttf")
    with pytest.raises(SourceError, match="emoji-datasource-google.*fonts-noto-color-emoji"):
        emoji_captions("train", folder=tmp_path)
    with pytest.raises(SourceError, match="no split 'val'; it has train, test"):
        emoji_captions("val", folder=folder)
