"""The report as a browser shows it: on a desktop and on a phone, in both colour schemes."""

from __future__ import annotations

import time

import pytest

from gato_jax.reports import write_report
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
