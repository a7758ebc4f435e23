"""Export of a lineage to the W3C provenance ontology (PROV-O) as JSON-LD.

The graph holds entities, the activities that generated them, and the agents that took part:
source <- recording, annotation      dataset <- conversion      tokens <- tokenization      checkpoint <- training
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
    """Return the PROV-O graph of a lineage as JSON-LD, an object of `@context` and `@graph`, the list of nodes.

    Each node that is referred to is in the graph.
    """
    graph = _Graph()
    graph.add(_SOFTWARE, "prov:SoftwareAgent", {"dcterms:title": "gato_jax"})
    datasets = [_add_dataset(graph, dataset) for dataset in lineage.datasets]
    if lineage.training is not None:
        _add_training(graph, lineage.training, list(zip(lineage.datasets, datasets, strict=True)))
    return {"@context": CONTEXT, "@graph": list(graph.nodes.values())}


class _Graph:
    """Builder of a graph that keeps nodes by id; adding an id again keeps the first node."""

    def __init__(self):
        self.nodes: dict[str, Node] = {}

    def add(self, name: str, kind: str | list[str], properties: Node) -> str:
        """Add a node without its empty properties ("", None, [] and {}) and return its id.

        Args:
          name: id of the node, a URN.
          kind: its type or types, such as "prov:Entity".
          properties: {property: value}, such as {"dcterms:title": "conversion"}.
        """
        present = {key: value for key, value in properties.items() if value not in ("", None, [], {})}
        self.nodes.setdefault(name, {"@id": name, "@type": kind, **present})
        return name

    def agent(self, name: str) -> str:
        """Add an agent (a person, an organisation or a policy; recordings do not say which) and return its id.

        The name "gato_jax" gives the id of this software.
        """
        if name == "gato_jax":
            return _SOFTWARE
        return self.add(_id("agent", name), "prov:Agent", {"dcterms:title": name})

    def role(self, name: str) -> Node:
        """Add a role with the title `name`, such as "collector", if it is new, and return a JSON-LD reference to it."""
        return _reference(self.add(_id("role", name), "prov:Role", {"dcterms:title": name}))

    def association(self, agent: str, role: str, plan: str | None = None) -> Node:
        """Return the association of an agent with an activity, as a node without an id, and add its role.

        Args:
          agent: id of the agent's node.
          role: title of the role, such as "collector".
          plan: id of the plan that the agent followed; None without a plan.
        """
        node = {"@type": "prov:Association", "prov:agent": _reference(agent), "prov:hadRole": self.role(role)}
        return node if plan is None else node | {"prov:hadPlan": _reference(plan)}


def _add_dataset(graph: _Graph, dataset: DatasetLineage) -> str:
    """Add a dataset with its sources and conversions, and return the id of the dataset's node."""
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
                {"gato:source": _reference(source), "gato:episodes": count}
                for source, count in zip(sources, dataset.provenances.values(), strict=True)
            ],
            "prov:wasDerivedFrom": [_reference(source) for source in sources],
            "prov:wasGeneratedBy": _reference(conversion),
        },
    )


def _add_conversions(graph: _Graph, dataset: DatasetLineage, sources: list[str]) -> str:
    """Add the conversions that produced a dataset, each informed by the one before it, and return the newest one's id.

    Args:
      graph: the graph.
      dataset: the dataset; a dataset without conversions gets a single conversion that has no settings. Episodes
        rejected on reading the dataset count as rejected by the newest conversion.
      sources: ids of the sources, which the oldest conversion used.
    """
    newest, *earlier = dataset.conversions or (ConversionLineage(),)
    steps = [dataclasses.replace(newest, rejected=(*newest.rejected, *dataset.rejected_on_reading)), *earlier]
    names = [_id("conversion", dataset.name, dataset.fingerprint, str(number or "")) for number in range(len(steps))]
    for number, step in enumerate(steps):
        left_out = {"gato:rejected": len(step.rejected), "gato:filtered": json.dumps(dict(step.filtered))}
        graph.add(
            names[number],
            "prov:Activity",
            {
                "dcterms:title": "conversion",
                "prov:used": [] if number + 1 < len(steps) else [_reference(source) for source in sources],
                "prov:wasInformedBy": [_reference(name) for name in names[number + 1 : number + 2]],
                "prov:wasAssociatedWith": _reference(_SOFTWARE),
                **(left_out if step.rejected or step.filtered else {}),
                "gato:settings": json.dumps(dict(step.settings), sort_keys=True) if step.settings else "",
                "gato:missing": step.missing,
            },
        )
    return names[0]


def _add_source(graph: _Graph, origin: Provenance) -> str:
    """Add a source with its recording, the agents that took part and its annotation, and return the source id."""
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
            "gato:variation": origin.variation,
            "prov:startedAtTime": _xsd_time(start),
            "prov:endedAtTime": _xsd_time(end),
            "prov:used": [_reference(equipment)] if equipment else [],
            "prov:wasAssociatedWith": [_reference(graph.agent(name)) for name in roles.values()],
            "prov:qualifiedAssociation": [graph.association(graph.agent(name), role) for role, name in roles.items()],
        },
    )
    activities = [recording] + ([_add_annotation(graph, origin.annotator, digest)] if origin.annotator else [])
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
            "prov:wasGeneratedBy": [_reference(activity) for activity in activities],
            "prov:wasAttributedTo": [_reference(graph.agent(name)) for name in attributed],
        },
    )


