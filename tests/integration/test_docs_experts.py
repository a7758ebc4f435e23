"""Test that docs/experts.md agrees with the committed table, and that its picture is small."""

import dataclasses
import importlib.util

import numpy as np

from experiments import expert_goals
from gato_jax.environments import paper
from gato_jax.evaluation import Score
from gato_jax.experts import description
from tests.evaluation.made_references import made_references
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


def row_of(table, title, goal):
    [row] = [line for line in expert_goals.goals_table(table) if title in line and goal in line]
    return [int(cell) for cell in row.split("|")[3:6]]


def test_goals_count_the_scores_of_present_experts():
    level = next(iter(paper.DOMAINS["babyai"].tasks))
    reached = made_references(
        task=level,
        expert_agent=description(level),
        expert=Score(mean=0.5, std=0.0, episodes=20, measures={"success": 1.0}),
    )
    assert row_of({level: reached}, "BabyAI", "95%") == [1, 1, 46]
    failed = dataclasses.replace(reached, expert=Score(mean=0.5, std=0.0, episodes=20, measures={"success": 0.9}))
    assert row_of({level: failed}, "BabyAI", "95%") == [0, 1, 46]
    earlier = dataclasses.replace(reached, expert_agent="an earlier expert")
    assert row_of({level: earlier}, "BabyAI", "95%") == [0, 0, 46]


def test_a_body_moves_as_far_as_several_constant_actions():
    body = "modular_rl/cheetah_7_full"
    for constant, times in ((2.0, [0, 1, 38]), (1.0, [1, 1, 38]), (-1.0, [1, 1, 38])):
        entry = made_references(
            task=body,
            expert_agent=description(body),
            expert=Score(mean=9.0, std=0.0, episodes=20, measures={"distance": 10.0}),
            constant=Score(mean=1.0, std=0.0, episodes=20, measures={"distance": constant}),
        )
        assert row_of({body: entry}, "Modular RL", "10 times") == times


def test_half_of_the_human_score_is_half_of_the_way_from_random_play():
    game = "atari/skiing"
    for mean, times in ((-12_000.0, [0, 1, 57]), (-10_000.0, [1, 1, 57])):
        entry = made_references(
            task=game,
            expert_agent=description(game),
            expert=Score(mean=mean, std=0.0, episodes=3),
            human=-4_336.9,
            published_random=-17_098.1,
        )
        assert row_of({game: entry}, "Atari", "half of the human score") == times


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
