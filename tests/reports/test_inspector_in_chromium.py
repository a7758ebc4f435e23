"""The inspector as a browser shows it: eight rows of 1,024 tokens, on a desktop and on a phone."""

from __future__ import annotations

import pytest

from gato_jax.reports import InspectedRow, inspect_row, write_inspection
from tests.reports.chromium import CHROMIUM, Browser
from tests.reports.made_rows import made_mixture, made_token

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium"),
]

CONTROL, GRID, GAME, ROBOT = range(4)  # the rows of these tasks
CENTRE = "(({x, y, width, height}) => ({x: x + width / 2, y: y + height / 2}))(%s.getBoundingClientRect())"


@pytest.fixture(scope="module")
def browser():
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def rows(tmp_path_factory) -> list[InspectedRow]:
    mixture = made_mixture(tmp_path_factory.mktemp("rows"), context=1024, steps=60, prompt_share=0.5)
    return [inspect_row(mixture, row) for row in range(8)]


@pytest.fixture(scope="module")
def page(rows, tmp_path_factory):
    return write_inspection(rows, tmp_path_factory.mktemp("page") / "page.html")


@pytest.fixture
def desktop(browser, page):
    browser.open(page, 1280, "light")
    return browser


def show_row(browser, number):
    browser.evaluate(f"document.querySelectorAll('[role=tab]')[{number}].click()")


def point(browser, element, kind="mouseMoved"):
    """Moves the mouse to the centre of an element, a JavaScript expression; or presses it there."""
    browser.evaluate(f"{element}.scrollIntoView({{block: 'center'}})")
    place = browser.evaluate(CENTRE % element)
    browser.call("Input.dispatchMouseEvent", type="mouseMoved", **place)
    if kind == "click":
        for what in ("mousePressed", "mouseReleased"):
            browser.call("Input.dispatchMouseEvent", type=what, button="left", clickCount=1, **place)


def press(browser, key):
    for what in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=what, key=key)


def card(browser) -> dict[str, str]:
    """The facts of the card, under their names; its head under `value` and `what`."""
    terms = "[...document.querySelectorAll('#card dt')]"
    facts = browser.evaluate(f"Object.fromEntries({terms}.map(t => [t.textContent, t.nextSibling.textContent]))")
    head = "document.querySelector('#card .%s')?.textContent ?? ''"
    return facts | {name: browser.evaluate(head % name) for name in ("value", "what")}


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_the_page_fits_its_width_and_asks_for_nothing(browser, page, rows, tmp_path, width, scheme):
    browser.requested.clear()
    browser.open(page, width, scheme)
    for number in range(len(rows)):
        show_row(browser, number)
        browser.evaluate("choose(40)")
        assert browser.evaluate("document.documentElement.scrollWidth") <= width
        assert browser.evaluate("document.querySelectorAll('.c').length") == len(rows[number].tokens)
        height = min(browser.call("Page.getLayoutMetrics")["cssContentSize"]["height"], 2000)
        picture = browser.screenshot({"x": 0, "y": 0, "width": width, "height": height})
        (tmp_path / f"row_{number}_{width}_{scheme}.png").write_bytes(picture)
        assert len(picture) > 20_000
    assert {url for url in browser.requested if not url.startswith("data:")} <= {page.as_uri()}


def test_it_opens_filters_and_changes_rows_at_once(desktop, rows):
    assert desktop.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd") < 4000

    def seconds(action):
        start, end = "const start = performance.now()", "return (performance.now() - start) / 1000"
        return desktop.evaluate(f"(() => {{ {start}; {action}; document.body.offsetHeight; {end} }})()")

    for number in range(len(rows)):
        assert seconds(f"document.querySelectorAll('[role=tab]')[{number}].click()") < 2
        assert seconds("document.querySelector('#kinds button:not([hidden])').click()") < 2
        assert seconds("hover(cells.length - 1)") < 0.5


