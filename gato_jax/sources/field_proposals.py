"""Proposal of a `fields.json` for a recording: kinds inferred, limits measured, and what is uncertain marked."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gato_jax.episodes import Continuous, Discrete, Image, Modality, Provenance, Text
from gato_jax.runtime.paths import split_name
from gato_jax.sources.contents import FoundField, MissingFieldsError
from gato_jax.sources.fields import REMARK, Fields
from gato_jax.sources.inference import Inference, infer
from gato_jax.sources.opening import open_source
from gato_jax.sources.reader import EpisodeReader, SourceError

_SIDE = 64  # pixels of a proposed image
_RATE = 10.0  # control rate of a format that resamples, until a person gives the right one
_SURE = 0.7  # confidence of an inferred property below which it is uncertain
_HALF_RANGE = 0.5  # half of the range of an action that never changes
_MAX_CHOICES = 256  # of a discrete action

_WORDS = re.compile(r"[a-z]+|\d+")
_ACTION = {"action", "actions", "act", "command", "commands", "cmd", "ctrl", "control", "target", "targets"}
_REWARD = {"reward", "rewards"}
_SUCCESS = {"success", "is_success", "succeeded"}
_TEXTS = {"instruction", "instructions", "language", "task", "text", "prompt", "question", "goal", "said", "utterance"}
_ANSWERS = {"caption", "answer", "response", "completion", "output", "text"}
_OBSERVED = {"observation", "observations", "obs"}
_SKIPPED = {"discount", "discounts", "done", "dones", "terminals", "timeouts", "terminations", "truncations", "index"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Proposal:
    """Fields to start from.

    Attributes:
      fields: the fields.
      remarks: {part of the fields: what is uncertain about it}; a part is `action.KEY` or an attribute, for example.
      left_out: {path of a field that is there and not proposed: why}.
      measured: what the limits were measured on, in words.
    """

    fields: Fields
    remarks: Mapping[str, str]
    left_out: Mapping[str, str]
    measured: str

    def to_json(self) -> dict[str, Any]:
        """Return the fields as a JSON object that `Fields.from_json` reads, in which remarks have the key `#`."""
        written = self.fields.to_json()
        general = {name: text for name, text in self.remarks.items() if "." not in name}
        for side in ("observation", "action"):
            for key, entry in written[side].items():
                if text := self.remarks.get(f"{side}.{key}"):
                    written[side][key] = {REMARK: f"uncertain: {text}", **entry}
        about = {name: f"uncertain: {text}" for name, text in general.items()}
        return {REMARK: {"measured": self.measured, **about, "left_out": dict(self.left_out)}, **written}

    def write(self, file: str | Path):
        """Write a JSON file that `Fields.read` reads."""
        Path(file).write_text(json.dumps(self.to_json(), indent=2, ensure_ascii=False))


def propose_fields(source: str, split: str = "train", *, episodes: int = 50) -> Proposal:
    """Propose the fields of a recording that nobody has described, or what the recording itself defines.

    Names decide what is an action, a reward or the success flag, types and shapes decide the kind, and the recorded
    values the limits of actions.

    Args:
      source: KIND:PATH of the recording.
      split: the split to read.
      episodes: largest number of episodes to measure.

    Raises:
      SourceError: the recording cannot be read, holds nothing that could be an action, or its kind takes no fields.
    """
    remarks: dict[str, str] = {}
    left_out: dict[str, str] = {}
    try:
        reader = open_source(source, split)
    except MissingFieldsError as error:
        draft = _draft(source, error.contents, remarks, left_out)
        reader = open_source(source, split, fields=draft)
    else:
        if (draft := getattr(reader, "fields", None)) is None:
            raise SourceError(
                f"cannot propose fields of {source}: such recordings define them. Convert it without fields."
            )
    fields, measured = _measure(reader, draft, remarks, episodes)
    return Proposal(fields=fields, remarks=remarks, left_out=left_out, measured=measured)


def _draft(source: str, contents: Sequence[FoundField], remarks: dict[str, str], left_out: dict[str, str]) -> Fields:
    """Return fields without limits from what a recording holds; add to remarks, and to what is left out."""
    kind, _, path = source.partition(":")
    sides: dict[str, dict[str, tuple[str, Modality]]] = {"observation": {}, "action": {}}
    results: dict[str, str] = {}
    for found in contents:
        words = set(_WORDS.findall(found.path.lower()))
        leaf = set(_WORDS.findall(re.split(r"[/:.]", found.path.lower())[-1]))
        is_observed = re.split(r"[/:.]", found.path.lower().lstrip("/"))[0] in _OBSERVED
        side = "action" if words & _ACTION and not is_observed else "observation"
        modality, doubt = _guess_modality(found, side)
        if leaf & _REWARD and found.shape in ((), (1,)) and not found.per_episode:
            results.setdefault("reward", found.path)
        elif leaf & _SUCCESS:
            results.setdefault("success", found.path)
        elif modality is None:
            left_out[found.path] = f"it is {found.describe()}: {doubt}"
        elif leaf & _SKIPPED or re.fullmatch(r"(is|next)_\w+|.*_(index|id)", found.path.rpartition("/")[2]):
            left_out[found.path] = "its name is that of a flag or a number of the step"
        elif found.per_episode and not isinstance(modality, Text):
            left_out[found.path] = "it holds one value for each episode"
        elif isinstance(modality, Text) and side == "observation" and not words & (_TEXTS | _ANSWERS):
            left_out[found.path] = "it is text, and its name is not that of an instruction"
        else:
            key = _key(found.path, sides[side])
            sides[side][key] = (_decoded(found, modality), modality)
            if doubt:
                remarks[f"{side}.{key}"] = doubt
    texts = [key for key, (_, one) in sides["observation"].items() if isinstance(one, Text)]
    if not sides["action"] and (answers := [key for key in texts if set(_WORDS.findall(key.lower())) & _ANSWERS]):
        sides["action"][answers[0]] = sides["observation"].pop(answers[0])
        remarks[f"action.{answers[0]}"] = "no field has a name like an action, so the agent is to write this text"
    if not sides["action"]:
        listed = "; ".join(f"{found.path} ({found.describe()})" for found in contents)
        raise SourceError(
            f"cannot propose fields of {source}: no field has a name like an action. Write them by hand. It "
            f"holds: {listed}"
        )
    remarks["provenance"] = "give source, licence, collector and equipment, and whether it is real or simulated"
    remarks["suite and task"] = "named after the recording"
    if kind == "mcap":
        remarks["control_rate_hz"] = f"{_RATE:g} Hz is assumed; give the rate of the robot"
    name = re.sub(r"[^\w.-]+", "_", Path(split_name(path)[0]).resolve().name.partition(".")[0]) or "task"
    return Fields(
        suite=kind,
        task=name,
        observation=sides["observation"],
        action=sides["action"],
        provenance=Provenance(source=name, licence="unknown", kind="real", collector="", equipment="unknown"),
        control_rate_hz=_RATE if kind == "mcap" else None,
        reward=results.get("reward"),
        success=results.get("success"),
    )


def _guess_modality(found: FoundField, side: str) -> tuple[Modality | None, str]:
    """Return the modality of a field, or None, and what is uncertain about it, or why there is none."""
    shape, kind = found.shape, found.kind
    numbers = re.fullmatch(r"(u?int\d+|float\d+|double|float|halffloat)", kind)
    if kind == "image" or (kind == "uint8" and len(shape) == 3 and shape[-1] in (1, 3, 4)):
        if side == "action":
            return None, "an action cannot be an image"
        channels = shape[-1] if shape and shape[-1] in (1, 3) else 3
        return Image(
            height=_SIDE, width=_SIDE, channels=channels
        ), f"images of {shape} are scaled to {_SIDE} by {_SIDE}"
    if kind == "text" or kind.startswith("object"):
        return Text(), "" if side == "observation" else "an action of text"
    if kind == "uint8" and side == "observation" and len(shape) == 1 and (shape[0] == -1 or shape[0] > 256):
        return Image(height=_SIDE, width=_SIDE), f"bytes {shape} are read as encoded images of {_SIDE} by {_SIDE}"
    if kind in ("uint16", "float32") and len(shape) in (2, 3) and min(shape[:2]) >= 32:
        return None, "it may be a depth image; name it as depth(PATH, NEAR, FAR)"
    if -1 in shape:
        return None, "the length of an axis may differ from step to step"
    if kind in ("bool", "boolean"):
        return Discrete(n=2, shape=shape), ""
    if numbers:
        return Continuous(shape=shape), "" if kind.startswith(
            ("float", "double", "half")
        ) else f"{kind} is read as numbers"
    return None, "its type has no modality"


def _decoded(found: FoundField, modality: Modality) -> str:
    return f"drop_alpha({found.path})" if isinstance(modality, Image) and found.shape[-1:] == (4,) else found.path


def _key(path: str, taken: Iterable[str]) -> str:
    """Return a key for a path: its last part, or more of it if that is taken."""
    parts = [part for part in re.split(r"[/:.]+", path) if part]
    for count in range(1, len(parts) + 1):
        key = "/".join(parts[-count:])
        if key not in taken and not any(one.startswith(f"{key}/") or key.startswith(f"{one}/") for one in taken):
            return key
    return path.replace("/", "_")


def _measure(reader: EpisodeReader, draft: Fields, remarks: dict[str, str], episodes: int) -> tuple[Fields, str]:
    """Return the fields with measured limits, and what they were measured on; add to remarks."""
    inference = infer(reader, draft, episodes=episodes)
    fields = inference.fields
    action = {}
    for key, (path, modality) in fields.action.items():
        given = draft.action[key][1]
        if isinstance(given, Continuous) and isinstance(modality, Continuous) and not np.isfinite(given.limits).all():
            modality, doubts = _finish_limits(modality, _doubts(inference, f"action {key}"))
            counts = _count_choices(reader, key, modality, f"action.{key}" in remarks)
            modality = counts or modality
            if counts:
                doubts.append(f"integers from 0 to {counts.n - 1} are read as choices; there may be more")
            if text := "; ".join([*filter(None, [remarks.get(f"action.{key}")]), *doubts]):
                remarks[f"action.{key}"] = text
        action[key] = (path, modality)
    if fields.embodiment is not None and draft.embodiment is None:
        fields = dataclasses.replace(fields, embodiment=None)
        for statement in inference.statements:
            if statement.subject == "gripper" and statement.confidence > 0.5:
                remarks["embodiment"] = f"not given; a gripper may be {statement.claim}, because {statement.evidence}"
    if fields.control_rate_hz is None:
        remarks["control_rate_hz"] = "unknown"
    few = f", of which {len(inference.rejected)} more cannot be read" if inference.rejected else ""
    measured = f"{inference.episodes} of {len(reader)} episodes{few}, {inference.steps} steps"
    return dataclasses.replace(fields, action=action), measured


def _doubts(inference: Inference, subject: str) -> list[str]:
    """Return a sentence for each element of an action whose limits are uncertain."""
    return [
        f"element {statement.subject.partition('[')[2].rstrip(']')}: {statement.claim} are {statement.evidence}"
        for statement in inference.statements
        if statement.subject.startswith(f"{subject}[") and statement.confidence < _SURE
    ]


def _finish_limits(modality: Continuous, doubts: list[str]) -> tuple[Continuous, list[str]]:
    """Return the modality with limits apart, in which an element that never changes gets half a unit on both sides."""
    low, high = (limit.copy() for limit in modality.limits)
    constant = low == high
    low, high = low - _HALF_RANGE * constant, high + _HALF_RANGE * constant
    if constant.any():
        elements = np.flatnonzero(constant).tolist()
        doubts = [*doubts, f"elements {elements} never change, so their limits are set 1 apart"]
    doubts.append("the limits are the smallest and largest measured values; give those of the robot if you know them")
    return dataclasses.replace(modality, low=tuple(low.tolist()), high=tuple(high.tolist())), doubts


def _count_choices(reader: EpisodeReader, key: str, modality: Continuous, are_integers: bool) -> Discrete | None:
    """Return the discrete modality of an action of integers from 0, or None if it is no such action."""
    low, high = modality.limits
    if not are_integers or modality.shape or high.size == 0 or low.min() < -_HALF_RANGE or high.max() >= _MAX_CHOICES:
        return None
    return Discrete(n=int(np.floor(high.max())) + 1)
