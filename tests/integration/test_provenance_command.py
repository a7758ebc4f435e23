"""`gato provenance`, `gato data_report` and the rules of admission, on made datasets and one small run."""

import dataclasses
import json
import runpy
import shutil

import numpy as np
import pytest

from gato_jax.episodes import Provenance, write_dataset
from gato_jax.reports.provenance import describe_data
from gato_jax.training import TrainConfig, open_run_mixture
from gato_jax.verbs.outputs import write_json
from tests.integration.conftest import CONFIG, DATASET, TASK, gato
from tests.reports.test_report_page import Page
from tests.tokenization.made_tasks import CONTROL, random_episode


def write(root, shift=0.0, licence="CC-BY-NC-4.0"):
    episodes = [random_episode(CONTROL, seed, 30) for seed in range(4)]
    for episode in episodes:
        episode.observation["position"][:, 0] += np.float32(shift)
    origin = Provenance(source="a laboratory", licence=licence, kind="real", agent="teleoperation")
    return write_dataset(root, CONTROL, {"train": [dataclasses.replace(e, provenance=origin) for e in episodes]})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return write(tmp_path_factory.mktemp("data"))


def test_a_data_report_is_a_page_numbers_and_a_table(data, tmp_path):
    other = write(tmp_path / "other", shift=30.0)
    page, numbers = tmp_path / "new" / "page.html", tmp_path / "numbers.json"
    said = gato("data_report", f"--data={data}", f"--against={other}", f"--output={page}", f"--json={numbers}")
    assert said.status == 0, said.err
    fields = json.loads(numbers.read_text())
    assert list(fields) == ["data", "against", "comparison"]
    assert list(fields["data"]) == [
        "dataset", "split", "fingerprint", "episodes", "steps", "lengths", "returns", "rewarded", "success_rate",
        "dimensions", "cameras", "discrete", "texts", "provenances", "rejected", "licences", "degenerate",
    ]  # fmt: skip
    assert fields["comparison"]["differences"][0]["name"] == "position[0]"
    assert fields["comparison"]["differences"][0]["distance"] == 1.0
    assert "observation position[0]" in said.out and said.out.endswith(f"report: {page}\n")
    assert all(address.startswith(("data:", "#")) for address in Page(page.read_text()).addresses)


def test_a_data_report_of_one_dataset_or_source(data, tmp_path):
    for where in (data, "dialogue:chatterbot"):
        said = gato(
            "data_report", f"--data={where}", f"--output={tmp_path / 'p.html'}", f"--json={tmp_path / 'n.json'}"
        )
        assert said.status == 0, said.err
        assert json.loads((tmp_path / "n.json").read_text())["comparison"] is None


def test_provenance_of_a_dataset_in_both_forms(data, tmp_path):
    said = gato("provenance", f"--data={data}", f"--output={tmp_path / 'prov.jsonld'}", f"--json={tmp_path / 'a.json'}")
    assert said.status == 0 and "nodes in" in said.out, said.err
    assert {"@context", "@graph"} == json.loads((tmp_path / "prov.jsonld").read_text()).keys()
    assert json.loads((tmp_path / "a.json").read_text())["datasets"][0]["provenances"][0]["episodes"] == 4
    words = ("--format=ai_act", f"--output={tmp_path / 'act.md'}", f"--json={tmp_path / 'act.json'}")
    said = gato("provenance", f"--data=recorded:{data}", *words)
    assert said.status == 0 and "8 points, each with a blank" in said.out, said.err
    assert "10(2)(h)" in (tmp_path / "act.md").read_text()
    assert len(json.loads((tmp_path / "act.json").read_text())["record"]["points"]) == 8


def test_provenance_of_a_trained_agent(trained, tmp_path):
    said = gato(
        "provenance", f"--workdir={trained}", f"--output={tmp_path / 'p.json'}", f"--json={tmp_path / 'f.json'}"
    )
    assert said.status == 0, said.err
    fields = json.loads((tmp_path / "f.json").read_text())
    assert (fields["training"]["step"], fields["training"]["run"]["context"]) == (20, 176)
    [dataset] = fields["datasets"]
    assert (dataset["name"], dataset["weight"], dataset["episodes"]) == (TASK, 1.0, 4)
    titles = {node.get("dcterms:title") for node in json.loads((tmp_path / "p.json").read_text())["@graph"]}
    assert {"agent, step 20", "training", "tokenization", "recording", TASK} <= titles