@pytest.mark.parametrize("number", [CONTROL, GRID, ROBOT])
def test_a_click_shows_what_the_token_is(desktop, rows, number):
    show_row(desktop, number)
    for token in rows[number].tokens[5:1000:97]:
        point(desktop, f"cells[{token.position}]", "click")
        facts = card(desktop)
        assert facts["id"] == str(token.id) and facts["position"] == str(token.position)
        assert facts["in the loss"] == ("yes" if token.in_loss else "no")
        assert facts["prompt"] == ("yes" if token.prompt else "no")
        assert (facts["episode"], facts["step"]) == (str(token.episode), str(token.step))
        assert (facts["local position"], facts["segment"]) == (str(token.local_position), str(token.segment))
        assert facts.get("valid ids") == (f"{token.valid[0]} to {token.valid[1] - 1}" if token.valid else None)
        assert token.kind in facts["what"]
        if token.key:
            assert f"{token.side} {token.key}[{token.element}]" in facts["what"]
        if token.kind == "continuous":
            assert float(facts["value"]) == pytest.approx(token.value, rel=1e-5)
        elif token.kind in ("text", "discrete"):
            assert facts["value"] == str(token.value)


def test_what_is_pointed_at_gives_way_to_what_was_chosen(desktop):
    show_row(desktop, CONTROL)
    point(desktop, "cells[20]", "click")
    point(desktop, "cells[23]")
    assert card(desktop)["position"] == "23"
    point(desktop, "document.querySelector('h1')")
    assert card(desktop)["position"] == "20"


def test_the_arrow_keys_walk_over_what_the_filters_leave(desktop, rows):
    show_row(desktop, CONTROL)
    targets = [token.position for token in rows[CONTROL].tokens if token.in_loss]
    desktop.evaluate("document.querySelector('[data-mask=loss]').click()")
    point(desktop, f"cells[{targets[0]}]", "click")
    for target in targets[1:6]:
        press(desktop, "ArrowRight")
        assert card(desktop)["position"] == str(target)
    press(desktop, "ArrowLeft")
    assert card(desktop)["position"] == str(targets[4])
    press(desktop, "Escape")
    assert desktop.evaluate("state.chosen") is None and "Point at a token" in desktop.evaluate("card.textContent")


def test_up_and_down_keep_the_place_within_the_timestep(desktop, rows):
    show_row(desktop, CONTROL)
    start = next(token for token in rows[CONTROL].tokens if token.position > 20 and token.element == 1)
    point(desktop, f"cells[{start.position}]", "click")
    press(desktop, "ArrowDown")
    below = rows[CONTROL].tokens[int(card(desktop)["position"])]
    assert (below.key, below.element, below.step) == (start.key, 1, start.step + 1)


def dimmed(browser) -> set[int]:
    shown = "[...document.querySelectorAll('.c')].filter(c => getComputedStyle(c).opacity < 1).map(c => +c.dataset.i)"
    return set(browser.evaluate(shown))


def test_filters_dim_what_they_name(desktop, rows):
    number = next(n for n, row in enumerate(rows) if row.images and any(token.prompt for token in row.tokens))
    show_row(desktop, number)
    tokens = rows[number].tokens
    assert dimmed(desktop) == set()
    for kind in ("image patch", "separator"):
        button = f"[...document.querySelectorAll('#kinds button')].find(b => b.textContent.startsWith('{kind}'))"
        desktop.evaluate(f"{button}.click()")
        assert dimmed(desktop) == {token.position for token in tokens if token.kind == kind}
        assert desktop.evaluate(f"{button}.getAttribute('aria-pressed')") == "false"
        desktop.evaluate(f"{button}.click()")
    for mask, left in (("loss", "in_loss"), ("prompt", "prompt")):
        desktop.evaluate(f"document.querySelector('[data-mask={mask}]').click()")
        assert dimmed(desktop) == {token.position for token in tokens if not getattr(token, left)}
    desktop.evaluate("document.querySelector('[data-mask=all]').click()")
    assert dimmed(desktop) == set()


@pytest.mark.parametrize("width", [1280, 360])
def test_a_jump_brings_the_timestep_into_view(browser, page, rows, width):
    browser.open(page, width, "light")
    show_row(browser, GAME)
    wanted = rows[GAME].tokens[700]
    browser.evaluate(
        f"jump.value = [...jump.options].find(o => o.text == '{wanted.episode}:{wanted.step}').value,"
        "jump.dispatchEvent(new Event('change'))"
    )
    facts = card(browser)
    assert (facts["episode"], facts["step"]) == (str(wanted.episode), str(wanted.step))
    place = browser.evaluate(CENTRE % "cells[state.chosen]")
    top, bottom = 0, 900
    if width > 1000:  # the filters stay above
        top = browser.evaluate("document.querySelector('.tools').getBoundingClientRect().bottom")
    else:  # and the card below
        bottom = browser.evaluate("card.getBoundingClientRect().top")
    assert top < place["y"] < bottom and browser.evaluate("scrollY") > 500


