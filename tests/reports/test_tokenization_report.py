"""What the tokenization report measures, against numbers that come from elsewhere, and its page."""

import dataclasses
import json
import math
import re

import numpy as np
import pytest

from gato_jax.episodes import Continuous, Discrete, Image, TaskSpec
from gato_jax.reports.plots import Series, line_chart
from gato_jax.reports.run import ReportError
from gato_jax.reports.tokenization import Grid, measure, table, write_page
from gato_jax.tokenization import Layout, TokenizationError
from tests.reports.chromium import Browser
from tests.reports.test_report_page import Page
from tests.tokenization.made_tasks import CONTROL, GAME, GRID, ROBOT, episode_of, random_episode

PAPER = Grid(mu=(100.0,), bins=(1024,), patch=(16,))
STATE = TaskSpec(
    suite="made", task="state", observation={"state": Continuous(shape=(2,))},
    action={"move": Continuous(shape=(), low=-2.0, high=2.0)},
)  # fmt: skip
SETTING_KEYS = {
    "mu", "m", "bins", "patch", "mean_abs_error", "max_abs_error", "clip_rate", "bins_used", "tokens_per_step",
    "max_tokens_per_step", "context_share", "max_observation_tokens", "exceeds_local_positions", "dimensions",
}  # fmt: skip
DIMENSION_KEYS = {
    "side", "key", "element", "mean_abs_error", "max_abs_error", "clip_rate", "bins_used", "bins_used_share", "minimum",
    "maximum", "standard_deviation", "degenerate", "reason", "unresolved",
}  # fmt: skip


def state_episode(state, move):
    return episode_of(STATE, {"state": np.array(state, np.float64)}, {"move": np.array(move, np.float64)})


def only_setting(episode, grid=PAPER):
    [setting] = measure(STATE, [episode], grid).settings
    return setting


def read_back(x, mu, m, bins):
    """A companded value through its bin, written from the formula, one float at a time."""
    unit = math.copysign(math.log(abs(x) * mu + 1) / math.log(m * mu + 1), x)
    number = min(math.floor((min(max(unit, -1), 1) + 1) / 2 * bins), bins - 1)
    centre = (2 * number + 1) / bins - 1
    return math.copysign(((m * mu + 1) ** abs(centre) - 1) / mu, centre)


@pytest.mark.parametrize(("mu", "m", "bins"), [(100.0, 256.0, 1024), (50.0, 256.0, 512), (255.0, 1.0, 64)])
def test_errors_of_a_few_values_are_those_of_the_formula(mu, m, bins):
    state = [[0.0, 0.3], [-1.7, 12.5], [0.004, -300.0]]
    move = [0.77, -1.9, 2.5]
    setting = only_setting(state_episode(state, move), Grid(mu=(mu,), m=(m,), bins=(bins,), patch=(16,)))
    errors = [[abs(read_back(x, mu, m, bins) - x) for x in column] for column in zip(*state, strict=True)]
    width = 4 / bins
    errors.append([abs((min(math.floor((x + 2) / width), bins - 1) + 0.5) * width - 2 - x) for x in move])
    for dimension, error, largest in zip(setting.dimensions, errors, [1.7, 300.0, 2.5], strict=True):
        rounding = largest * 2**-24  # values are read back in float32
        assert dimension.mean_abs_error == pytest.approx(np.mean(error), rel=1e-6, abs=rounding)
        assert dimension.max_abs_error == pytest.approx(np.max(error), rel=1e-6, abs=rounding)
    assert setting.mean_abs_error == pytest.approx(np.mean(errors), rel=1e-6, abs=300 * 2**-24)
    assert setting.max_abs_error == pytest.approx(np.max(errors), rel=1e-6, abs=300 * 2**-24)


def test_clip_rate_is_the_share_beyond_m_and_beyond_the_limits_of_an_action():
    state = [[1.0, 257.0], [2.0, -257.0], [255.0, 0.5], [-255.0, 0.5]]
    setting = only_setting(state_episode(state, [1.9, 2.1, 2.2, -2.1]))
    assert [dimension.clip_rate for dimension in setting.dimensions] == [0.0, 0.5, 0.75]
    assert setting.clip_rate == pytest.approx(5 / 12)


