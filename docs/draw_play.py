"""Draws docs/play.png: the page of `gato play` in a headless Chromium, after the first seconds of a game.

python -m docs.draw_play
"""

from __future__ import annotations

import io
import pathlib

from PIL import Image

from tests.reports.chromium import Browser
from tests.web.play_client import playing
from tests.web.test_play_in_chromium import press, until

TASK, STEPS = "atari/ms_pacman", 120


def main():
    """Draw the picture."""
    folder = pathlib.Path(__file__).parent
    with Browser() as browser, playing(TASK, output=pathlib.Path("demos"), fps=0.0) as (session, address):
        browser.visit(f"{address}/", 1180, "light")
        until(browser, "scene?.status == 'ready' && canvas.width > 50 && shownHints")
        for step in range(STEPS):
            browser.evaluate("document.querySelector('[data-do=step]').click()")
            until(browser, f"scene.step > {step}")
            press(browser, "ArrowLeft" if step < STEPS // 2 else "ArrowUp")  # for the next step
        browser.evaluate("new Promise(done => setTimeout(done, 500))")  # the newest picture
        with Image.open(io.BytesIO(browser.screenshot())) as picture:
            picture.convert("RGB").quantize(64).save(folder / "play.png", optimize=True)


if __name__ == "__main__":
    main()
