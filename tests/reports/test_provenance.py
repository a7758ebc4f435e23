"""Provenance for others: a PROV-O graph that holds together, and the AI Act's record with its blanks."""

import dataclasses
import json
import re
import shutil

import numpy as np
import pytest

from gato_jax.episodes import Provenance, open_dataset, write_dataset
from gato_jax.reports.provenance import Lineage, ai_act_record, dataset_lineage, prov_graph
from gato_jax.reports.provenance.lineage import DatasetLineage, TrainingLineage
from gato_jax.reports.recordings import measure
from gato_jax.reports.run import ReportError
from tests.reports.test_recordings import Listed
from tests.tokenization.made_tasks import CONTROL, GRID, random_episode

# The terms of PROV-O (w3.org/TR/prov-o) that an export may use: classes, then properties.
CLASSES = {
    "Activity", "Agent", "Association", "Attribution", "Bundle", "Collection", "Entity", "Organization", "Person",
    "Plan", "Role", "SoftwareAgent", "Usage",
}  # fmt: skip
PROPERTIES = {
    "actedOnBehalfOf", "agent", "atTime", "endedAtTime", "entity", "hadMember", "hadPlan", "hadRole",
    "qualifiedAssociation", "qualifiedUsage", "startedAtTime", "used", "wasAssociatedWith", "wasAttributedTo",
    "wasDerivedFrom", "wasGeneratedBy", "wasInformedBy",
}  # fmt: skip
OF = {  # what each property is a property of, and what it leads to
    "used": ("Activity", "Entity"), "wasAssociatedWith": ("Activity", "Agent"), "wasAttributedTo": ("Entity", "Agent"),
    "wasDerivedFrom": ("Entity", "Entity"), "wasGeneratedBy": ("Entity", "Activity"), "hadPlan": (None, "Plan"),
    "agent": (None, "Agent"), "entity": (None, "Entity"), "hadRole": (None, "Role"),
}  # fmt: skip

TELEOPERATED = Provenance(
    source="laboratory A", licence="CC-BY-4.0", kind="real", collector="Ada", equipment="WidowX", agent="teleoperation",
    serial_numbers="17, 18", calibration="2026-01-02, cal.json", consent="form 3, in the archive",
    recorded_at="2026-03-01T09:30:00+01:00/2026-03-02", annotator="Ben", content_credentials='{"c2pa": 1}',
)  # fmt: skip
SCRIPTED = Provenance(source="laboratory <B>", licence="ask us", kind="real", agent="a script")
MADE = Provenance(source="a simulator", licence="MIT", kind="simulated", agent="a planner")


def made_episodes(*origins):
    episodes = [random_episode(CONTROL, seed, 30) for seed in range(len(origins))]
    for episode in episodes:
        episode.observation["position"][:, 1] = 2.0
    return [dataclasses.replace(e, provenance=origin) for e, origin in zip(episodes, origins, strict=True)]


# `source` is what the conversion read from, and is itself a setting.
HEADER = {"schema": 1, "splits": {}, "task": {}, "source": "hdf5:recordings", "filters": ["a"]}


@pytest.fixture
def dataset(tmp_path):
    """Of a conversion that rejected one part and filtered two episodes."""
    left_out = {"rejected": [{"where": "file 4", "reason": "cut short"}], "filtered": {"success_only": 2}}
    (tmp_path / "rejected.json").write_text(json.dumps(left_out))
    (tmp_path / "conversion.json").write_text(json.dumps(HEADER))
    reader = Listed(CONTROL, made_episodes(TELEOPERATED, SCRIPTED, SCRIPTED, MADE))
    return dataset_lineage(CONTROL, measure(reader), tmp_path)


@pytest.fixture
def agent(dataset):
    trained = [
        dataclasses.replace(dataset.datasets[0], weight=0.75, measured=None),
        DatasetLineage(spec=GRID, fingerprint="f2", episodes=9, steps=90, provenances={MADE: 9}, weight=0.25),
    ]
    run = {"seed": 0, "batch_size": 8, "context": 64, "steps": 100, "mixture": {"seed": 0}}
    training = TrainingLineage(step=100, model={"layers": 1}, contract="c1", run=run, begun_as=(7, "p1"))
    return Lineage(datasets=tuple(trained), training=training)


def triples(value, subject=None):
    """(node, property, value) of every property in a graph, nodes without an id among them."""
    for item in value if isinstance(value, list) else [value]:
        if isinstance(item, dict):
            for key, inner in item.items():
                if not key.startswith("@"):
                    yield from ((item, key, each) for each in (inner if isinstance(inner, list) else [inner]))
                    yield from triples(inner)