def test_bins_used_are_counted_for_each_dimension_and_for_all_together():
    setting = only_setting(state_episode([[0.0, 0.0], [0.0, 5.0], [0.0, 5.0]], [-1.0, 0.0, 1.0]))
    assert [dimension.bins_used for dimension in setting.dimensions] == [1, 2, 3]
    assert setting.dimensions[1].bins_used_share == 2 / 1024
    assert setting.bins_used == 4 / 1024  # 0 of states and of moves is the same bin
    assert [sum(dimension.histogram) for dimension in setting.dimensions] == [3, 3, 3]


def test_statistics_are_those_of_numpy_however_far_from_zero():
    state = np.random.default_rng(0).normal(size=(500, 2)) * [1.0, 1e-3] + [0.0, 1e6]
    episodes = [state_episode(part, np.zeros(len(part))) for part in np.split(state, [3, 3 + 120])]
    [setting] = measure(STATE, episodes, PAPER).settings
    for dimension, column in zip(setting.dimensions, state.T, strict=False):
        assert (dimension.minimum, dimension.maximum) == (column.min(), column.max())
        assert dimension.standard_deviation == pytest.approx(column.std(), rel=1e-6)


@pytest.mark.parametrize(
    ("values", "reason", "unresolved"),
    [
        ([0.5, 0.5, 0.5], "constant, always 0.5", ""),
        ([50.0, 50.01, 50.04], "varies by 0.04, at most 0.001 of its magnitude", ""),
        ([50.0, 50.02, 50.06], "", "all values in one bin"),
        ([-1e-5, 1e-6, 1e-5], "", "varies by 2e-05, less than the bins are wide there"),
        ([300.0, 400.0, 500.0], "", "all values in one bin"),
        ([0.5, 0.6, 0.7], "", ""),
    ],
)
def test_degenerate_and_unresolved_dimensions_are_told_apart(values, reason, unresolved):
    setting = only_setting(state_episode([[x, y] for x, y in zip(values, [-1.0, 0.0, 1.0], strict=True)], values))
    first, second, _ = setting.dimensions
    assert (first.degenerate, first.reason, first.unresolved) == (bool(reason), reason, unresolved)
    assert not second.degenerate and second.reason == second.unresolved == ""


def test_an_action_that_varies_by_a_thousandth_of_its_limits_is_degenerate():
    setting = only_setting(state_episode([[0.0, 1.0], [1.0, 0.0]], [0.1, 0.1039]))
    assert setting.dimensions[2].reason == "varies by 0.0039, at most 0.001 of its limits"


def test_the_formula_of_the_article_clips_every_value_beyond_1_and_that_of_the_paper_none_up_to_256():
    state = [[0.5, 1.5], [0.9, -30.0], [-0.2, 250.0]]
    report = measure(STATE, [state_episode(state, [0.0, 1.0, 2.0])], PAPER)
    assert [d.clip_rate for d in report.settings[0].dimensions] == [0.0, 0.0, 0.0]
    assert report.article_settings[0].m == 1
    assert [d.clip_rate for d in report.article_settings[0].dimensions] == [0.0, 1.0, 0.0]
    beyond = [cell for cell in report.sweep if cell.low >= 1]
    assert {cell.clip_rate for cell in beyond if cell.formula == "article"} == {1.0}
    assert {cell.clip_rate for cell in report.sweep if cell.formula == "paper" or cell.high <= 1} == {0.0}
    for cell in beyond:  # what is clipped becomes the last bin's centre, just below 1
        assert cell.formula == "paper" or cell.max_abs_error == pytest.approx(cell.high - 1, rel=0.02)


