"""What a data report measures, against NumPy on the whole dataset; a planted shift; its page."""

import dataclasses
import json
import re

import numpy as np
import pytest
import scipy.stats

from gato_jax.episodes import Continuous, Discrete, Embodiment, Gripper, Image, Provenance, TaskSpec, Text
from gato_jax.episodes.store import open_dataset
from gato_jax.episodes.writer import write_dataset
from gato_jax.reports import tokenization
from gato_jax.reports.continuous import Sample
from gato_jax.reports.recordings import compare, comparison_table, measure, table, write_page
from gato_jax.reports.recordings.findings import Spread
from gato_jax.reports.recordings.page import headline
from gato_jax.reports.run import ReportError
from gato_jax.sources.reader import EpisodeRejected, Rejection
from tests.reports.chromium import Browser
from tests.reports.test_report_page import Page
from tests.tokenization.made_tasks import episode_of

LENGTHS = (70, 1, 129, 40)
SPEC = TaskSpec(
    suite="made", task="arm",
    observation={
        "state": Continuous(shape=(2, 3)), "camera": Image(height=12, width=10),
        "grey": Image(height=8, width=8, channels=1), "covered": Image(height=4, width=4),
        "mode": Discrete(n=5, shape=(2,)), "instruction": Text(),
    },
    action={"move": Continuous(shape=(3,), low=(-1.0, -0.1, 0.0), high=(1.0, 0.1, 1.0)), "grip": Discrete(n=2)},
    embodiment=Embodiment(robot="arm", gripper=Gripper(kind="binary", action="move", elements=(2,))),
)  # fmt: skip
REAL = Provenance(source="a laboratory", licence="CC-BY-NC-4.0", kind="real", agent="teleoperation")
MADE = Provenance(source="a simulator", licence="MIT", kind="simulated")


def made_episode(seed: int, steps: int, *, shift: float = 0.0, darker: int = 0):
    """State 3 is constant and state 4 takes two values; `shift` moves state 1, `darker` images have lower maxima."""
    rng = np.random.default_rng(seed)
    state = rng.normal([1.0, -5.0 + shift, 0.0, 2.5, 0.0, 100.0], [1.0, 2.0, 0.3, 0.0, 0.0, 9.0], (steps, 6))
    state[0, 4] = float(seed == 0)
    move = np.column_stack([
        rng.uniform(-1.5, 1.0, steps), np.full(steps, 0.1), rng.integers(2, size=steps)
    ])  # fmt: skip
    observation = {
        "state": state.reshape(steps, 2, 3).astype(np.float32),
        "camera": rng.integers(0, 256 - darker, (steps, 12, 10, 3)).astype(np.uint8),
        "grey": rng.integers(256, size=(steps, 8, 8, 1)).astype(np.uint8),
        "covered": np.full((steps, 4, 4, 3), 7, np.uint8),
        "mode": np.column_stack([np.full(steps, 3), rng.integers(4, size=steps)]),
        "instruction": np.array(["lift", "", "put down the cup"], object)[rng.integers(3, size=steps)],
    }
    action = {"move": move.astype(np.float32), "grip": rng.integers(2, size=steps)}
    episode = episode_of(SPEC, observation, action, success=bool(seed % 2), final_observation=steps > 1)
    reward = rng.normal(size=steps).astype(np.float32)
    return dataclasses.replace(episode, reward=reward, provenance=MADE if seed % 4 == 3 else REAL)


def made_dataset(root, **how):
    episodes = [made_episode(seed, steps, **how) for seed, steps in enumerate(LENGTHS)]
    return open_dataset(write_dataset(root, SPEC, {"train": episodes}))


@pytest.fixture(scope="module")
def reader(tmp_path_factory):
    return made_dataset(tmp_path_factory.mktemp("data"))


@pytest.fixture(scope="module")
def data(reader):
    return measure(reader)


def whole(reader, side, key):
    """All values of a key at the steps at which an action was taken: the last of an episode holds none."""
    return np.concatenate([getattr(episode, side)[key][: episode.acting_steps] for episode in reader])


@pytest.mark.parametrize("side, key", [("observation", "state"), ("action", "move")])
def test_numbers_of_dimensions_are_those_of_numpy_on_all_steps(reader, data, side, key):
    values = whole(reader, side, key).reshape(237, -1).astype(np.float64)
    found = [dimension for dimension in data.dimensions if dimension.key == key]
    assert [dimension.name for dimension in found] == [f"{key}[{number}]" for number in range(values.shape[1])]
    for dimension, column in zip(found, values.T, strict=True):
        assert (dimension.count, dimension.left_out) == (237, 0)
        said = [getattr(dimension, name) for name in ("mean", "standard_deviation", "minimum", "maximum")]
        assert said == pytest.approx([column.mean(), column.std(), column.min(), column.max()], abs=1e-12)
        quantiles = [dimension.quantile_1, dimension.quantile_99]
        assert quantiles == pytest.approx(np.quantile(column, [0.01, 0.99]).tolist())