def test_an_agent_s_record_has_the_conversion_of_its_data_even_where_the_folder_has_gone(trained, tmp_path):
    assert [row["conversions"] for row in json.loads((trained / "data.json").read_text())] == [[]]
    run = tmp_path / "run"
    shutil.copytree(trained, run)
    dataset = run / "data" / DATASET / "1.0.0"
    left_out = {"rejected": [{"where": "file 4", "reason": "cut short"}], "filtered": {"success_only": 2}}
    (dataset / "rejected.json").write_text(json.dumps(left_out))
    (dataset / "conversion.json").write_text(json.dumps({"source": "hdf5:raw", "shard_episodes": 7, "splits": {}}))
    config = TrainConfig.from_mapping(runpy.run_path(str(CONFIG))["get_config"](), run)
    write_json(run / "data.json", describe_data(open_run_mixture(config, run)))

    def said_of(*words):
        said = gato("provenance", *words, f"--output={tmp_path / 'p'}", f"--json={tmp_path / 'f.json'}")
        assert said.status == 0, said.err
        [facts] = json.loads((tmp_path / "f.json").read_text())["datasets"]
        return {name: facts[name] for name in ("rejected", "filtered", "conversions")}, (tmp_path / "p").read_text()

    by_data, _ = said_of(f"--data={dataset}")
    by_run, graph = said_of(f"--workdir={run}")
    assert by_run == by_data and (by_run["rejected"], by_run["filtered"]) == (1, {"success_only": 2})
    assert json.loads(graph)["@graph"] and '"gato:rejected": 1' in graph
    shutil.rmtree(run / "data")
    _, record = said_of(f"--workdir={run}", "--format=ai_act")
    assert f"GAP: {dataset} no longer exists: this was recorded when the agent was trained" in record
    assert "setting of the last conversion: shard_episodes = 7" in record and "file 4: cut short" in record
    rows = json.loads((run / "data.json").read_text())
    write_json(run / "data.json", [{name: row[name] for name in row if name != "conversions"} for row in rows])
    _, record = said_of(f"--workdir={run}", "--format=ai_act")
    assert "GAP: the run does not record the folder of the dataset: its conversion is unknown" in record


@pytest.mark.parametrize(
    "words, said",
    [
        ([], "Expected one of --data and --workdir. Name"),
        (["--data={data}", "--workdir=x"], "Expected one of --data and --workdir. Name"),
        (["--workdir={tmp}/none"], "--workdir is {tmp}/none, expected the folder of a run. It does not exist"),
        (["--data={tmp}/none"], "{tmp}/none: no dataset"), (["--data={data}", "--format=xml"], "format"),
    ],
)  # fmt: skip
def test_a_wrong_word_is_one_line(data, tmp_path, words, said):
    filled = [word.replace("{tmp}", str(tmp_path)).replace("{data}", str(data)) for word in words]
    complaint = gato("provenance", f"--output={tmp_path / 'out'}", *filled).complaint()
    assert said.replace("{tmp}", str(tmp_path)) in complaint and not list(tmp_path.iterdir())


def test_training_on_what_is_not_admitted_is_refused_before_it_begins(workdir, tmp_path):
    lines = 'config.admission = ConfigDict({"allowed_licences": ("CC0-1.0",), "simulated_share_at_most": 0.5})'
    file = tmp_path / "config.py"
    file.write_text(CONFIG.read_text().replace("    return config\n", f"    {lines}\n    return config\n"))
    complaint = gato("train", f"--config={file}", f"--workdir={workdir}").complaint()
    assert "grid: licence 'Apache-2.0' is not among allowed_licences (CC0-1.0)" in complaint
    assert "100.0% of the rows are simulated (grid 100.0%), simulated_share_at_most is 50.0%" in complaint
    assert not (workdir / "checkpoints").exists() and not (workdir / "metrics.jsonl").exists()