def test_below_1_the_article_is_finer_by_the_ratio_of_the_logarithms():
    paper, article = (
        next(c for c in measure(STATE, [state_episode([[0, 1]], [0])], PAPER).sweep if (c.formula, c.low) == (f, 0.1))
        for f in ("paper", "article")
    )
    expected = math.log(100 * 256 + 1) / math.log(101)
    assert paper.mean_abs_error / article.mean_abs_error == pytest.approx(expected, rel=0.1)


def test_several_episodes_are_as_one():
    whole = random_episode(CONTROL, seed=0, steps=60)
    at = [0, 1, 17, 60]
    parts = [
        episode_of(
            CONTROL,
            {key: values[a:b] for key, values in whole.observation.items()},
            {key: values[a:b] for key, values in whole.action.items()},
        )
        for a, b in zip(at[:-1], at[1:], strict=True)
    ]
    one, several = measure(CONTROL, [whole], Grid()).to_json(), measure(CONTROL, iter(parts), Grid()).to_json()
    assert (one.pop("episodes"), several.pop("episodes")) == (1, 3)
    for key in ("settings", "article_settings"):
        for a, b in zip(one.pop(key), several.pop(key), strict=True):
            for left, right in [(a, b), *zip(a.pop("dimensions"), b.pop("dimensions"), strict=True)]:
                numbers = [k for k, v in left.items() if isinstance(v, float)]
                assert [left.pop(k) for k in numbers] == pytest.approx([right.pop(k) for k in numbers], rel=1e-12)
            assert a == b
    assert one == several


def test_only_steps_that_act_count():
    episode = random_episode(CONTROL, seed=0, steps=9, final_observation=True)
    assert measure(CONTROL, [episode], PAPER).steps == 8
    with pytest.raises(ReportError, match="no action was taken in 1 episodes"):
        measure(CONTROL, [random_episode(CONTROL, seed=0, steps=1, final_observation=True)], PAPER)


@pytest.mark.parametrize("spec", [CONTROL, GRID, GAME, ROBOT], ids=lambda spec: spec.task)
def test_the_json_is_strict_and_has_every_setting(spec):
    report = measure(spec, [random_episode(spec, seed=s, steps=5) for s in range(2)], Grid(), context=512)
    found = json.loads(json.dumps(report.to_json(), allow_nan=False))
    assert (found["dataset"], found["episodes"], found["steps"], found["context"]) == (spec.name, 2, 10, 512)
    for name, m in (("settings", 256), ("article_settings", 1)):
        combinations = [(s["mu"], s["m"], s["bins"], s["patch"]) for s in found[name]]
        expected = {(mu, m, bins, p) for mu in (50, 100, 255) for bins in (512, 1024, 2048) for p in (8, 16)}
        assert len(combinations) == 18 and set(combinations) == expected
        assert all(set(s) == SETTING_KEYS and set(d) == DIMENSION_KEYS for s in found[name] for d in s["dimensions"])
    assert len(found["sweep"]) == 2 * 3 * 3 * 6
    assert found["sweep"][0]["decade"] == [0.001, 0.01]
    assert found["sweep"][-1]["decade"] == [100, 256]


@pytest.mark.parametrize("spec", [CONTROL, GRID, GAME, ROBOT], ids=lambda spec: spec.task)
def test_tokens_of_a_step_are_those_of_the_layout(spec):
    episodes = [random_episode(spec, seed=s, steps=6) for s in range(3)]
    for setting in measure(spec, episodes, Grid(mu=(100.0,), bins=(1024,)), context=100).settings:
        layout = Layout(spec, setting.tokenization)
        sequences = [layout.encode(episode) for episode in episodes]
        lengths = [np.diff([*np.flatnonzero(s.local_position == 0), len(s)]) for s in sequences]
        assert setting.tokens_per_step == pytest.approx(np.mean(lengths))
        assert setting.max_tokens_per_step == np.max(lengths)
        assert setting.context_share == pytest.approx(np.mean(lengths) / 100)
        observed = max(int(s.local_position[s.local_position < layout.action_position].max()) for s in sequences)
        assert setting.max_observation_tokens == observed + 1  # positions count from 0, the separator has the last
        assert not setting.exceeds_local_positions


