"""The page of a run: self-contained, complete, and safe with whatever the agent said."""

import html.parser
import json
import re
import shutil

import numpy as np
import pytest

from gato_jax.reports import write_report
from gato_jax.reports.animations import animate
from gato_jax.reports.page import render
from gato_jax.reports.plots import Series, line_chart, smooth
from gato_jax.reports.reading import read_run
from gato_jax.runtime.paths import as_path

VOID = {"meta", "link", "img", "source", "wbr", "br", "hr", "input"}


class Page(html.parser.HTMLParser):
    """Checks that tags nest, and keeps the text and every address that a browser would load."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.words, self.addresses = [], [], []
        self.feed(text)
        self.close()
        assert not self.open, f"never closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.addresses += [value for key, value in attrs if key in ("src", "srcset", "href", "poster", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open and self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def text(made_run) -> str:
    return write_report(made_run).read_text()


def test_the_page_is_self_contained(text):
    page = Page(text)
    assert all(address.startswith(("data:", "#")) for address in page.addresses)
    assert "<script" not in text
    assert not re.search(r"https?://|@import|url\(", text)
    assert len(text) < 8_000_000


def test_a_run_in_a_bucket_has_the_same_page_there(text, made_run, bucket):
    workdir = as_path(f"{bucket}/run")
    for file in made_run.rglob("*"):
        if file.is_file():
            (workdir / file.relative_to(made_run)).upload(file)
    page = write_report(workdir)
    assert str(page) == "gs://made/run/report.html" and page.read_text() == text


def test_every_task_and_every_number_of_it_is_there(text, made_run):
    words = " ".join(" ".join(Page(text).words).split())
    for task in read_run(made_run).results.tasks:
        assert task.task.replace("/", "/ ", 1) in words or task.task in words
        assert f"{task.normalised:.2f}" in words
    assert text.count('class="card"') == 5
    assert "One set of weights, 5 tasks:" in words and "4 above half of the expert’s score" in words


def test_odd_words_are_shown_and_never_interpreted(text):
    assert "&lt;b&gt;&amp;&#34;" in text and '<b><b>&"' not in text
    assert '<b>&"' in "".join(Page(text).words)


def test_every_anchor_leads_somewhere(text):
    for anchor in re.findall(r'href="#(\w+)"', text):
        assert f'id="{anchor}"' in text


def test_what_was_not_evaluated_is_said(own_run):
    shutil.rmtree(own_run / "rollouts")
    for name in ("captions.json", "dialogue.json"):
        (own_run / name).unlink()
    results = json.loads((own_run / "results.json").read_text())
    del results["held_out"]
    for task in results["tasks"].values():
        task |= {"expert": None, "normalised": None, "constant": None, "agent_ci": None}
    (own_run / "results.json").write_text(json.dumps(results))
    text = write_report(own_run).read_text()
    Page(text)
    for said in ("No rollouts", "No captions", "No dialogue", "not evaluated on held-out", "no expert"):
        assert said in text


def test_scores_beyond_the_scale_stay_in_their_box(own_run):
    results = json.loads((own_run / "results.json").read_text())
    names = list(results["tasks"])
    results["tasks"][names[0]] |= {"agent": 40.0, "agent_ci": [30, 50], "normalised": 40.0}
    results["tasks"][names[1]] |= {"agent": -9.0, "agent_ci": [-10, -8], "normalised": -11.2}
    (own_run / "results.json").write_text(json.dumps(results))
    text = write_report(own_run).read_text()
    bars = "".join(re.findall(r'<svg class="bar" height="26".*?</svg>\s*</td>', text, re.DOTALL))
    places = [float(value) for value in re.findall(r'(?:x|x1|x2)="(-?[\d.]+)%"', bars)]
    assert places and 0 <= min(places) and max(places) <= 100
    assert "40.00" in text and "-11.20" in text


def test_many_datasets_are_drawn_as_their_suites(own_run):
    rows = [{"step": s, "loss": 2.0} | {f"loss/suite{i % 3}/task{i}": 1.0 + i for i in range(30)} for s in (1, 2, 3)]
    (own_run / "metrics.jsonl").write_text("\n".join(map(json.dumps, rows)))
    text = render(read_run(own_run))
    assert "suite2 <b>" in text and "task29" not in text


def test_a_loss_that_was_not_finite_leaves_a_gap():
    steps = np.arange(5.0)
    chart = line_chart(
        [Series(name="loss", x=steps, y=np.array([3.0, np.nan, 2.0, np.inf, 1.0]))], label="loss", log=True
    )
    assert "nan" not in chart and "inf" not in chart and chart.count("M") >= 3


def test_a_long_curve_keeps_its_extremes_and_stays_small():
    y = np.ones(50_000)
    y[31_234] = 100.0
    chart = line_chart([Series(name="loss", x=np.arange(50_000.0), y=y)], label="loss")
    assert len(chart) < 20_000
    heights = [float(v) for v in re.findall(r"[ML][\d.]+ ([\d.]+)", chart.split("<path")[1])]
    assert min(heights) < 15 and max(heights) > 240
    assert smooth(np.full(200, 2.5)) == pytest.approx(2.5)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 64, 96), (400, 120, 160)])
def test_an_animation_fits_its_budget(shape):
    frames = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    animation = animate(frames, budget_bytes=1_500_000)
    assert animation.moving.startswith("data:image/webp;base64,")
    assert len(animation.moving) <= 1.34 * 1_500_000
    assert abs(animation.width / animation.height - shape[2] / shape[1]) < 0.15


def test_action_kinds_each_have_their_strip(text):
    for kind in ("strip action", "strip lanes", "strip heat", "strip reward"):
        assert f'class="{kind}"' in text
    assert "gripper" in text and "forward" in text and "21 dimensions" in text
