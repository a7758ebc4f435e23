"""Lineage in the W3C's provenance ontology (PROV-O), as JSON-LD: entities, the activities that made them, the agents.

source <- recording, annotation      dataset <- conversion      tokens <- tokenization      agent <- training
"""

from __future__ import annotations

import dataclasses
import datetime
import hashlib
import json
from typing import Any
from urllib.parse import quote

from gato_jax.episodes import Provenance
from gato_jax.reports.provenance.conversions import ConversionLineage
from gato_jax.reports.provenance.lineage import DatasetLineage, Lineage, TrainingLineage

CONTEXT = {
    "prov": "http://www.w3.org/ns/prov#",
    "dcterms": "http://purl.org/dc/terms/",
    "xsd": "http://www.w3.org/2001/XMLSchema#",
    "gato": "urn:gato_jax:terms:",
}
_SOFTWARE = "urn:gato_jax:software"

Node = dict[str, Any]


def prov_graph(lineage: Lineage) -> dict[str, Any]:
    """The graph; every node that is referred to is in it."""
    graph = _Graph()
    graph.add(_SOFTWARE, "prov:SoftwareAgent", {"dcterms:title": "gato_jax"})
    datasets = [_add_dataset(graph, dataset) for dataset in lineage.datasets]
    if lineage.training is not None:
        _add_training(graph, lineage.training, list(zip(lineage.datasets, datasets, strict=True)))
    return {"@context": CONTEXT, "@graph": list(graph.nodes.values())}


class _Graph:
    """Nodes by their ids; one that is added twice is the same one."""

    def __init__(self):
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, kind: str | list[str], properties: Node) -> str:
        """Adds a node without the properties that are empty, and returns its id."""
        said = {key: value for key, value in properties.items() if value not in ("", None, [], {})}
        self.nodes.setdefault(name, {"@id": name, "@type": kind, **said})
        return name

    def agent(self, name: str) -> str:
        """A person, an organisation, a policy: recordings do not say which."""
        if name == "gato_jax":
            return _SOFTWARE
        return self.add(_id("agent", name), "prov:Agent", {"dcterms:title": name})

    def role(self, name: str) -> Node:
        return _to(self.add(_id("role", name), "prov:Role", {"dcterms:title": name}))

    def association(self, agent: str, role: str, **more: Any) -> Node:
        """Who took part in an activity, and as what."""
        return {"@type": "prov:Association", "prov:agent": _to(agent), "prov:hadRole": self.role(role), **more}


def _add_dataset(graph: _Graph, dataset: DatasetLineage) -> str:
    """The dataset, with its sources and what was done to them."""
    sources = [_add_source(graph, origin) for origin in dataset.provenances]
    name = _id("dataset", dataset.name, dataset.fingerprint)
    conversion = _add_conversions(graph, dataset, sources)
    licences = list(dataset.episodes_by("licence"))
    return graph.add(
        name,
        ["prov:Entity", "prov:Collection"],
        {
            "dcterms:title": dataset.name,
            "dcterms:identifier": dataset.fingerprint,
            "dcterms:license": licences,
            "gato:episodes": dataset.episodes,
            "gato:steps": dataset.steps,
            "gato:episodesBySource": [
                {"gato:source": _to(source), "gato:episodes": count}
                for source, count in zip(sources, dataset.provenances.values(), strict=True)
            ],
            "prov:wasDerivedFrom": [_to(source) for source in sources],
            "prov:wasGeneratedBy": _to(conversion),
        },
    )


def _add_conversions(graph: _Graph, dataset: DatasetLineage, sources: list[str]) -> str:
    """The conversions that led to a dataset, each informed by the one before it; returns the newest."""
    newest, *earlier = dataset.conversions or (ConversionLineage(),)
    read = dataset.measured.rejected if dataset.measured else ()
    steps = [dataclasses.replace(newest, rejected=(*newest.rejected, *read)), *earlier]
    names = [_id("conversion", dataset.name, dataset.fingerprint, str(number or "")) for number in range(len(steps))]
    for number, step in enumerate(steps):
        left_out = {"gato:rejected": len(step.rejected), "gato:filtered": json.dumps(dict(step.filtered))}
        graph.add(
            names[number],
            "prov:Activity",
            {
                "dcterms:title": "conversion",
                "prov:used": [] if number + 1 < len(steps) else [_to(source) for source in sources],
                "prov:wasInformedBy": [_to(name) for name in names[number + 1 : number + 2]],
                "prov:wasAssociatedWith": _to(_SOFTWARE),
                **(left_out if step.rejected or step.filtered else {}),
                "gato:settings": json.dumps(dict(step.settings), sort_keys=True) if step.settings else "",
                "gato:missing": step.missing,
            },
        )
    return names[0]