def _add_equipment(graph: _Graph, origin: Provenance) -> str | None:
    """Add the equipment of a recording and return its id; return None if the provenance names no equipment."""
    if not origin.equipment:
        return None
    identity = (origin.equipment, origin.serial_numbers, origin.calibration)
    return graph.add(
        _id("equipment", *filter(None, identity)),
        "prov:Entity",
        {
            "dcterms:title": origin.equipment,
            "gato:serialNumbers": origin.serial_numbers,
            "gato:calibration": origin.calibration,
        },
    )


def _add_annotation(graph: _Graph, annotator: str, digest: str) -> str:
    """Add the activity of annotating a source, associated with its annotator, and return the id of the activity.

    Args:
      graph: the graph.
      annotator: name of who or what annotated.
      digest: digest that identifies the source, as part of the id.
    """
    agent = graph.agent(annotator)
    return graph.add(
        _id("annotation", digest),
        "prov:Activity",
        {
            "dcterms:title": "annotation",
            "prov:wasAssociatedWith": _reference(agent),
            "prov:qualifiedAssociation": graph.association(agent, "annotator"),
        },
    )


def _add_training(graph: _Graph, training: TrainingLineage, datasets: list[tuple[DatasetLineage, str]]):
    """Add the tokens of each dataset, the training on them and the checkpoint.

    Args:
      graph: the graph.
      training: the training.
      datasets: pairs of each dataset and the id of its node.
    """
    contract = graph.add(
        _id("contract", training.contract), ["prov:Entity", "prov:Plan"], {"dcterms:title": "tokenization"}
    )
    tokens = [_add_tokens(graph, dataset, name, contract) for dataset, name in datasets]
    config = graph.add(
        _id("config", training.digest),
        ["prov:Entity", "prov:Plan"],
        {"dcterms:title": "config", "gato:model": json.dumps(training.model), "gato:run": json.dumps(training.run)},
    )
    inputs = [*tokens, *_add_start(graph, training)]
    activity = graph.add(
        _id("training", training.digest),
        "prov:Activity",
        {
            "dcterms:title": "training",
            "prov:used": [_reference(name) for name in inputs],
            "prov:qualifiedUsage": [
                {"@type": "prov:Usage", "prov:entity": _reference(name), "gato:weight": dataset.weight}
                for name, (dataset, _) in zip(tokens, datasets, strict=True)
            ],
            "prov:wasAssociatedWith": _reference(_SOFTWARE),
            "prov:qualifiedAssociation": graph.association(_SOFTWARE, "trainer", plan=config),
        },
    )
    graph.add(
        _id("checkpoint", training.digest, str(training.step)),
        "prov:Entity",
        {
            "dcterms:title": f"agent, step {training.step}",
            "gato:step": training.step,
            "prov:wasGeneratedBy": _reference(activity),
            "prov:wasDerivedFrom": [_reference(name) for name in inputs],
            "prov:wasAttributedTo": _reference(_SOFTWARE),
        },
    )


def _add_start(graph: _Graph, training: TrainingLineage) -> list[str]:
    """Add the params that fine-tuning started from and return [id]; return [] for training from scratch."""
    if training.begun_as is None:
        return []
    step, digest = training.begun_as
    title = f"initial params, step {step}"
    return [graph.add(_id("params", digest), "prov:Entity", {"dcterms:title": title, "dcterms:identifier": digest})]


def _add_tokens(graph: _Graph, dataset: DatasetLineage, name: str, contract: str) -> str:
    """Add the tokenization of a dataset and its tokens, and return the id of the tokens.

    Args:
      graph: the graph.
      dataset: the dataset.
      name: id of its node.
      contract: id of the node of the contract, the plan that tokenization follows.
    """
    activity = graph.add(
        _id("tokenization", dataset.name, dataset.fingerprint, contract),
        "prov:Activity",
        {
            "dcterms:title": "tokenization",
            "prov:used": _reference(name),
            "prov:wasAssociatedWith": _reference(_SOFTWARE),
            "prov:qualifiedAssociation": graph.association(_SOFTWARE, "tokenizer", plan=contract),
        },
    )
    return graph.add(
        _id("tokens", dataset.name, dataset.fingerprint, contract),
        "prov:Entity",
        {
            "dcterms:title": f"{dataset.name}, tokenized",
            "prov:wasGeneratedBy": _reference(activity),
            "prov:wasDerivedFrom": _reference(name),
        },
    )


def _id(kind: str, *parts: str) -> str:
    """Return a URN such as `urn:gato_jax:agent:Jane%20Doe`, of `kind` and the parts that are not empty, quoted.

    The same thing so has the same id anywhere.
    """
    return ":".join(["urn:gato_jax", kind, *(quote(part, safe="") for part in parts if part)])


def _reference(name: str) -> Node:
    """Return the JSON-LD reference to the node with id `name`."""
    return {"@id": name}


def _xsd_time(text: str) -> Node | str:
    """Return an ISO 8601 date or time as a typed JSON-LD literal (xsd:date or xsd:dateTime); "" for an empty text.

    Raises:
      ValueError: the text is neither a date nor a date with a time.
    """
    if not text:
        return ""
    try:
        return {"@value": datetime.date.fromisoformat(text).isoformat(), "@type": "xsd:date"}
    except ValueError:
        return {"@value": datetime.datetime.fromisoformat(text).isoformat(), "@type": "xsd:dateTime"}
