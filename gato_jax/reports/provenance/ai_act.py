"""The record of data governance under article 10(2) of the EU AI Act, Regulation (EU) 2024/1689.

Facts that the data hold are filled in. Facts that only a person can know are marked blanks under the point they
belong to.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from gato_jax.episodes import Continuous, Discrete, Image, Modality
from gato_jax.episodes.licences import commercial_use
from gato_jax.reports.provenance.lineage import DatasetLineage, Lineage
from gato_jax.reports.summary import number, percent, pluralize

_LISTED = 20  # the most rejections and dimensions that are listed; the data report has all of them


@dataclasses.dataclass(frozen=True, kw_only=True)
class Point:
    """One point of article 10(2).

    Attributes:
      paragraph: its number, such as "10(2)(a)".
      asks: the subject of the point, in short.
      known: facts from the data, one sentence each; empty if the data hold none.
      blank: a description of the text that a person has to write.
    """

    paragraph: str
    asks: str
    known: tuple[str, ...]
    blank: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Record:
    """A record under the EU AI Act on a dataset or a trained agent, with the points (a) to (h) of article 10(2).

    Attributes:
      subject: name of the dataset, or a phrase on the agent, its step and its datasets.
      points: the points, in their order.
    """

    subject: str
    points: tuple[Point, ...]

    def to_json(self) -> dict[str, Any]:
        points = [{**vars(point), "known": list(point.known), "written": None} for point in self.points]
        return {"regulation": "(EU) 2024/1689", "article": 10, "subject": self.subject, "points": points}

    def to_markdown(self) -> str:
        """Return the record as a Markdown document, with the facts and a marked blank under each point."""
        lines = [f"# Data and data governance: {self.subject}", ""]
        lines += ["Regulation (EU) 2024/1689, article 10(2). Written from the data by gato_jax. Each blank is marked."]
        for point in self.points:
            lines += ["", f"## {point.paragraph}: {point.asks}", ""]
            lines += [f"- {fact}" for fact in point.known] or ["- The data hold nothing on this point."]
            lines += ["", f"> **To be written by a person, {point.paragraph}:** {point.blank}", ">", "> ______"]
        return "\n".join(lines) + "\n"


def ai_act_record(lineage: Lineage) -> Record:
    """Return the record of data governance of a dataset, or of an agent and all its training datasets."""
    names = ", ".join(dataset.name for dataset in lineage.datasets)
    subject = names if lineage.training is None else f"an agent at step {lineage.training.step}, trained on {names}"
    points = (
        Point(paragraph=f"10(2)({letter})", asks=asks, known=tuple(known(lineage)), blank=blank)
        for letter, asks, known, blank in _POINTS
    )
    return Record(subject=subject, points=tuple(points))


def _for_each(facts: Callable[[DatasetLineage], list[str]]) -> Callable[[Lineage], list[str]]:
    """Return a function that gives `facts` of all datasets of a lineage, each as "NAME OF THE DATASET: fact"."""
    return lambda lineage: [f"{dataset.name}: {fact}" for dataset in lineage.datasets for fact in facts(dataset)]


def _design(lineage: Lineage) -> list[str]:
    """Return facts for article 10(2)(a): keys, control rate, weights (shares of rows), training and fine-tuning."""
    facts = [
        f"{d.name}: {side}s are {', '.join(f'{key} ({_describe_modality(value)})' for key, value in keys.items())}."
        for d in lineage.datasets
        for side, keys in (("observation", d.spec.observation), ("action", d.spec.action))
        if keys
    ]
    facts += [
        f"{d.name}: actions at {number(d.spec.control_rate_hz)} Hz." for d in lineage.datasets if d.spec.control_rate_hz
    ]
    facts += [f"{d.name}: {percent(d.weight)} of the rows." for d in lineage.datasets if d.weight is not None]
    if (training := lineage.training) is not None:
        settings = ", ".join(f"{name} {training.run[name]}" for name in ("batch_size", "context", "seed"))
        trained = f"Trained for {number(training.step)} of {pluralize(training.run['steps'], 'planned step')}"
        facts.append(f"{trained} with {settings}; tokenized by the contract {training.contract}.")
        if training.begun_as is not None:
            step, params = training.begun_as
            facts.append(f"Fine-tuned from the params {params} of step {step}, which need a record of their own.")
    return facts


def _describe_modality(modality: Modality) -> str:
    """Return a phrase on the size of a modality, such as "7 continuous values" or "images of 84 x 84 pixels".

    Of a discrete modality it is "2 elements with 5 values each"; of text, "text".
    """
    match modality:
        case Continuous():
            return f"{modality.size} continuous values"
        case Discrete():
            return f"{pluralize(modality.size, 'element')} with {pluralize(modality.n, 'value')} each"
        case Image():
            return f"images of {modality.height} x {modality.width} pixels"
    return "text"


def _origin(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(b): who collected the episodes, with what, under which licence and consent.

    There is one sentence for each provenance, and one that begins with "GAP:" for a real recording without consent.
    """
    facts = []
    for origin, episodes in dataset.provenances.items():
        parts = [f"{pluralize(episodes, 'episode')} from {origin.source}, {origin.kind}"]
        names = {
            "collector": "collected by", "equipment": "with", "agent": "actions by", "recorded_at": "recorded",
            "annotator": "annotated by", "consent": "consent:",
        }  # fmt: skip
        parts += [f"{words} {getattr(origin, name)}" for name, words in names.items() if getattr(origin, name)]
        facts.append(", ".join(parts) + f", licence {origin.licence or 'not stated'} ({_use(origin.licence)}).")
        if origin.kind == "real" and not origin.consent:
            facts.append(f"GAP: no consent is recorded for {origin.source}.")
    return facts