@pytest.mark.parametrize("subject", ["dataset", "agent"])
def test_the_graph_speaks_prov_o_and_every_reference_is_there(subject, request):
    document = json.loads(json.dumps(prov_graph(request.getfixturevalue(subject)), allow_nan=False))
    assert document["@context"]["prov"] == "http://www.w3.org/ns/prov#"
    nodes = {node["@id"]: node for node in document["@graph"]}
    assert len(nodes) == len(document["@graph"]) and all(re.fullmatch(r"urn:[\w:.%~-]+", name) for name in nodes)

    def kinds(node):
        said = np.atleast_1d(nodes[node["@id"]]["@type"] if "@id" in node else node["@type"]).tolist()
        more = {"prov:SoftwareAgent": "prov:Agent", "prov:Plan": "prov:Entity"}
        return {*said, *(more[kind] for kind in said if kind in more)}

    for node in nodes.values():
        assert kinds(node) <= {f"prov:{name}" for name in CLASSES}
    for node, name, value in triples(document["@graph"]):
        prefix, _, term = name.partition(":")
        assert prefix in document["@context"] and (prefix != "prov" or term in PROPERTIES), name
        if isinstance(value, dict) and "@id" in value:
            assert value["@id"] in nodes, value
        if prefix == "prov" and term in OF:
            domain, target = OF[term]
            assert f"prov:{target}" in kinds(value), (name, value)
            assert domain is None or f"prov:{domain}" in kinds(node), (name, node)


def titled(graph, title):
    return [node for node in graph["@graph"] if node.get("dcterms:title") == title]


def test_everything_that_a_provenance_says_is_in_the_graph(dataset):
    graph = prov_graph(dataset)
    text = json.dumps(graph)
    for value in dataclasses.asdict(TELEOPERATED).values():
        assert value == TELEOPERATED.recorded_at or json.dumps(value)[1:-1] in text, value
    [source], [ours] = titled(graph, "laboratory A"), titled(graph, "made/control")
    [recording] = [node for node in titled(graph, "recording") if "prov:startedAtTime" in node]
    assert {"@id": recording["@id"]} in source["prov:wasGeneratedBy"] and len(source["prov:wasGeneratedBy"]) == 2
    assert recording["prov:startedAtTime"] == {"@value": "2026-03-01T09:30:00+01:00", "@type": "xsd:dateTime"}
    assert recording["prov:endedAtTime"] == {"@value": "2026-03-02", "@type": "xsd:date"}
    roles = {a["prov:agent"]["@id"]: a["prov:hadRole"]["@id"] for a in recording["prov:qualifiedAssociation"]}
    assert roles == {
        "urn:gato_jax:agent:Ada": "urn:gato_jax:role:collector",
        "urn:gato_jax:agent:teleoperation": "urn:gato_jax:role:acting%20policy",
    }
    assert [entry["gato:episodes"] for entry in ours["gato:episodesBySource"]] == [1, 2, 1]
    assert ours["dcterms:license"] == ["CC-BY-4.0", "ask us", "MIT"] and len(ours["prov:wasDerivedFrom"]) == 3
    [conversion] = titled(graph, "conversion")
    assert conversion["gato:rejected"] == 2 and json.loads(conversion["gato:filtered"]) == {"success_only": 2}
    assert json.loads(conversion["gato:settings"]) == {"source": "hdf5:recordings", "filters": ["a"]}


def test_an_agent_is_derived_from_its_datasets_by_their_weights(agent):
    graph = prov_graph(agent)
    [training], [checkpoint] = titled(graph, "training"), titled(graph, "agent, step 100")
    assert [usage["gato:weight"] for usage in training["prov:qualifiedUsage"]] == [0.75, 0.25]
    assert checkpoint["prov:wasGeneratedBy"] == {"@id": training["@id"]}
    nodes = {node["@id"]: node for node in graph["@graph"]}
    tokens = [nodes[usage["prov:entity"]["@id"]] for usage in training["prov:qualifiedUsage"]]
    assert [nodes[t["prov:wasDerivedFrom"]["@id"]]["dcterms:title"] for t in tokens] == ["made/control", "made/grid"]
    assert len(titled(graph, "a simulator")) == 1  # one source of both
    assert checkpoint["prov:wasDerivedFrom"][2:] == [{"@id": "urn:gato_jax:params:p1"}]  # it was fine-tuned


