"""The page of a played task as a browser shows it, on a desktop and on a phone: keys reach the environment."""

from __future__ import annotations

import pytest

from tests.reports.chromium import CHROMIUM, Browser
from tests.web.play_client import playing

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium"),
]

TASK = "babyai/GoToLocal-v0"
UNTIL = "new Promise(done => {{ const look = () => {} ? done() : setTimeout(look, 20); look() }})"


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


def until(browser, condition: str) -> None:
    browser.evaluate(UNTIL.format(condition))


def press(browser, key: str) -> None:
    for what in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=what, key=key)


def click(browser, element: str) -> None:
    browser.evaluate(f"document.querySelector({element!r}).scrollIntoView({{block: 'center'}})")
    browser.evaluate(
        "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done())))"
    )  # it has scrolled
    box = browser.evaluate(f"document.querySelector({element!r}).getBoundingClientRect().toJSON()")
    place = {"x": box["x"] + box["width"] / 2, "y": box["y"] + box["height"] / 2}
    for what in ("mousePressed", "mouseReleased"):
        browser.call("Input.dispatchMouseEvent", type=what, button="left", clickCount=1, **place)


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_keys_and_buttons_reach_the_environment(browser, tmp_path, width, scheme):
    with playing(TASK, output=tmp_path, expert=True) as (session, address):
        browser.requested.clear()
        browser.visit(f"{address}/", width, scheme)
        until(browser, "scene?.status == 'ready' && canvas.width > 50 && shownHints")
        assert browser.evaluate("document.documentElement.scrollWidth <= innerWidth")
        press(browser, "ArrowLeft")
        until(browser, "$('step').textContent.startsWith('1')")
        assert session.scene.action == "left"
        click(browser, "[data-key=ArrowUp]")  # as a finger does on a phone
        until(browser, "scene.step == 2")
        assert session.scene.action == "forward"
        click(browser, "#keep")
        until(browser, "scene.keeps")
        assert browser.evaluate("document.activeElement == canvas")  # so that the space bar is for the task
        press(browser, "Escape")
        until(browser, "scene.status == 'paused' && $('start').textContent == 'Start'")
        press(browser, " ")
        browser.evaluate("$('player').value = 'expert'; $('player').onchange({target: $('player')})")
        click(browser, "[data-do=again]")
        until(browser, "scene.player == 'expert' && scene.status == 'ready' && scene.step == 0")
        until(browser, "$('status').textContent == 'ready: press Start' && !$('start').disabled")
        click(browser, "#start")
        until(browser, "scene.status == 'ended' && scene.success")
        click(browser, "#keep")
        until(browser, "$('kept').textContent == '1 of expert' && $('keep').disabled")
        pixels = (
            "[...pen.getImageData(0, 0, canvas.width, canvas.height).data].some(value => value > 60 && value < 255)"
        )
        assert browser.evaluate(pixels)
        assert all(url.startswith((address, "data:", "blob:", "about:")) for url in browser.requested)