def _use(licence: str) -> str:
    """Return "commercial use permitted", "commercial use forbidden" or "commercial use not known" for a licence."""
    words = {True: "commercial use permitted", False: "commercial use forbidden", None: "commercial use not known"}
    return words[commercial_use(licence)]


def _preparation(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(c): filters, settings of conversions, and damaged parts of the source.

    Damaged parts are counted, and the first 20 of them are listed. What is unknown about a conversion is a
    sentence that begins with "GAP:".
    """
    facts = [f"{pluralize(count, 'episode')} removed by the filter {name}." for name, count in dataset.filtered.items()]
    for later, conversion in enumerate(dataset.conversions):
        which = f"conversion {later} before the last" if later else "the last conversion"
        if conversion.missing:
            facts.append(f"GAP: {conversion.missing}.")
        facts += [f"setting of {which}: {name} = {value}." for name, value in conversion.settings.items()]
        if conversion.settings.get("reviewed"):
            facts.append(f"the instructions were reviewed by a person in {which}.")
    if dataset.rejected:
        was = "was" if len(dataset.rejected) == 1 else "were"
        facts.append(f"{pluralize(len(dataset.rejected), 'part')} of the source {was} damaged and removed:")
        facts += [f"{where}: {reason}" for where, reason in dataset.rejected[:_LISTED]]
    return facts


def _assumptions(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(d): up to 20 continuous dimensions with values beyond the limits in the spec.

    A dataset that was not measured has no such facts.
    """
    if (data := dataset.measured) is None:
        return []
    clipped = [dimension for dimension in data.dimensions if dimension.clip_rate]
    return [
        f"{d.side} {d.name} is assumed to lie within its limits; {percent(d.clip_rate)} of its values do not."
        for d in clipped[:_LISTED]
    ]


def _suitability(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(e): numbers of episodes and steps, returns, lengths and success rate.

    For a dataset that was not measured, only the numbers of episodes and steps are returned.
    """
    facts = [f"{pluralize(dataset.episodes, 'episode')}, {pluralize(dataset.steps, 'step')} in all."]
    if (data := dataset.measured) is not None:
        rate = f", success rate {percent(data.success_rate)}" if data.success_rate is not None else ""
        returns = f"mean return {number(data.returns.mean)}" if data.rewarded else "no rewards"
        facts.append(f"{returns}, mean length {number(data.lengths.mean)} steps{rate}.")
    return facts


def _biases(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(f): share of episodes of each kind and of the most frequent equipment and people.

    Kinds are those of `Provenance`, such as real. Each of the fields `equipment`, `agent` and `collector` is left out
    if its most frequent value is empty, which is the value of episodes that do not record the field.
    """
    shares = {kind: episodes / dataset.episodes for kind, episodes in dataset.episodes_by("kind").items()}
    facts = [", ".join(f"{percent(share)} {kind}" for kind, share in shares.items()) + ", by episodes."]
    for field, words in (("equipment", "on the equipment"), ("agent", "with the actions of"), ("collector", "from")):
        name, episodes = max(dataset.episodes_by(field).items(), key=lambda pair: pair[1])
        if name:
            facts.append(
                f"{percent(episodes / dataset.episodes)} of the episodes are {words} {name}, the most frequent."
            )
    return facts


def _measures(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(g): each filter of the conversions and the number of episodes that it removed."""
    return [f"filter {name}, {pluralize(count, 'episode')} removed." for name, count in dataset.filtered.items()]


def _gaps(dataset: DatasetLineage) -> list[str]:
    """Return facts for article 10(2)(h): unknown licence terms, degenerate dimensions, values that are not finite.

    Up to 20 degenerate dimensions are listed. Of a dataset that was not measured there are the licences and a sentence
    that says so.
    """
    unknown = [licence for licence in dataset.episodes_by("licence") if commercial_use(licence) is None]
    facts = [
        f"the terms of the licence {licence} are not known." if licence else "some episodes state no licence."
        for licence in unknown
    ]
    if (data := dataset.measured) is None:
        return [*facts, "its dimensions are not measured here; `gato data_report` measures them."]
    facts += [
        f"{element.side} {element.name} is degenerate: {element.reason}." for element in data.degenerate[:_LISTED]
    ]
    left_out = {d.key: d.left_out for d in data.dimensions if d.left_out}
    return facts + [f"{count} steps have a value of {key} that is not finite." for key, count in left_out.items()]


_POINTS: tuple[tuple[str, str, Callable[[Lineage], list[str]], str], ...] = (
    ("a", "the relevant design choices", _design,
     "why these data, these observations and actions and this mixture were chosen for the intended purpose."),
    ("b", "data collection processes, the origin of data, and of personal data the original purpose",
     _for_each(_origin),
     "how the data were collected; whether they hold personal data, and for what purpose these were first collected."),
    ("c", "data-preparation operations, such as annotation, labelling, cleaning, updating, enrichment, aggregation",
     _for_each(_preparation), "every operation that led to these data, and who labelled what, by what rule."),
    ("d", "assumptions, in particular on what the data are supposed to measure and represent", _for_each(_assumptions),
     "what each observation and action stands for, in which units, and what is taken for granted."),
    ("e", "an assessment of the availability, quantity and suitability of the data sets needed",
     _for_each(_suitability), "which data the intended purpose needs, and whether these are enough and fit."),
    ("f", "examination in view of possible biases that are likely to affect health and safety, fundamental rights or "
     "lead to prohibited discrimination", _for_each(_biases),
     "which people, places, objects and situations are seen too seldom, and what that may lead to."),
    ("g", "measures to detect, prevent and mitigate the biases identified under (f)", _for_each(_measures),
     "what was done against each bias, and how its effect was checked."),
    ("h", "relevant data gaps or shortcomings that prevent compliance, and how they can be addressed", _for_each(_gaps),
     "which of these gaps matter, which others there are, and how and when they are closed."),
)  # fmt: skip
