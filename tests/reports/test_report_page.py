"""The page of a run: self-contained, complete, and safe with whatever the agent said."""

import html.parser
import json
import re
import shutil

import numpy as np
import pytest

from gato_jax.reports import write_report
from gato_jax.reports.animations import animate
from gato_jax.reports.glyphs import mark_rare, scripts_of
from gato_jax.reports.page import render
from gato_jax.reports.plots import Series, curve_path, line_chart, smooth, spread_apart
from gato_jax.reports.reading import read_run
from gato_jax.reports.templates import break_name, first_values
from tests.runtime.made_bucket import upload_folder

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
    page = write_report(upload_folder(made_run, f"{bucket}/run"))
    assert str(page) == "gs://made/run/report.html" and page.read_text() == text


def test_every_task_and_every_number_of_it_is_there(text, made_run):
    words = " ".join(" ".join(Page(text).words).split())
    for task in read_run(made_run).results.tasks:
        assert task.task in words.replace("/ ", "/")
        assert f"{task.normalised:.2f}" in words
    assert text.count('class="card"') == 5 + 1  # one for each task, and one of predicted actions
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
    assert "Not in this run: held-out data, rollouts, captions, dialogue." in text and "no expert" in text
    for anchor in ("held", "rollouts", "captions", "dialogue"):  # no section is empty, and nothing leads to one
        assert f'id="{anchor}"' not in text and f'href="#{anchor}"' not in text


def test_the_head_states_what_made_the_run(own_run):
    session = {
        "started": "2026-11-27T20:47:11+00:00", "command": "gato train --config=c.py", "machine": "a CPU, 2 cores",
        "devices": "8 x TPU v5e", "commit": "0123456789ab", "versions": {"gato_jax": "0.1.0", "jax": "0.10.2"},
    }  # fmt: skip
    later = session | {"commit": "abcdef012345 with changes", "started": "2026-11-28T01:00:00+00:00"}
    (own_run / "sessions.jsonl").write_text(f'{json.dumps(session)}\n{json.dumps(later)}\n{{"started')
    head = write_report(own_run).read_text().partition("<main>")[0]
    words = " ".join(re.sub(r"<[^>]+>", " ", head).split())
    for fact in (
        "model size 4.91M parameters", "steps 6,000", "tokens 24.6M", "seed 0", "started 2026-11-27 20:47 UTC",
        "commit 0123456789ab, abcdef012345 with changes", "gato_jax 0.1.0, jax 0.10.2",
    ):  # fmt: skip
        assert fact in words, fact
    assert "unknown" not in words


def test_a_run_of_an_earlier_version_says_what_is_unknown(own_run):
    results = json.loads((own_run / "results.json").read_text())
    del results["run"]
    (own_run / "results.json").write_text(json.dumps(results))
    words = " ".join(re.sub(r"<[^>]+>", " ", write_report(own_run).read_text().partition("<main>")[0]).split())
    assert "steps 6,000" in words  # of the last line of the metrics
    for name in ("model size", "seed", "started", "commit", "versions"):
        assert f"{name} unknown" in words


def test_only_rollouts_of_the_evaluation_that_is_shown_are_there(own_run):
    results = json.loads((own_run / "results.json").read_text())
    names = list(results["tasks"])
    del results["tasks"][names[0]]  # evaluated by an earlier call only
    results["tasks"][names[1]] |= {"step": 600, "temperature": 1.0}  # its file does not say whose episode it is
    for name, step in ((names[2], 600), (names[3], 300)):
        results["tasks"][name] |= {"step": 600, "temperature": 0.5}
        path = own_run / "rollouts" / f"{name.replace('/', '__')}.npz"
        with np.load(path) as arrays:
            np.savez(path, **arrays, step=np.array(step), temperature=np.array(0.5))
    (own_run / "results.json").write_text(json.dumps(results))
    assert {rollout.task for rollout in read_run(own_run).rollouts} == {names[2], names[4]}