def test_an_observation_beyond_the_local_positions_is_said_so_and_not_refused(tmp_path):
    spec = TaskSpec(
        suite="made", task="large", observation={"image": Image(height=200, width=200)}, action={"a": Discrete(n=3)}
    )
    report = measure(spec, [random_episode(spec, seed=0, steps=2)], Grid(mu=(100.0,), bins=(1024,)))
    assert [s.exceeds_local_positions for s in report.settings] == [True, False]
    assert [s.max_observation_tokens for s in report.settings] == [626, 170]
    write_page(report, tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text().count("observation too long") == 1


@pytest.mark.parametrize(("values", "exceeds"), [(510, False), (511, True)])
def test_an_observation_is_too_long_for_the_report_where_it_is_for_the_layout(values, exceeds):
    spec = dataclasses.replace(STATE, observation={"state": Continuous(shape=(values,))})
    episode = random_episode(spec, seed=0, steps=2)
    [setting] = measure(spec, [episode], PAPER).settings
    assert (setting.max_observation_tokens, setting.exceeds_local_positions) == (values + 1, exceeds)
    if exceeds:
        with pytest.raises(TokenizationError, match="the observation's 512 tokens exceed"):
            Layout(spec, setting.tokenization).encode(episode)
    else:
        Layout(spec, setting.tokenization).encode(episode)


def test_without_continuous_values_errors_are_null_and_the_page_says_so(tmp_path):
    report = measure(GRID, [random_episode(GRID, seed=0, steps=4)], Grid())
    for setting in report.to_json()["settings"]:
        assert [setting[key] for key in ("mean_abs_error", "max_abs_error", "clip_rate", "bins_used")] == [None] * 4
        assert setting["dimensions"] == []
    write_page(report, tmp_path / "page.html")
    assert "no continuous values" in (tmp_path / "page.html").read_text()
    assert "least error" not in table(report)


def test_discrete_keys_count_the_values_seen_and_flag_constant_ones():
    spec = dataclasses.replace(GRID, observation={"k": Discrete(n=5, shape=(2,))}, action={"a": Discrete(n=3)})
    episodes = [
        episode_of(spec, {"k": np.array([[1, 4], [1, last]])}, {"a": np.array([0, last % 3])}) for last in (0, 2)
    ]
    action, key = sorted(measure(spec, episodes, PAPER).to_json()["exact"], key=lambda key: key["key"])
    assert (key["n"], list(key["values_seen"]), list(key["constant_elements"])) == (5, [1, 3], [0])
    assert (action["n"], list(action["values_seen"]), list(action["constant_elements"])) == (3, [2], [])


@pytest.mark.parametrize(
    ("fit", "said"),
    [
        ("resize", "20 x 35 is resized to 32 x 48, 2 x 3 patches"),
        ("pad", "20 x 35 is padded by 12 rows below and 13 columns on the right, 2 x 3 patches"),
        ("crop", "20 x 35 is cropped at the centre to 16 x 32, 1 x 2 patches"),
    ],
)
def test_what_the_fit_does_to_an_image_is_said(fit, said):
    spec = dataclasses.replace(GAME, observation={"image": Image(height=20, width=35, fit=fit)})
    [image, _] = measure(spec, [random_episode(spec, seed=0, steps=1)], PAPER).exact
    assert image.fits == {16: said}


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"mu": (0.0,)}, "mu is 0.0, expected a positive number"),
        ({"m": (math.nan,)}, "m is nan"),
        ({"mu": (math.inf,)}, "mu is inf"),
        ({"bins": (1,)}, "bins is 1"),
        ({"patch": (0,)}, "patch is 0"),
        ({"bins": ()}, "bins has no value"),
        ({"mu": (50.0, 50.0)}, "mu has the value 50 twice"),
        ({"mu": (1e300,), "m": (1e300,)}, r"ln\(m mu \+ 1\) is inf, expected a positive finite number"),
    ],
)
def test_a_setting_that_cannot_be_is_refused(bad, said):
    with pytest.raises(ReportError, match=said):
        Grid(**bad)