def test_clipped_is_what_lies_beyond_the_limits_as_the_recording_has_them(reader, data):
    move = whole(reader, "action", "move")
    rates = {dimension.name: dimension.clip_rate for dimension in data.dimensions}
    assert rates["move[0]"] == pytest.approx((move[:, 0] < -1).mean()) and rates["move[0]"] > 0.1
    assert rates["move[1]"] == 0.0  # 0.1 in float32 is above 0.1, and no value beyond the limit
    assert rates["state[0]"] is None


def test_constant_nearly_constant_and_few_valued_dimensions_are_flagged(data):
    reasons = {element.name: element.reason for element in data.degenerate}
    assert list(reasons) == [
        "state[3]",
        "state[4]",
        "move[1]",
        "covered",
        "mode[0]",
    ]  # the binary gripper, move[2], is not
    assert reasons["state[3]"] == "constant, always 2.5"
    assert reasons["state[4]"] == "takes 2 values only: 0, 1"
    assert reasons["covered"] == "its images are all alike"
    assert reasons["mode[0]"] == "constant, always 3"


def test_the_tokenization_report_finds_the_same_dimensions_degenerate_for_the_same_reasons(reader, data):
    grid = tokenization.Grid(mu=(100.0,), bins=(1024,), patch=(16,))
    spec = dataclasses.replace(SPEC, observation={k: m for k, m in SPEC.observation.items() if k != "grey"})
    [setting] = tokenization.measure(spec, reader, grid).settings  # a grey image has no tokens
    found = [(d.side, d.key, d.element, d.reason) for d in setting.dimensions]
    assert found == [(d.side, d.key, d.element, d.reason) for d in data.dimensions]
    assert sum(bool(reason) for *_, reason in found) == 3


def test_a_single_peak_makes_a_dimension_nearly_constant():
    spec = dataclasses.replace(SPEC, observation={"state": Continuous(shape=(2,))}, action={}, embodiment=None)
    noise = np.random.default_rng(0).normal(0, 1e-4, (2000, 2))
    noise[7] = 1000.0, 1e-3  # the second is within the noise
    peak, even = measure(Listed(spec, [episode_of(spec, {"state": noise}, {})])).dimensions
    assert peak.reason == "nearly constant: 98% of its values lie within 0.00047, all within 1e+03"
    assert not even.degenerate


def test_images_are_measured_pixel_by_pixel(reader, data):
    for camera in data.cameras:
        images = whole(reader, "observation", camera.key).astype(np.float64)
        brightness = images.mean(axis=-1)
        assert camera.images == len(images)
        assert camera.channel_means == pytest.approx(images.mean(axis=(0, 1, 2)).tolist())
        assert camera.channel_deviations == pytest.approx(images.std(axis=(0, 1, 2)).tolist())
        assert camera.brightness == tuple(np.histogram(brightness.astype(np.float32), 32, (0, 256))[0])
        contrast = brightness.std(axis=(1, 2))
        across, down = (np.abs(np.diff(brightness, axis=axis)).reshape(len(images), -1) for axis in (1, 2))
        edges = np.concatenate([across, down], axis=1).mean(axis=1)
        measures = [*images.mean(axis=(1, 2)).T, brightness.mean(axis=(1, 2)), contrast, edges]
        assert [m.name.partition(" ")[2] for m in camera.measures][-3:] == ["brightness", "contrast", "edges"]
        for measured, values in zip(camera.measures, measures, strict=True):
            assert measured.mean == pytest.approx(values.mean(), rel=1e-5)
            assert measured.standard_deviation == pytest.approx(values.std(), rel=1e-4)


def test_discrete_values_and_texts_are_counted(reader, data):
    mode, texts = whole(reader, "observation", "mode"), whole(reader, "observation", "instruction")
    counts = {element.name: element.counts for element in data.discrete}
    assert counts["mode[1]"] == tuple(np.bincount(mode[:, 1], minlength=5)) and counts["mode[0]"] == (0, 0, 0, 237, 0)
    assert counts["grip"] == tuple(np.bincount(whole(reader, "action", "grip"), minlength=2))
    [text] = data.texts
    assert text.counts == dict(zip(*np.unique(texts, return_counts=True), strict=True))
    assert text.empty == (texts == "").sum() and text.mean_characters == pytest.approx(np.mean(list(map(len, texts))))


