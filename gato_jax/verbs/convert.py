"""`gato convert`: conversion of other people's recordings into an RLDS dataset."""

from __future__ import annotations

import pathlib
from collections.abc import Sequence
from typing import Any

from absl import flags
from etils import epy

from gato_jax.runtime import Interruption, interruptible
from gato_jax.runtime.interruption import GO_ON
from gato_jax.runtime.paths import as_path
from gato_jax.verbs.beam import split_beam_options
from gato_jax.verbs.flags import UsageError, parse_flags
from gato_jax.verbs.outputs import require_file_path, write_json

with epy.lazy_imports():
    from gato_jax import sources
    from gato_jax.episodes import action_extents
    from gato_jax.sources import conversion, embodiments, instructions


_LISTED = 10


def convert(flag: flags.FlagValues, argv: Sequence[str]):
    """Convert recordings into an RLDS dataset on Apache Beam; run it again to resume after an interruption.

    By default, Beam uses all cores of this machine. --beam.OPTION=VALUE sets an option of Beam, for example
    --beam.runner=DataflowRunner --beam.project=NAME to use a cluster, whose workers must see the same folders.
    """
    flags.DEFINE_string("source", None, "Recordings to convert, as KIND:PATH.", flag_values=flag)
    flags.DEFINE_string(
        "fields", None, "JSON file that maps recorded fields to observations and actions.", flag_values=flag
    )
    flags.DEFINE_string(
        "propose_fields",
        None,
        "JSON file to write proposed fields of the source to, instead of converting; check them before you use them.",
        flag_values=flag,
    )
    flags.DEFINE_string("output", None, "Folder to write the dataset into.", flag_values=flag)
    flags.DEFINE_list("splits", ["train"], "Splits of the source to convert, comma-separated.", flag_values=flag)
    flags.DEFINE_enum(
        "file_format", "array_record", ["array_record", "tfrecord"], "Format of the record files.", flag_values=flag
    )
    flags.DEFINE_float(
        "max_rejected",
        0.1,
        "Largest share of episodes that may be damaged; above it, nothing is written.",
        0.0,
        1.0,
        flag_values=flag,
    )
    flags.DEFINE_integer(
        "min_action_bins",
        None,
        "Number of the 1,024 bins of an action that its limits must leave to the data; 0 for any. Default: 8.",
        0,
        1024,
        flag_values=flag,
    )
    flags.DEFINE_float(
        "expert_share",
        None,
        "Keep episodes with at least this share of the expert's return (the paper uses 0.8).",
        flag_values=flag,
    )
    flags.DEFINE_bool("success_only", False, "Keep successful episodes only.", flag_values=flag)
    flags.DEFINE_bool("deduplicate", False, "Keep only the first of identical episodes.", flag_values=flag)
    flags.DEFINE_string(
        "select",
        None,
        "Conditions on the robot, such as robot=panda,dof=7,gripper=binary,workspace=KEY[0:3]/0.2:0.8/-0.4:0.4/0:0.6; "
        "episodes in which the position KEY leaves the workspace are dropped.",
        flag_values=flag,
    )
    flags.DEFINE_string("review", None, "Review file with instructions, from `gato instructions`.", flag_values=flag)
    flags.DEFINE_bool(
        "allow_unreviewed", False, "Accept instructions of the review that nobody has decided on.", flag_values=flag
    )
    flags.DEFINE_integer(
        "shard_episodes", 1000, "Largest number of episodes in a record file.", lower_bound=1, flag_values=flag
    )
    flags.DEFINE_bool("overwrite", False, "Replace an existing dataset.", flag_values=flag)
    flags.DEFINE_string("json", None, "JSON file to write the counts and the rejected episodes to.", flag_values=flag)
    words, beam_options = split_beam_options(argv)
    proposes = any(word.startswith("--propose_fields") for word in words)
    parse_flags(flag, words, required=("source", "splits") if proposes else ("source", "output", "splits"))
    if proposes:
        _propose_fields(flag)
        return

    with interruptible(GO_ON) as interruption, interruption.at_once():
        _convert(flag, beam_options, interruption)


def _propose_fields(flag: flags.FlagValues):
    """Write the file --propose_fields, and print what is uncertain and what it leaves out."""
    for name in ("fields", "output"):
        if flag[name].value is not None:
            raise UsageError(f"--{name} does not apply with --propose_fields, which converts nothing. Leave it out.")
    file = as_path(flag.propose_fields)
    require_file_path("propose_fields", file)
    proposal = sources.propose_fields(flag.source, flag.splits[0])
    proposal.write(file)
    write_json(flag.json, proposal.to_json())
    for part, text in proposal.remarks.items():
        print(f"uncertain: {part}: {text}")
    for path, reason in proposal.left_out.items():
        print(f"left out: {path}: {reason}")
    print(f"fields: {file}, measured on {proposal.measured}. Check them, then convert with --fields={file}.")


