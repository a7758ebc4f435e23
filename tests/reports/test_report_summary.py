"""The run in words: the headline and the table on the terminal."""

import pytest

from gato_jax.reports import read_results, summary_table
from gato_jax.reports.run import Results, TaskScore
from gato_jax.reports.summary import duration, group_elements, headline, number, short


def scored(*normalised: float | None) -> Results:
    tasks = [
        TaskScore(task=f"suite/task-{i}", episodes=5, metric="return", agent=1.0, random=0.0, normalised=value)
        for i, value in enumerate(normalised)
    ]
    return Results(tasks=tuple(tasks))


@pytest.mark.parametrize(
    "normalised, said",
    [
        ((0.9, 0.7), "2 tasks: all above half"),
        ((0.9, 0.1, 0.2), "3 tasks: 1 above half"),
        ((0.1, 0.2), "2 tasks: none above half"),
        ((0.9, None, 0.2), "3 tasks: 1 of 2 with an expert above half"),
        ((0.8,), "1 task: 80% of the way from random play to the expert"),
        ((None, None), "2 tasks, and no expert to compare with"),
    ],
)
def test_the_headline_says_what_the_scores_say(normalised, said):
    assert said in headline(scored(*normalised))


def test_the_table_is_aligned_ascii_of_at_most_100_columns(made_run):
    lines = summary_table(read_results(made_run)).splitlines()
    assert all(len(line) <= 100 and line.isascii() for line in lines)
    assert lines[0].split() == ["task", "random", "constant", "agent", "interval", "expert", "normalised"]
    edge = lines[0].index("normalised")
    for line in lines[2:7]:
        assert line[edge - 1] == " " and line[edge:].lstrip()[0].isdigit()
    assert "0.80 ########.." in lines[2]
    assert any("mean 0.68" in line for line in lines) and "17.2 minutes, peak memory 3.2 GB" in lines[-1]


def test_scores_after_a_demonstration_stand_beside_those_without():
    alone = [
        TaskScore(task=f"made/{name}", episodes=20, metric="return", agent=value, normalised=value)
        for name, value in (("one", 0.5), ("two", 0.75), ("three", 0.25))
    ]
    prompted = TaskScore(
        task="made/two", episodes=10, metric="return", agent=0.875, normalised=0.9, agent_ci=(0.5, 1.0)
    )
    results = Results(tasks=tuple(alone), prompted=(prompted,), no_room=("made/three",))
    lines = summary_table(results).splitlines()
    first = next(number for number, line in enumerate(lines) if line.startswith("after a demonstration"))
    assert lines[first + 2].split()[:6] == ["made/two", "10", "0.875", "0.5", "to", "1"]
    assert lines[first + 2].split()[6:8] == ["0.75", "0.90"]
    assert lines[first + 3].split(maxsplit=5) == ["made/three", "-", "-", "-", "0.25", "no room for a prompt"]


def test_a_long_name_gives_way():
    task = TaskScore(
        task="language_conditioned_suite/" + "very_" * 20 + "long-v3",
        episodes=5,
        metric="return",
        agent=-123456.7,
        random=-234567.8,
        constant=-212345.6,
        expert=1234567.0,
        normalised=0.08,
        agent_ci=(-223456.7, -23456.7),
    )
    lines = summary_table(Results(tasks=(task,))).splitlines()
    assert max(map(len, lines)) <= 100 and "long-v3" in lines[2]


def test_figures_read_well():
    assert [number(v) for v in (1234567.8, 12.0, 12.34, 0.061, None, float("nan"))] == [
        "1,234,568",
        "12",
        "12.3",
        "0.061",
        "-",
        "nan",
    ]
    assert [short(v) for v in (4_900_000, 1500, 12, 1.18e9)] == ["4.9M", "1.5k", "12", "1.18B"]
    assert [duration(v) for v in (42, 150, 9000)] == ["42 s", "2.5 min", "2.5 h"]


def test_elements_of_one_key_are_joined_and_runs_of_them_shortened():
    names = ["action arm[4]", "action arm[1]", "camera", *(f"state[{n}]" for n in range(147)), "action arm[5]"]
    assert group_elements(names) == ["action arm[1, 4 to 5]", "camera", "state[0 to 146]"]