def test_episodes_are_counted_with_their_lengths_returns_success_and_origin(reader, data):
    lengths, returns = [69, 1, 128, 39], reader.returns
    assert (data.episodes, data.steps, data.success_rate) == (4, 237, 0.5)
    for spread, values in ((data.lengths, np.array(lengths)), (data.returns, returns)):
        said = [spread.mean, spread.standard_deviation, spread.minimum, spread.maximum]
        assert said == pytest.approx([values.mean(), values.std(), values.min(), values.max()])
    assert data.provenances == {REAL: 3, MADE: 1} and data.episodes_by("licence") == {"CC-BY-NC-4.0": 3, "MIT": 1}


def test_a_sample_of_a_long_stream_is_bounded_and_fair():
    sample = Sample(1)
    values = np.arange(100_000.0)
    for part in np.array_split(values, 333):
        sample.add(part[:, None])
    rows = sample.rows[:, 0]
    assert len(rows) == len(set(rows)) == 20_000
    assert np.quantile(rows, [0.01, 0.5, 0.99]) == pytest.approx(np.quantile(values, [0.01, 0.5, 0.99]), abs=1_000)
    assert Sample(40_000).size == 100


class Listed:
    """Episodes in memory; one that is None is damaged."""

    split, fingerprint, rejected = "train", "made", (Rejection("file 9", "it is cut short"),)

    def __init__(self, spec, episodes):
        self.spec, self.episodes = spec, episodes
        self.lengths = np.array([len(episode or ()) for episode in episodes])

    def __len__(self):
        return len(self.episodes)

    def __getitem__(self, position):
        if self.episodes[position] is None:
            raise EpisodeRejected(f"episode {position}", "a byte is wrong")
        return self.episodes[position]

    def __iter__(self):
        return iter(self.episodes)


def test_damaged_episodes_are_listed_and_values_that_are_no_numbers_left_out():
    episode = made_episode(2, 40)
    state = episode.observation["state"].copy()
    state[3, 0, 0], state[4, 1, 1] = np.nan, np.inf
    broken = dataclasses.replace(episode, observation={**episode.observation, "state": state})
    data = measure(Listed(SPEC, [None, broken]))
    assert data.rejected == (*Listed.rejected, Rejection("episode 0", "a byte is wrong"))
    assert (data.dimensions[0].count, data.dimensions[0].left_out, data.episodes) == (37, 2, 1)
    kept = np.delete(state[:39], [3, 4], axis=0)
    assert data.dimensions[0].mean == pytest.approx(kept[:, 0, 0].mean(dtype=np.float64))
    state[:, 0, 0] = np.nan
    with pytest.raises(ReportError, match="made/arm: no step of observation 'state' has finite values only. Correct"):
        measure(Listed(SPEC, [broken]))
    with pytest.raises(ReportError, match=r"2 episodes were rejected \(the first: file 9: it is cut short\)\. Record"):
        measure(Listed(SPEC, [None]))
    with pytest.raises(
        ReportError, match="the return of episode 0 is nan, expected a finite number. Correct its rewards"
    ):
        measure(Listed(SPEC, [dataclasses.replace(episode, reward=np.full(40, np.nan, np.float32))]))


def test_a_planted_shift_is_found_and_ranked_first(reader, data, tmp_path):
    shifted = made_dataset(tmp_path / "other", shift=5.0)
    comparison = compare(data, measure(shifted))
    first, second = comparison.differences[:2]
    ours, theirs = (whole(each, "observation", "state")[:, 0, 1] for each in (reader, shifted))
    assert (first.side, first.name, first.kind) == ("observation", "state[1]", "continuous")
    assert first.distance == pytest.approx(scipy.stats.ks_2samp(ours, theirs).statistic) and first.distance > 0.7
    apart = np.mean(theirs, dtype=np.float64) - np.mean(ours, dtype=np.float64)
    assert first.mean_difference == pytest.approx(apart / np.sqrt((np.var(ours) + np.var(theirs)) / 2), rel=1e-5)
    assert second.distance == 0.0  # all else is drawn from the same seeds
    assert not comparison.only_first and not comparison.only_second and not comparison.warnings