def test_a_value_without_a_token_names_episode_step_and_key():
    good, bad = state_episode([[0.0, 1.0]], [0.0]), state_episode([[0.0, np.nan]], [0.0])
    with pytest.raises(
        TokenizationError, match="^made/state, episode 1, step 0, observation 'state': value nan"
    ) as error:
        measure(STATE, [good, bad], PAPER)
    assert error.value.step == 0
    said = random_episode(GRID, seed=0, steps=3)
    said.observation["mission"][2] = 7
    with pytest.raises(TokenizationError, match="^made/grid, episode 0, step 2, observation 'mission': text must be"):
        measure(GRID, [said], PAPER)


def test_the_table_of_the_terminal_marks_the_paper_and_the_least_error():
    lines = table(measure(CONTROL, [random_episode(CONTROL, seed=0, steps=50)], Grid())).splitlines()
    assert len(lines) == 1 + 9  # without images the patch changes nothing
    [paper] = [line for line in lines if "the paper's" in line]
    assert paper.split()[:5] == ["100", "256", "1,024", "8,", "16"]
    [best] = [line for line in lines if "least error" in line]
    assert " 2,048 " in best and all(len(line) <= 100 and line.isascii() for line in lines)


def test_a_logarithmic_horizontal_axis_has_powers_of_ten_at_even_distances():
    series = Series(name="error", x=np.array([0.01, 1.0, 100.0]), y=np.array([1.0, 2.0, 3.0]))
    chart = line_chart([series], label="error", log_x=True)
    ticks = re.findall(r'x="([\d.]+)%"[^>]*>([\d.]+)</text>', chart)
    assert ticks == [("0.00", "0.01"), ("25.00", "0.1"), ("50.00", "1"), ("75.00", "10"), ("100.00", "100")]


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Of a robot with names as awkward as they get, images of odd sizes, clipped values and a constant one."""
    wide = {"<b>&\"' " + "long_name_" * 6: Continuous(shape=(12,)), "odd": Image(height=70, width=50, fit="pad")}
    spec = dataclasses.replace(ROBOT, observation={**ROBOT.observation, **wide})
    episodes = [random_episode(spec, seed=s, steps=20) for s in range(2)]
    for episode in episodes:
        episode.observation["joints"][:] = [0.5, 1000.0, 2.0]
    report = measure(spec, episodes, Grid(m=(256.0, 16.0)))
    path = tmp_path_factory.mktemp("page") / "new" / "page.html"
    write_page(report, path)
    return path, report


def test_the_page_is_self_contained_and_holds_every_setting(page):
    path, report = page
    text = path.read_text()
    parsed = Page(text)
    assert all(address.startswith(("data:", "#")) for address in parsed.addresses)
    assert "<script" not in text and not re.search(r"https?://|@import|url\(", text)
    words = " ".join(" ".join(parsed.words).split())
    settings = text.partition('id="settings"')[2].partition("</section>")[0]
    assert len(re.findall(r"<tr[ >]", settings)) == 1 + len(report.settings) == 37
    assert settings.count(">the paper&#39;s<") == 1 and settings.count(">least error<") == 1
    assert "3 of 18 continuous dimensions are degenerate" in words and "joints[2]: constant, always 2" in words
    assert "70 x 50 is padded by 10 rows below and 14 columns on the right" in words


@pytest.mark.needs_chromium
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_fits_its_width_and_asks_for_nothing(page, width, scheme):
    path, _ = page
    with Browser() as browser:
        browser.open(path, width, scheme)
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert {url for url in browser.requested if not url.startswith("data:")} <= {path.as_uri()}
        hidden = "getComputedStyle(document.querySelector('.scroll')).overflowX"
        # Wide tables scroll in their own box; on a phone, the rows of the first one are blocks.
        assert browser.evaluate(hidden) == ("auto" if width > 700 else "visible")
        assert browser.evaluate("[...document.querySelectorAll('svg.chart path')].every(p => p.getTotalLength() > 0)")
