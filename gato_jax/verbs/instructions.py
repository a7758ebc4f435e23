"""`gato instructions`: what a dataset's episodes are told, proposed, checked, and put before a person."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import require_page, watched, write_json

if TYPE_CHECKING:
    from gato_jax.sources import EpisodeReader


def instructions(flag: flags.FlagValues, argv: Sequence[str]):
    """Writes the instructions of a dataset into a file that a person reviews and `gato convert` obeys; checks them."""
    flags.DEFINE_string("data", None, "folder of the dataset, or a source KIND:WHERE", flag_values=flag)
    flags.DEFINE_string("split", "train", "of the dataset", flag_values=flag)
    flags.DEFINE_string("output", None, "the review, a JSON file; one that is there keeps its edits", flag_values=flag)
    flags.DEFINE_string(
        "metadata", None, "JSON list of objects, one for each episode: object, colour, target...", flag_values=flag
    )
    flags.DEFINE_multi_string(
        "template", [], "sentence with slots of the metadata; once for each phrasing", flag_values=flag
    )
    flags.DEFINE_integer("phrasings", 4, "of a task, made of its name", lower_bound=1, flag_values=flag)
    flags.DEFINE_bool("check", False, "check only, write no review", flag_values=flag)
    flags.DEFINE_bool("strict", False, "findings are an error", flag_values=flag)
    flags.DEFINE_string("json", None, "write counts and findings here", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "data", "output")
    output = pathlib.Path(flag.output)
    require_page(output)
    from gato_jax.sources.instructions import Review, Template, find_problems, propose_review
    from gato_jax.verbs.data import open_data

    templates = [Template(text) for text in flag.template]
    reader = open_data(flag.data, flag.split)
    metadata = None if flag.metadata is None else _metadata(pathlib.Path(flag.metadata), len(reader))
    texts, rejected = _texts(reader)
    review = propose_review(reader, texts, metadata=metadata, templates=templates, count=flag.phrasings)
    if not flag.check:
        review = review.write(output)
    elif output.exists():
        review = review.with_edits_of(Review.read(output))
    findings = find_problems(review.episodes_by_instruction, metadata)
    made = {
        "task": review.task,
        "entries": len(review.entries),
        "unreviewed": len(review.unreviewed),
        "findings": [finding._asdict() for finding in findings],
        "rejected": [{"where": error.location, "reason": error.reason} for error in rejected],
    }
    write_json(flag.json, made)
    for finding in findings:
        print(f"{finding.problem}: {finding.instruction!r} ({len(finding.episodes)} episodes): {finding.evidence}")
    for error in rejected:
        print(f"left out: {error}")
    where = "checked" if flag.check else f"in {output}"
    counts = f"entries {made['entries']}, unreviewed {made['unreviewed']}, findings {len(findings)}"
    print(f"{review.task}: {counts}, {where}")
    if findings and flag.strict:
        raise UsageError(
            f"--strict: {len(findings)} findings; mend the instructions in {output}, or leave --strict out"
        )


def _texts(reader: EpisodeReader) -> tuple[dict[int, str], list[Any]]:
    """{episode: its instruction}, empty where it has none; and why others are left out."""
    from gato_jax.sources.instructions import instruction_key, read_instruction
    from gato_jax.sources.reader import EpisodeRejected

    name, key = reader.spec.name, instruction_key(reader)
    if key not in reader.spec.observation:
        return dict.fromkeys(range(len(reader)), ""), []
    texts, rejected = {}, []
    for number in watched(iter(range(len(reader))), total=len(reader), desc=f"read {name}", unit="episode"):
        try:
            texts[number] = read_instruction(reader[number], key, f"{name}: episode {number}")
        except EpisodeRejected as error:
            rejected.append(error)
    return texts, rejected


def _metadata(file: pathlib.Path, episodes: int) -> Mapping[int, Mapping[str, Any]]:
    try:
        metadata = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(f"--metadata={file}: no JSON ({error}); write a list of objects, one an episode") from None
    if not isinstance(metadata, list) or not all(isinstance(one, dict) for one in metadata):
        raise UsageError(f"--metadata={file}: it is no list of objects; write one object for each episode")
    if len(metadata) != episodes:
        raise UsageError(f"--metadata={file}: it is of {len(metadata)} episodes, the data have {episodes}")
    return dict(enumerate(metadata))
