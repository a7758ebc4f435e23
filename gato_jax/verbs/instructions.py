"""`gato instructions`: instructions for the episodes of a dataset, proposed, checked and written for review."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from absl import flags

from gato_jax.verbs.flags import UsageError, parse_flags, require
from gato_jax.verbs.outputs import require_output_file, show_progress, write_json

if TYPE_CHECKING:
    from gato_jax.sources import EpisodeReader


def instructions(flag: flags.FlagValues, argv: Sequence[str]):
    """Propose and check instructions for the episodes of a dataset, and write them to a file for review.

    A person edits the file, and `gato convert --review=FILE` then writes the dataset with the accepted instructions.
    """
    flags.DEFINE_string("data", None, "Dataset to read: its folder, or a source as KIND:PATH.", flag_values=flag)
    flags.DEFINE_string("split", "train", "Split of the dataset.", flag_values=flag)
    flags.DEFINE_string(
        "output", None, "JSON file of the review. Edits in an existing file are kept.", flag_values=flag
    )
    flags.DEFINE_string(
        "metadata",
        None,
        "JSON file with a list of one object for each episode, such as {object, colour, target}.",
        flag_values=flag,
    )
    flags.DEFINE_multi_string(
        "template",
        [],
        "Sentence with slots that the metadata fill. Repeat the flag for further phrasings.",
        flag_values=flag,
    )
    flags.DEFINE_integer(
        "phrasings", 4, "Number of phrasings to propose from the name of a task.", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_bool("check", False, "Check the instructions without writing a review.", flag_values=flag)
    flags.DEFINE_bool("strict", False, "Exit with an error if there are findings.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the counts and findings to.", flag_values=flag)
    parse_flags(flag, argv)
    require(flag, "data", "output")
    output = pathlib.Path(flag.output)
    require_output_file(output)
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
    report = {
        "task": review.task,
        "entries": len(review.entries),
        "unreviewed": len(review.unreviewed),
        "findings": [finding._asdict() for finding in findings],
        "rejected": [{"where": error.location, "reason": error.reason} for error in rejected],
    }
    write_json(flag.json, report)
    for finding in findings:
        print(f"{finding.problem}: {finding.instruction!r} ({len(finding.episodes)} episodes): {finding.evidence}")
    for error in rejected:
        print(f"rejected: {error}")
    where = "checked" if flag.check else f"in {output}"
    counts = f"entries {report['entries']}, unreviewed {report['unreviewed']}, findings {len(findings)}"
    print(f"{review.task}: {counts}, {where}")
    if findings and flag.strict:
        raise UsageError(
            f"--strict is given and there are {len(findings)} findings. Correct the instructions in {output}, or leave "
            "--strict out."
        )


def _texts(reader: EpisodeReader) -> tuple[dict[int, str], list[Any]]:
    """Return {episode: its instruction, or ""} and the errors of rejected episodes."""
    from gato_jax.sources.instructions import instruction_key, read_instruction
    from gato_jax.sources.reader import EpisodeRejected

    name, key = reader.spec.name, instruction_key(reader)
    if key not in reader.spec.observation:
        return dict.fromkeys(range(len(reader)), ""), []
    texts, rejected = {}, []
    for number in show_progress(iter(range(len(reader))), total=len(reader), desc=f"read {name}", unit="episode"):
        try:
            texts[number] = read_instruction(reader[number], key, f"{name}: episode {number}")
        except EpisodeRejected as error:
            rejected.append(error)
    return texts, rejected


def _metadata(file: pathlib.Path, episodes: int) -> Mapping[int, Mapping[str, Any]]:
    """Read {episode: its metadata} from a JSON list of one object for each of `episodes` episodes."""
    try:
        metadata = json.loads(file.read_text())
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise UsageError(
            f"--metadata is {file}, which is not JSON ({error}). Write a list with one object for each episode."
        ) from None
    if not isinstance(metadata, list) or not all(isinstance(one, dict) for one in metadata):
        raise UsageError(f"--metadata is {file}, expected a list of objects in it. Write one object for each episode.")
    if len(metadata) != episodes:
        raise UsageError(
            f"--metadata is {file} with {len(metadata)} objects, expected {episodes}, one for each episode. Correct it."
        )
    return dict(enumerate(metadata))