def test_a_fine_tuning_run_has_its_learning_curve(own_run):
    (own_run / "results.json").unlink()
    points = [{"step": step, "mean": step / 100, "episodes": 3} for step in range(10, 60, 10)]
    tuned = {
        "task": "babyai/GoToRedBall-v0", "metric": "return", "episodes": 4, "series": 1, "curve": points,
        "smoothed": points[2:], "score": 0.5, "best_step": 50, "normalised": 0.43, "loss": 0.9,
    }  # fmt: skip
    (own_run / "finetune.json").write_text(json.dumps(tuned))
    (own_run / "finetune_start.json").write_text('{"from": {"step": 60, "params": "d51b87e0b86255d9"}}')
    text = write_report(own_run).read_text()
    words = " ".join(" ".join(Page(text).words).split()).replace("/ ", "/")
    assert "return 0.5 after fine-tuning, 43% of the way from random play to the expert" in words
    assert "Fine-tuned on 4 episodes of babyai/GoToRedBall-v0 , from the params of step 60" in words
    assert "moving average" in words and 'id="curve"' in text and 'id="scores"' not in text
    tuned |= {"curve": [], "smoothed": [], "score": None, "best_step": None, "normalised": None}
    (own_run / "finetune.json").write_text(json.dumps(tuned))
    assert "The agent was not played during fine-tuning." in write_report(own_run).read_text()


def test_a_name_breaks_at_its_slashes():
    assert break_name("dm_control/cheetah/run-<x>", strong=True) == (
        '<span class="name"><span>dm_control/</span><b>cheetah/</b><b>run-&lt;x&gt;</b></span>'
    )
    assert first_values("a; b; c; d; e") == "a; b; c and 2 more" and first_values("a; b; c; d") == "a; b; c; d"


def test_labels_at_the_ends_of_curves_do_not_overlap():
    places = spread_apart([100.0, 101.0, 99.0, 318.0, 319.0], 15, 320)
    ordered = sorted(places)
    assert min(b - a for a, b in zip(ordered, ordered[1:], strict=False)) >= 15 and ordered[-1] <= 320
    assert places[2] < places[0] < places[1] and places[3] < places[4]
    series = [Series(name=f"suite/task-{i}", x=np.arange(3.0), y=np.full(3, 2.0), index=i) for i in range(3)]
    chart = line_chart(series, label="loss", end_labels=True)
    assert chart.count('class="end"') == 3 and all(s.name in chart for s in series)


def test_characters_that_fonts_may_lack_are_marked_unless_the_data_have_their_script():
    sampled = "naïve\N{EM DASH}\u4e2d\x07\ufffd <b>"
    marked = mark_rare(sampled)
    assert re.sub(r"<span[^>]*>", "[", marked).replace("</span>", "]") == "naïve\N{EM DASH}[4E2D][0007][FFFD] &lt;b&gt;"
    assert "CJK UNIFIED IDEOGRAPH-4E2D" in marked
    assert "\u4e2d" in mark_rare(sampled, scripts_of(["\u6587"]))


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
    assert ">suite2<" in text and "task29" not in text


def test_a_loss_that_was_not_finite_leaves_a_gap():
    steps = np.arange(5.0)
    chart = line_chart(
        [Series(name="loss", x=steps, y=np.array([3.0, np.nan, 2.0, np.inf, 1.0]))], label="loss", log=True
    )
    assert "nan" not in chart and "inf" not in chart and chart.count("M") >= 3


def test_a_curve_of_one_point_and_points_between_gaps_are_dots():
    whole = Series(name="held out", x=np.array([100.0]), y=np.array([2.0]))
    assert 'class="curve strong dot"' in line_chart([whole], label="loss")
    assert curve_path(np.arange(4), np.array([1.0, np.nan, 3.0, 4.0])) == "M0.0 1.0h0M2.0 3.0L3.0 4.0"


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
