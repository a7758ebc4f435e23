"""Test that docs/experts.md agrees with the committed table, and that its picture is small."""

import importlib.util

import numpy as np

from tests.integration.conftest import ROOT

DOCS = ROOT / "docs"


def script(name):
    spec = importlib.util.spec_from_file_location(name, DOCS / f"{name}.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_experts_is_not_stale():
    page = script("list_experts")
    assert page.PAGE.read_text() == page.page(), "run python docs/list_experts.py"


def test_the_picture_of_experts_is_small():
    assert (DOCS / "experts.png").stat().st_size < 1_000_000


def test_a_strip_has_moments_from_first_to_last_step_and_a_score():
    drawing, task = script("draw_experts"), "babyai/GoToLocal-v0"
    score, moments = drawing.play(task)
    assert score == "success" and 2 <= len(moments) <= drawing.COLUMNS
    assert not np.array_equal(moments[0], moments[-1])
    sheet = drawing.draw_sheet([("BabyAI", task, score, moments)] * 2)
    assert sheet.width == drawing.LABEL + drawing.COLUMNS * (drawing.SIDE + drawing.GAP) + drawing.GAP


def test_a_film_of_a_long_episode_keeps_few_frames():
    drawing = script("draw_experts")

    class Counter:
        drawn = 0

        def render(self):
            self.drawn += 1
            return np.zeros((2, 2, 3), np.uint8)

    counter = Counter()
    film = drawing.Film(counter)
    for _ in range(1000):
        film.take()
    assert len(film.moments()) == drawing.COLUMNS and counter.drawn < 150