def _convert(flag: flags.FlagValues, beam_options: list[str], interruption: Interruption):
    """Convert the recordings of the flags, and print and write what became of them."""
    selector = None if flag.select is None else embodiments.EmbodimentSelector.parse(flag.select)
    fields = None if flag.fields is None else sources.Fields.read(flag.fields)
    opened = sources.open_splits(flag.source, flag.splits, fields=fields)
    readers = [*opened.readers]
    interruption.farewell = f"The finished shards are kept in {flag.output}. {GO_ON}"
    try:
        result = conversion.convert(
            readers,
            flag.output,
            file_format=flag.file_format,
            filters=_filters(flag),
            selector=selector,
            max_rejected=flag.max_rejected,
            min_action_bins=action_extents.MIN_BINS if flag.min_action_bins is None else flag.min_action_bins,
            transform=_reviewed(flag, readers),
            source=_with_absolute_path(flag.source),
            shard_episodes=flag.shard_episodes,
            overwrite=flag.overwrite,
            beam_options=beam_options,
        )
    except conversion.TooManyRejectedError as error:
        write_json(flag.json, _report(error, opened.empty))
        _print_omitted(error)
        raise
    write_json(flag.json, _report(result, opened.empty))
    _print_omitted(result)
    splits = ", ".join(f"{count} {split}" for split, count in _splits(result, opened.empty).items())
    rejected = sum(one.episodes for one in result.rejected)
    counts = f"{_count(result.episodes, 'episode')} ({splits}), {_count(result.steps, 'step')}, {rejected} rejected"
    counts += f", {len(result.left_out)} left out" if result.left_out else ""
    place = f"already converted, kept in {result.directory}" if result.reused else f"in {result.directory}"
    print(f"{result.directory.parent.name}: {counts}, {place}")


def _reviewed(flag: flags.FlagValues, readers: list[sources.EpisodeReader]) -> conversion.Transform | None:
    """Return the transform that gives each episode its instruction from --review, or None without --review.

    Raises:
      UsageError: --splits names several splits; a review is of one.
      ValueError: the review cannot be read or is of other data.
    """
    if flag.review is None:
        return None
    if len(readers) > 1:
        raise UsageError(
            f"--review is {flag.review}, which is for one split, but --splits names {len(readers)}. Convert one "
            "split at a time."
        )
    review = instructions.Review.read(flag.review)
    review.require_data(readers[0])
    instruct = instructions.apply_review(review, allow_unreviewed=flag.allow_unreviewed)
    return conversion.Transform(
        apply=instruct, spec=review.spec(readers[0].spec), fingerprint=review.fingerprint, reviewed=True
    )


def _with_absolute_path(source: str) -> str:
    """Return a source KIND:PATH with its path made absolute, or unchanged if the path does not exist."""
    kind, _, location = source.partition(":")
    path = pathlib.Path(location)
    return f"{kind}:{path.resolve()}" if path.exists() else source


def _filters(flag: flags.FlagValues) -> list[conversion.Filter]:

    classes = {"deduplicate": conversion.Deduplicate, "success_only": conversion.SuccessOnly}
    filters: list[conversion.Filter] = [filter_class() for name, filter_class in classes.items() if flag[name].value]
    return filters if flag.expert_share is None else [*filters, conversion.ExpertShare(share=flag.expert_share)]


def _splits(result: conversion.Conversion, empty: Sequence[str]) -> dict[str, int]:
    return {**result.splits, **dict.fromkeys(empty, 0)}


def _report(outcome: conversion.Conversion | conversion.TooManyRejectedError, empty: Sequence[str]) -> dict[str, Any]:
    """Return the content of --json: episodes, splits, steps, rejected, left_out, filtered, clipped and dataset.

    A conversion that failed has 0 episodes and steps, no splits, and None for the dataset.
    """
    result = None if isinstance(outcome, ValueError) else outcome
    return {
        "episodes": result.episodes if result else 0,
        "splits": _splits(result, empty) if result else {},
        "steps": result.steps if result else 0,
        "rejected": [one.to_json() for one in outcome.rejected],
        "left_out": [one.to_json() for one in outcome.left_out],
        "filtered": dict(outcome.filtered),
        "clipped": [dict(one) for one in result.clipped] if result else [],
        "dataset": str(result.directory) if result else None,
    }


def _print_omitted(outcome: conversion.Conversion | conversion.TooManyRejectedError):
    """Print the first ten rejections, the number of episodes by reason and by filter, and the first ten omissions."""
    for one in outcome.rejected[:_LISTED]:
        print(f"rejected: {one}")
    for reason, episodes in conversion.count_by_reason(outcome.rejected):
        print(f"{episodes} rejected: {reason}")
    for one in outcome.left_out[:_LISTED]:
        print(f"left out: {one.location}: {one.reason}")
    if (more := len(outcome.left_out) - _LISTED) > 0:
        print(f"{more} more left out. --json=FILE lists all.")
    for name, count in outcome.filtered.items():
        print(f"--{name} removed {_count(count, 'episode')}")
    for one in getattr(outcome, "clipped", ()):
        print(action_extents.describe_clipped(one))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