def test_the_record_has_every_point_with_what_is_known_and_a_marked_blank(dataset):
    record = ai_act_record(dataset)
    assert [point.paragraph for point in record.points] == [f"10(2)({letter})" for letter in "abcdefgh"]
    known = {point.paragraph[-2]: " ".join(point.known) for point in record.points}
    assert "position (3 continuous values)" in known["a"]
    assert (
        "2 episodes from laboratory <B>, real" in known["b"] and "licence MIT (commercial use permitted)" in known["b"]
    )
    assert "consent: form 3, in the archive" in known["b"] and "annotated by Ben" in known["b"]
    assert known["b"].count("GAP: no consent is recorded") == 1 and "recorded for laboratory <B>" in known["b"]
    assert "2 episodes removed by the filter success_only" in known["c"] and "file 4: cut short" in known["c"]
    assert "4 episodes, 120 steps in all" in known["e"]
    assert "75.0% real, 25.0% simulated" in known["f"]
    assert (
        "position[1] is degenerate: constant, always 2" in known["h"] and "licence ask us are not known" in known["h"]
    )
    text = record.to_markdown()
    for point in record.points:
        assert f"> **To be written by a person, {point.paragraph}:** {point.blank}" in text
    assert text.count("______") == 8
    fields = json.loads(json.dumps(record.to_json(), allow_nan=False))
    assert [point["written"] for point in fields["points"]] == [None] * 8


def test_the_record_of_an_agent_names_the_weights_and_what_was_not_measured(agent):
    known = {point.paragraph[-2]: " ".join(point.known) for point in ai_act_record(agent).points}
    assert "made/control: 75.0% of the rows." in known["a"] and "batch_size 8, context 64" in known["a"]
    assert "Fine-tuned from the params p1 of step 7" in known["a"]
    assert "made/grid: its dimensions are not measured here; `gato data_report` measures them." in known["h"]


@pytest.mark.parametrize(
    "text, said",
    [("{", "rejected.json is not JSON"), ("[]", "rejected.json holds list, expected dict"),
     ('{"rejected": [{"where": "a"}]}', "rejected.json is not the record of a conversion"),
     ('{"filtered": 3}', "rejected.json is not the record of a conversion")],
)  # fmt: skip
def test_a_damaged_file_of_a_conversion_is_named(tmp_path, text, said):
    (tmp_path / "rejected.json").write_text(text)
    with pytest.raises(ReportError, match=said):
        dataset_lineage(CONTROL, measure(Listed(CONTROL, made_episodes(MADE))), tmp_path)


@pytest.fixture
def reviewed(tmp_path):
    """A dataset that was converted twice, after its source: with filters, and then with reviewed instructions."""
    first, second = (
        write_dataset(tmp_path / name, CONTROL, {"train": made_episodes(TELEOPERATED, MADE)}) for name in "ab"
    )
    left_out = {"rejected": [{"where": "file 4", "reason": "cut short"}], "filtered": {"success_only": 2}}
    (first / "rejected.json").write_text(json.dumps(left_out))
    (first / "conversion.json").write_text(json.dumps(HEADER))
    (second / "rejected.json").write_text(json.dumps({"rejected": [], "filtered": {}}))
    splits = {"train": {"fingerprint": open_dataset(first, "train").fingerprint, "episodes": 2}}
    header = {**HEADER, "splits": splits, "source": f"recorded:{first}", "filters": {}, "reviewed": "r1"}
    (second / "conversion.json").write_text(json.dumps(header))
    return first, second


def lineage_of(folder):
    return dataset_lineage(CONTROL, measure(open_dataset(folder, "train")), folder)


def test_a_dataset_that_was_converted_twice_remembers_both_conversions(reviewed):
    lineage = lineage_of(reviewed[1])
    assert (lineage.to_json()["datasets"][0]["rejected"], lineage.datasets[0].filtered) == (1, {"success_only": 2})
    newest, first = titled(prov_graph(lineage), "conversion")
    assert newest["prov:wasInformedBy"] == [{"@id": first["@id"]}] and "gato:rejected" not in newest
    assert first["gato:rejected"] == 1 and len(first["prov:used"]) == 2 and "prov:used" not in newest
    said = ai_act_record(lineage).points[2].known
    assert "made/control: the instructions were reviewed by a person in the last conversion." in said
    assert "made/control: setting of conversion 1 before the last: filters = ['a']." in said
    assert "made/control: file 4: cut short" in said and not any("GAP" in one for one in said)


@pytest.mark.parametrize("change, said", [("gone", "no longer exists"), ("other", "now holds other data")])
def test_a_source_that_is_no_longer_what_was_converted_is_a_named_gap(reviewed, change, said):
    first, second = reviewed
    shutil.rmtree(first.parents[1])
    if change == "other":
        write_dataset(first.parents[1], CONTROL, {"train": made_episodes(MADE)})
    lineage = lineage_of(second)
    assert f"made/control: GAP: {first}, the source, {said}" in " ".join(ai_act_record(lineage).points[2].known)
    assert said in titled(prov_graph(lineage), "conversion")[1]["gato:missing"]


def test_a_conversion_that_does_not_name_its_source_is_a_gap(reviewed):
    file = reviewed[1] / "conversion.json"
    file.write_text(json.dumps({name: said for name, said in HEADER.items() if name != "source"}))
    assert "does not record its source" in lineage_of(reviewed[1]).datasets[0].conversions[0].missing