def _add_source(graph: _Graph, origin: Provenance) -> str:
    """What a provenance says: a source, its recording with those who took part, and the annotation if any."""
    digest = hashlib.sha256(repr(origin).encode()).hexdigest()[:16]
    roles = {role: name for role, name in (("collector", origin.collector), ("acting policy", origin.agent)) if name}
    equipment = _add_equipment(graph, origin)
    start, _, end = origin.recorded_at.partition("/")
    recording = graph.add(
        _id("recording", digest),
        "prov:Activity",
        {
            "dcterms:title": "recording",
            "gato:kind": origin.kind,
            "prov:startedAtTime": _time(start),
            "prov:endedAtTime": _time(end),
            "prov:used": [_to(equipment)] if equipment else [],
            "prov:wasAssociatedWith": [_to(graph.agent(name)) for name in roles.values()],
            "prov:qualifiedAssociation": [graph.association(graph.agent(name), role) for role, name in roles.items()],
        },
    )
    made_by = [recording] + ([_add_annotation(graph, origin.annotator, digest)] if origin.annotator else [])
    attributed = [name for name in (origin.collector, origin.annotator) if name]
    return graph.add(
        _id("source", digest),
        "prov:Entity",
        {
            "dcterms:title": origin.source,
            "dcterms:license": origin.licence,
            "gato:kind": origin.kind,
            "gato:consent": origin.consent,
            "gato:contentCredentials": origin.content_credentials,
            "prov:wasGeneratedBy": [_to(activity) for activity in made_by],
            "prov:wasAttributedTo": [_to(graph.agent(name)) for name in attributed],
        },
    )


def _add_equipment(graph: _Graph, origin: Provenance) -> str | None:
    if not origin.equipment:
        return None
    said = (origin.equipment, origin.serial_numbers, origin.calibration)
    return graph.add(
        _id("equipment", *filter(None, said)),
        "prov:Entity",
        {
            "dcterms:title": origin.equipment,
            "gato:serialNumbers": origin.serial_numbers,
            "gato:calibration": origin.calibration,
        },
    )


def _add_annotation(graph: _Graph, annotator: str, digest: str) -> str:
    agent = graph.agent(annotator)
    return graph.add(
        _id("annotation", digest),
        "prov:Activity",
        {
            "dcterms:title": "annotation",
            "prov:wasAssociatedWith": _to(agent),
            "prov:qualifiedAssociation": graph.association(agent, "annotator"),
        },
    )


def _add_training(graph: _Graph, training: TrainingLineage, datasets: list[tuple[DatasetLineage, str]]):
    """Each dataset's tokens, the training on them, and the checkpoint that came of it."""
    contract = graph.add(
        _id("contract", training.contract), ["prov:Entity", "prov:Plan"], {"dcterms:title": "tokenization"}
    )
    tokens = [_add_tokens(graph, dataset, name, contract) for dataset, name in datasets]
    config = graph.add(
        _id("config", training.digest),
        ["prov:Entity", "prov:Plan"],
        {"dcterms:title": "config", "gato:model": json.dumps(training.model), "gato:run": json.dumps(training.run)},
    )
    made_from = [*tokens, *_add_start(graph, training)]
    activity = graph.add(
        _id("training", training.digest),
        "prov:Activity",
        {
            "dcterms:title": "training",
            "prov:used": [_to(name) for name in made_from],
            "prov:qualifiedUsage": [
                {"@type": "prov:Usage", "prov:entity": _to(name), "gato:weight": dataset.weight}
                for name, (dataset, _) in zip(tokens, datasets, strict=True)
            ],
            "prov:wasAssociatedWith": _to(_SOFTWARE),
            "prov:qualifiedAssociation": graph.association(_SOFTWARE, "trainer", **{"prov:hadPlan": _to(config)}),
        },
    )
    graph.add(
        _id("checkpoint", training.digest, str(training.step)),
        "prov:Entity",
        {
            "dcterms:title": f"agent, step {training.step}",
            "gato:step": training.step,
            "prov:wasGeneratedBy": _to(activity),
            "prov:wasDerivedFrom": [_to(name) for name in made_from],
            "prov:wasAttributedTo": _to(_SOFTWARE),
        },
    )


def _add_start(graph: _Graph, training: TrainingLineage) -> list[str]:
    """The params that fine-tuning began with, if it is one."""
    if training.begun_as is None:
        return []
    step, digest = training.begun_as
    title = f"params that the agent began with, step {step}"
    return [graph.add(_id("params", digest), "prov:Entity", {"dcterms:title": title, "dcterms:identifier": digest})]


def _add_tokens(graph: _Graph, dataset: DatasetLineage, name: str, contract: str) -> str:
    activity = graph.add(
        _id("tokenization", dataset.name, dataset.fingerprint, contract),
        "prov:Activity",
        {
            "dcterms:title": "tokenization",
            "prov:used": _to(name),
            "prov:wasAssociatedWith": _to(_SOFTWARE),
            "prov:qualifiedAssociation": graph.association(_SOFTWARE, "tokenizer", **{"prov:hadPlan": _to(contract)}),
        },
    )
    return graph.add(
        _id("tokens", dataset.name, dataset.fingerprint, contract),
        "prov:Entity",
        {
            "dcterms:title": f"{dataset.name}, tokenized",
            "prov:wasGeneratedBy": _to(activity),
            "prov:wasDerivedFrom": _to(name),
        },
    )


def _id(kind: str, *parts: str) -> str:
    """A URN that is the same for the same thing, wherever it lies."""
    return ":".join(["urn:gato_jax", kind, *(quote(part, safe="") for part in parts if part)])


def _to(name: str) -> Node:
    return {"@id": name}


def _time(said: str) -> Node | str:
    """An ISO 8601 date or time in the form that XML Schema has for it; empty where it is not known."""
    if not said:
        return ""
    try:
        return {"@value": datetime.date.fromisoformat(said).isoformat(), "@type": "xsd:date"}
    except ValueError:
        return {"@value": datetime.datetime.fromisoformat(said).isoformat(), "@type": "xsd:dateTime"}
