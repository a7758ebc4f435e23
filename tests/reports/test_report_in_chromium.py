"""The report as a browser shows it: on a desktop and on a phone, in both colour schemes."""

from __future__ import annotations

import json
import time

import pytest

from gato_jax.reports import write_comparison, write_report
from tests.reports.chromium import CHROMIUM, Browser

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_the_page_fits_its_width_and_asks_for_nothing(browser, made_run, tmp_path, width, scheme):
    browser.requested.clear()
    page = write_report(made_run)
    browser.open(page, width, scheme)
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")
    assert {url for url in browser.requested if not url.startswith("data:")} <= {page.as_uri()}
    size = browser.call("Page.getLayoutMetrics")["cssContentSize"]
    picture = browser.screenshot({"x": 0, "y": 0, "width": width, "height": size["height"]})
    (tmp_path / f"report_{width}_{scheme}.png").write_bytes(picture)
    assert len(picture) > 20_000


def test_a_comparison_fits_its_width_and_asks_for_nothing(browser, made_run, own_run, tmp_path):
    browser.requested.clear()
    page = write_comparison([made_run, own_run], tmp_path / "comparison.html")
    for width in (1280, 390):
        browser.open(page, width, "light")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        overflows = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
        assert browser.evaluate(overflows) == 0
    assert {url for url in browser.requested if not url.startswith("data:")} <= {page.as_uri()}


def test_a_wide_data_table_fits_and_names_break_at_slashes_only(browser, own_run):
    rows = json.loads((own_run / "data.json").read_text())
    rows[0] |= {
        "dataset": "atari_extended/a-very-long-name-of-a-task-v5/with-a-long-variant-too",
        "source": "; ".join(f"https://example.org/recordings/of-robot-{i}/episodes.parquet" for i in range(9)),
        "licence": "CC-BY-NC-SA-4.0; MIT; a licence of our own that has a long name", "agent": "x" * 200,
        "episodes": 123_456_789, "steps": 1_234_567_890, "kind": "real; simulated; synthetic",
    }  # fmt: skip
    (own_run / "data.json").write_text(json.dumps(rows))
    page = write_report(own_run)
    for width in (1280, 390):
        browser.open(page, width, "light")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        overflows = "[...document.querySelectorAll('.scroll')].filter(box => box.scrollWidth > box.clientWidth).length"
        assert browser.evaluate(overflows) == 0
        lines = "[...document.querySelectorAll('.scores .name > *')].map(part => part.getClientRects().length)"
        assert set(browser.evaluate(lines)) == {1}
        tall = "[...document.querySelectorAll('.scores .name > *')].map(part => part.offsetHeight)"
        assert max(browser.evaluate(tall)) < 30  # one line each


def test_labels_at_the_ends_of_curves_are_there_on_a_desktop_and_the_legend_on_a_phone(browser, made_run):
    page = write_report(made_run)
    shown = "[...document.querySelectorAll('#training {}')].filter(e => e.getClientRects().length).length"
    for width, labels, entries in ((1280, 8, 0), (390, 0, 8)):
        browser.open(page, width, "light")
        assert browser.evaluate(shown.format(".end")) == labels
        assert browser.evaluate(shown.format(".legend > li")) == entries
    browser.open(page, 1280, "light")
    right = "Math.max(...[...document.querySelectorAll('.end')].map(e => e.getBoundingClientRect().right))"
    assert browser.evaluate(right) <= 1180


def test_the_animations_play(browser, made_run):
    browser.open(write_report(made_run), 1280, "light")
    browser.evaluate("document.querySelector('.card img').scrollIntoView()")
    box = browser.evaluate(
        "(({x, y, width, height}) => ({x, y: y + scrollY, width, height}))"
        "(document.querySelector('.card img').getBoundingClientRect())"
    )
    pictures = set()
    for _ in range(20):
        pictures.add(browser.screenshot(box))
        time.sleep(0.1)
        if len(pictures) >= 3:
            break
    assert len(pictures) >= 3