def test_a_patch_and_its_place_in_the_image_point_at_each_other(desktop, rows):
    show_row(desktop, GAME)
    image = next(image for image in rows[GAME].images if None not in image.positions and image.positions[0] > 30)
    position = image.positions[7]  # of five rows with four columns: the second row, the last column
    point(desktop, f"cells[{position}]")
    figure = f"figures[tileOf.get({position})[0]]"
    box = "(({left, top, right, bottom}) => [left, top, right, bottom])(%s.getBoundingClientRect())"
    mark = desktop.evaluate(box % f"{figure}.querySelector('i')")
    left, top, right, bottom = desktop.evaluate(box % f"{figure}.firstChild")
    size = [right - left, bottom - top] * 2
    place = [(at - start) / length for at, start, length in zip(mark, [left, top] * 2, size, strict=True)]
    assert place == pytest.approx([0.75, 0.2, 1.0, 0.4], abs=0.02)
    point(desktop, f"{figure}.querySelector('i')", "click")  # the outline lets the pointer through to the image
    assert card(desktop)["position"] == str(position)


def test_a_tap_on_a_phone_opens_the_card_and_walks_on(browser, page):
    browser.open(page, 360, "light")
    assert browser.evaluate("getComputedStyle(card).display") == "none"
    browser.call("Emulation.setTouchEmulationEnabled", enabled=True)
    browser.evaluate("cells[8].scrollIntoView({block: 'center'})")
    place = browser.evaluate(CENTRE % "cells[8]")
    browser.call("Input.dispatchTouchEvent", type="touchStart", touchPoints=[place])
    browser.call("Input.dispatchTouchEvent", type="touchEnd", touchPoints=[])
    browser.evaluate("new Promise(done => setTimeout(done, 400))")
    browser.call("Emulation.setTouchEmulationEnabled", enabled=False)
    assert card(browser)["position"] == "8" and browser.evaluate("getComputedStyle(card).position") == "fixed"
    browser.evaluate("document.querySelector('#card [data-by=\"1\"]').click()")
    assert card(browser)["position"] == "9"


def test_padding_is_one_block(browser, tmp_path):
    tokens = tuple(made_token(position=i) for i in range(400))
    browser.open(
        write_inspection([InspectedRow(row=3, dataset="made/text", context=1000, tokens=tokens)], tmp_path / "p.html"),
        1280,
        "light",
    )
    assert browser.evaluate("[...document.querySelectorAll('.padding')].map(p => p.textContent)") == [
        "padding: 600 positions, 400 to 999 (60% of the row)"
    ]
    assert browser.evaluate("document.querySelectorAll('.c').length") == 400


def test_a_text_is_shown_as_text_whatever_it_says(browser, tmp_path):
    nasty = "</script><b>bold</b>"
    row = InspectedRow(row=0, dataset=nasty, context=4, tokens=(made_token(value=nasty, key="<i>key</i>"),))
    browser.open(write_inspection([row], tmp_path / "p.html"), 1280, "light")
    point(browser, "cells[0]", "click")
    assert browser.evaluate("cells[0].textContent") == nasty == card(browser)["value"]
    assert "<i>key</i>[0]" in card(browser)["what"]
    assert browser.evaluate("document.querySelectorAll('main b b, .c b, h2 b, h2 i').length") == 0


def test_a_token_that_predicts_another_says_which(browser, tmp_path):
    token = made_token(kind="image code", side="observation", value=None, id=33100, target_id=33217, valid=None)
    row = InspectedRow(row=0, dataset="made/codes", context=1, tokens=(token,))
    browser.open(write_inspection([row], tmp_path / "p.html"), 1280, "light")
    point(browser, "cells[0]", "click")
    assert (card(browser)["id"], card(browser)["target id"]) == ("33100", "33217")
    assert browser.evaluate("document.querySelectorAll('.padding').length") == 0


def test_an_address_opens_at_its_token(desktop, page):
    show_row(desktop, ROBOT)
    point(desktop, "cells[300]", "click")
    address = desktop.evaluate("location.href")
    desktop.call("Page.navigate", url="about:blank")
    desktop.call("Page.navigate", url=address)
    desktop.evaluate("new Promise(done => document.readyState == 'complete' ? done() : onload = done)")
    assert card(desktop)["position"] == "300" and desktop.evaluate("row.dataset") == "made/robot"