def test_darker_images_and_what_only_one_has_are_found(data, tmp_path):
    spec = dataclasses.replace(SPEC, observation={**SPEC.observation, "grip force": Continuous(shape=())})
    episodes = []
    for seed, steps in enumerate(LENGTHS):
        episode = made_episode(seed, steps, darker=100)
        force = {"grip force": np.ones(steps)}
        episodes.append(dataclasses.replace(episode, observation={**episode.observation, **force}))
    comparison = compare(data, measure(Listed(spec, episodes)))
    assert {d.name for d in comparison.differences[:6]} == {
        f"camera {name}" for name in ("red", "green", "blue", "brightness", "contrast", "edges")
    }
    assert comparison.only_second == ("observation grip force[0]",) and not comparison.only_first
    told = "warning: the tasks have different keys: only the second has observation grip force"
    lines = comparison_table(comparison).splitlines()
    assert lines[0] == told and "camera" in lines[3]


def test_the_numbers_are_strict_json_and_the_table_fits_a_terminal(data):
    text = json.dumps([data.to_json(), compare(data, data).to_json()], allow_nan=False)
    assert {"licence": "CC-BY-NC-4.0", "episodes": 3, "commercial_use": False, "attribution": True,
            "share_alike": False} in json.loads(text)[0]["licences"]  # fmt: skip
    lines = table(data).splitlines()
    assert all(len(line) <= 100 and line.isascii() for line in lines) and "success 50.0%" in lines[-1]
    assert sum("degenerate" in line for line in lines) == 3


@pytest.fixture(scope="module")
def page(data, tmp_path_factory):
    other = dataclasses.replace(data, dataset='made/<b>&"', rejected=(Rejection("<i>", "cut & short"),))
    path = tmp_path_factory.mktemp("page") / "new" / "page.html"
    write_page(path, other, compare(data, other))
    return path


def test_the_page_is_self_contained_and_says_what_was_found(page, data):
    text = page.read_text()
    parsed = Page(text)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert "<script" not in text and not re.search(r"https?://|@import|url\(", text)
    words = " ".join(" ".join(parsed.words).split())
    assert "no difference was found" in words and "<i>: cut & short" in words and "constant, always 2.5" in words
    for name in ("state[0]", "camera contrast", "mode[1]", "instruction", "a laboratory", "CC-BY-NC-4.0"):
        assert name in words


def test_a_page_of_one_dataset_has_no_differences(data, tmp_path):
    write_page(tmp_path / "page.html", data)
    text = (tmp_path / "page.html").read_text()
    assert (
        'id="differences"' not in text
        and "3 of 9 continuous dimensions, 1 of 3 cameras and 1 of 3 discrete elements are degenerate" in text
    )


def test_two_tasks_are_not_compared_without_a_warning(data, tmp_path):
    spec = TaskSpec(suite="made", task="hand", observation={"state": SPEC.observation["state"]}, action={})
    state = {"state": made_episode(0, 70).observation["state"]}
    other = measure(Listed(spec, [episode_of(spec, state, {})]))
    comparison = compare(data, other)
    told, keys = comparison.warnings
    assert told.startswith("made/arm and made/hand are different tasks")
    assert keys.startswith("the tasks have different keys: only the first has action move, observation camera")
    assert comparison_table(comparison).startswith(f"warning: {told}\nwarning: {keys}\n")
    write_page(tmp_path / "page.html", data, comparison)
    assert told in (tmp_path / "page.html").read_text() and keys in (tmp_path / "page.html").read_text()
    assert comparison.to_json()["warnings"] == (told, keys)


def test_where_no_reward_was_recorded_there_is_no_return(reader, data, tmp_path):
    silent = [dataclasses.replace(episode, reward=np.zeros_like(episode.reward)) for episode in reader]
    unrewarded = measure(Listed(SPEC, silent))
    assert not unrewarded.rewarded and data.rewarded and ", return " in table(data)
    assert "4 episodes, 237 steps, no rewards" in table(unrewarded) and "return" not in table(unrewarded)
    write_page(tmp_path / "page.html", unrewarded)
    text = (tmp_path / "page.html").read_text()
    assert "no rewards" in text and '<th scope="row">return</th>' not in text
    names = [d.name for d in compare(unrewarded, unrewarded).differences]
    assert "lengths" in names and "returns" not in names
    assert "returns" in [d.name for d in compare(data, unrewarded).differences]


def test_numbers_and_nouns_agree(data):
    longer = Spread.from_values((data.lengths.values + 1000).tolist())
    comparison = compare(data, dataclasses.replace(data, lengths=longer))
    assert headline(data, comparison) == "made/arm: the lengths differ most, a distance of 1.00"
    assert "made/arm: 1 episode, 1 step, " in table(dataclasses.replace(data, episodes=1, steps=1))


@pytest.mark.needs_chromium
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_fits_its_width_and_asks_for_nothing(page, width):
    with Browser() as browser:
        browser.open(page, width, "light")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert {url for url in browser.requested if not url.startswith("data:")} <= {page.as_uri()}
