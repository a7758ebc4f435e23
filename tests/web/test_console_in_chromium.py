"""The console as a browser shows it, on a desktop and on a phone, while runs are trained, replaced and deleted."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.parse
import urllib.request

import pytest

from gato_jax.web import LocalServer
from gato_jax.web.console import Console
from tests.reports.chromium import CHROMIUM, Browser
from tests.reports.conftest import make_run
from tests.web.running import running

NAME = "<script>broken=1<"

pytestmark = [
    pytest.mark.needs_chromium,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium"),
]


class Page(Browser):
    """A browser of pages of a server, in which the errors of scripts are kept."""

    def open_address(self, address: str, width: int) -> None:
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=900, deviceScaleFactor=1, mobile=width < 600
        )
        script = "window.errors = []; addEventListener('error', e => errors.push(String(e.message)));"
        script += "addEventListener('unhandledrejection', e => errors.push(String(e.reason)));"
        if not hasattr(self, "_watched"):
            self._watched = self.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        self.call("Page.navigate", url=address)
        self.wait("document.readyState == 'complete' && location.href != 'about:blank'")

    def wait(self, condition: str) -> None:
        """Wait until a condition is true in the page."""
        script = "new Promise((done, fail) => { const end = performance.now() + 50000; const look = () => {"
        script += f"let met = false; try {{ met = {condition} }} catch (error) {{}}"
        script += (
            "if (met) done(true); else if (performance.now() > end) done(false); else setTimeout(look, 50)};look()})"
        )
        assert self.evaluate(script), (condition, self.evaluate("document.body.innerText.slice(0, 2000)"))

    def check(self, width: int) -> None:
        assert self.evaluate("errors") == []
        assert self.evaluate("typeof broken") == "undefined"
        assert self.evaluate("document.documentElement.scrollWidth") <= width


@pytest.fixture(scope="module")
def browser():
    with Page() as browser:
        yield browser


@pytest.fixture(scope="module")
def made_run(tmp_path_factory):
    make_run(folder := tmp_path_factory.mktemp("finished"))
    return folder


@pytest.fixture
def folder(made_run, tmp_path):
    """A folder of two runs: a finished one, and one whose name would be a script."""
    ignored = shutil.ignore_patterns("report.html")
    shutil.copytree(made_run, tmp_path / "runs" / "suite" / "finished", ignore=ignored)
    odd = tmp_path / "runs" / NAME
    odd.mkdir()
    (odd / "metrics.jsonl").write_text("".join(line(step) for step in range(1, 30)))
    return tmp_path / "runs"


@pytest.fixture
def address(folder):
    with running(LocalServer(page=Console(folder).page)) as address:
        yield address


def line(step: int, **more: float) -> str:
    return json.dumps({"step": step, "loss": 2 / step, "gradient_norm": 1.0, **more}) + "\n"


def ask(address: str) -> tuple[int, bytes]:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.status, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.read()


def test_runs_are_live_and_their_report_is_shown(browser, folder, address):
    for step, width in ((30, 1280), (40, 390)):
        show_runs_and_report(browser, folder, address, step, width)


def show_runs_and_report(browser, folder, address, step, width):
    browser.open_address(address, width)
    browser.wait("document.querySelectorAll('#runs tbody tr').length == 2")
    row = f"[...document.querySelectorAll('#runs tbody tr')].find(row => row.dataset.run == {json.dumps(NAME)})"
    browser.wait(f"{row}.querySelector('[data-name=step]').innerText.includes('{step - 1}')")
    browser.wait(f"{row}.querySelector('.sparkline path') != null")
    browser.evaluate(f"{row}.querySelector('input').checked || {row}.querySelector('input').click()")
    browser.wait("document.querySelectorAll('#charts figure .curve').length > 0")
    with (folder / NAME / "metrics.jsonl").open("a") as file:
        file.write(line(step) + line(step + 9, **{"rollout/a": 0.5}) + '{"step": 4')  # half a line
    browser.wait(f"{row}.querySelector('[data-name=step]').innerText.includes('{step + 9}')")
    browser.wait("document.querySelector('[data-key=\"rollout/a\"]') != null")
    browser.check(width)
    with (folder / NAME / "metrics.jsonl").open("a") as file:
        file.write(f"{step + 9}}}\n")

    browser.open_address(f"{address}/run?{urllib.parse.urlencode({'run': 'suite/finished'})}#report", width)
    inside = "document.querySelector('#report iframe').contentDocument"
    browser.wait(f"{inside}.querySelector('#rollouts .card img') != null")
    browser.check(width)
    browser.evaluate("location.hash = 'config'")
    browser.wait("document.querySelector('#values').innerText.includes('optimizer.clip_norm')")
    browser.check(width)


def test_the_axis_of_a_curve_with_one_point_names_its_step_once(browser, folder, address):
    (folder / "one").mkdir()
    (folder / "one" / "metrics.jsonl").write_text(line(20))
    browser.open_address(f"{address}/run?run=one", 1280)
    browser.wait("document.querySelector('#charts figure circle') != null")
    labels = "[...document.querySelectorAll('#charts figure:first-child .tick:not([text-anchor=end])')]"
    assert browser.evaluate(f"{labels}.map(tick => tick.textContent)") == ["20"]
    browser.check(1280)


def test_a_run_is_continued_deleted_and_appears_while_the_page_is_open(browser, folder, address):
    browser.open_address(address, 1280)
    names = "[...document.querySelectorAll('#runs tbody tr')].map(row => row.dataset.run).sort().join()"
    browser.wait(f"{names} == {json.dumps(','.join(sorted([NAME, 'suite/finished'])))}")
    (folder / "suite" / "new").mkdir()
    (folder / "suite" / "new" / "metrics.jsonl").write_text(line(1) + "damaged\n" + line(2))
    browser.wait("document.querySelector('[data-run=\"suite/new\"] .problems').innerText.includes('line 2')")
    browser.evaluate("document.querySelectorAll('#runs input:not(:checked)').forEach(box => box.click())")
    browser.wait("document.querySelectorAll('#charts figure:first-child .curve').length == 3")
    shutil.rmtree(folder / "suite" / "finished")
    (folder / NAME / "partial").write_text(line(1) + line(2))
    (folder / NAME / "partial").replace(folder / NAME / "metrics.jsonl")
    browser.wait(f"{names} == {json.dumps(','.join(sorted([NAME, 'suite/new'])))}")
    browser.wait("document.querySelectorAll('#charts figure:first-child .curve').length == 2")
    browser.wait(f"charts.stores.get({json.dumps(NAME)}).curves.loss.step.join() == '1,2'")
    browser.check(1280)


def test_only_runs_of_the_folder_are_answered_for(folder, address):
    (folder.parent / "secret").mkdir()
    (folder.parent / "secret" / "metrics.jsonl").write_text(line(1))
    for run in (
        "../secret",
        "suite/../../secret",
        str(folder.parent / "secret"),
        "suite",
        "",
        ".",
        "a\0b",
        "%2e%2e/secret",
    ):
        for page in ("run", "metrics", "facts", "report", "films", "tokens"):
            assert ask(f"{address}/{page}?{urllib.parse.urlencode({'run': run})}")[0] == 404, (page, run)
    for path in (
        "/../secret/metrics.jsonl",
        "/suite/finished/config.json",
        "/%2e%2e/secret/metrics.jsonl",
        "//etc/passwd",
    ):
        assert ask(address + path)[0] == 404
    status, page = ask(f"{address}/run?{urllib.parse.urlencode({'run': NAME})}")
    assert status == 200 and b"<script>broken" not in page
    for odd in (
        "keys=[1,{}]&since=x&points=-1",
        "keys={&since=-5&points=9999999999",
        "keys=%22loss%22&since=99999999999999999999",
    ):
        status, page = ask(f"{address}/metrics?{urllib.parse.urlencode({'run': NAME})}&{odd}")
        assert status == 200 and json.loads(page)["fresh"]
