"""`gato instructions`: instructions for the episodes of a dataset, proposed, checked and written for review."""

from __future__ import annotations

from collections.abc import Sequence

from absl import flags
from etils import epy

from gato_jax.runtime.paths import require_local
from gato_jax.verbs.data import open_data
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import require_output_file, show_progress, write_json

with epy.lazy_imports():
    from gato_jax.sources import instructions as library


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
    parse_flags(flag, argv, required=("data", "output"))
    output = require_local(flag.output, "--output", "Write to a disk, then copy the file to the bucket.")
    require_output_file(output)

    templates = [library.Template(text) for text in flag.template]
    reader = open_data(flag.data, flag.split)
    metadata = None if flag.metadata is None else library.read_metadata(flag.metadata, len(reader))
    numbers = iter(range(len(reader)))
    progress = show_progress(numbers, total=len(reader), desc=f"read {reader.spec.name}", unit="episode")
    texts, rejected = library.read_instructions(reader, progress)
    review = library.propose_review(reader, texts, metadata=metadata, templates=templates, count=flag.phrasings)
    if not flag.check:
        review = review.write(output)
    elif output.exists():
        review = review.with_edits_of(library.Review.read(output))
    findings = library.find_problems(review.episodes_by_instruction, metadata)
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
